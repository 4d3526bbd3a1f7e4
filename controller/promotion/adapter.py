"""The files of an adapter, from the store to a local folder, each with the bytes that its manifest lists."""

from __future__ import annotations

from pathlib import Path

from job.contract.documents import Result
from job.contract.errors import NotFoundError, ResultError
from job.store import Keys, Store
from job.store.hashing import file_sha256
from job.store.results import load_manifest
from job.store.whole_file import make_folder

__all__ = ["CARD", "fetch_adapter"]

CARD = "README.md"
_ADAPTER = "adapter/"
_NEEDED = frozenset({CARD, "adapter_config.json", "adapter_model.safetensors"})


def fetch_adapter(store: Store, result: Result, folder: Path) -> tuple[str, ...]:
    """Download the adapter of a result into `folder`; gives the names of its files.

    Raises ResultError when one is missing or has other bytes than its manifest says.
    """
    manifest = load_manifest(store, result.manifest)
    files = {file.path.removeprefix(_ADAPTER): file for file in manifest.files if file.path.startswith(_ADAPTER)}
    if missing := sorted(_NEEDED - files.keys()):
        raise ResultError(f"{result.manifest.key} lists no {_ADAPTER}{missing[0]}, which an adapter needs")
    for name, file in files.items():
        key = Keys.attempt_file(manifest.trial_id, manifest.attempt, file.path)
        target = folder / name
        make_folder(target.parent)
        try:
            store.download(key, target)
        except NotFoundError as err:
            raise ResultError(f"{key} is missing, the manifest lists it") from err
        if (found := file_sha256(target)) != file.sha256:
            raise ResultError(f"{key} has SHA-256 {found}, the manifest says {file.sha256}")
    return tuple(sorted(files))
