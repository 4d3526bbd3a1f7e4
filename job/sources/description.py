"""What a pinned model says of itself without being loaded: its configuration, and how large its weights are."""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NamedTuple

from job.contract.config import Source
from job.contract.errors import ConfigurationError
from job.sources import hub
from job.sources.hashes import HashCache
from job.sources.listing import FolderListing, Listing, StoreListing
from job.sources.model_files import json_object, model_files

__all__ = ["ModelDescription", "describe_model"]

_CONFIG = "config.json"
_ONE_FILE = "model.safetensors"  # which transformers prefers to shards
_LIMIT_BYTES = 2**20


class ModelDescription(NamedTuple):
    """Of a checkpoint."""

    config: dict[str, Any]
    """Its config.json, as it stands there."""
    weight_bytes: int
    """Of its safetensors files together."""


def describe_model(source: Source, *, cache: Path) -> ModelDescription:
    """The description of the pinned model; reads config.json and file sizes, and no weights.

    Raises ConfigurationError where it is not to be had from here, TransientError where nobody answers.
    """
    if source.kind == "hub":
        return _of_hub(source.location, commit=source.digest.removeprefix("hub:"))
    hashes = HashCache(cache)
    listing: Listing = (
        StoreListing(source.location, hashes=hashes)
        if source.kind == "s3"
        else FolderListing(Path(source.location), hashes=hashes)
    )
    names = [name for name in model_files(listing) if name.endswith(".safetensors")]
    config = json_object(listing.read(_CONFIG, limit_bytes=_LIMIT_BYTES), name=f"{listing.place}/{_CONFIG}")
    return ModelDescription(config, sum(listing.size_bytes(name) for name in names))


def _of_hub(repo: str, *, commit: str) -> ModelDescription:
    folder = hub.download(repo, kind="model", commit=commit, patterns=[_CONFIG])
    sizes = {
        name: size
        for name, size in hub.file_sizes(repo, commit=commit, folder=folder).items()
        if fnmatchcase(name, "model*.safetensors")
    }
    weight_bytes = sizes.get(_ONE_FILE) or sum(sizes.values())
    if not weight_bytes:
        raise ConfigurationError(f"model {repo!r}: how large its safetensors files are cannot be seen from here")
    try:
        body = (folder / _CONFIG).read_bytes()
    except OSError as err:
        raise ConfigurationError(f"model {repo!r} has no {_CONFIG}: {err.strerror or err}") from err
    return ModelDescription(json_object(body, name=f"{repo}/{_CONFIG}"), weight_bytes)
