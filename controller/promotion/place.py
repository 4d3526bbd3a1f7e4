"""Where an adapter is promoted to: `--to` as a folder, a bucket or a repository of a hub."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple, Protocol

from job.contract.errors import SpecError
from job.store.address import refusal

__all__ = ["Delivered", "Place", "place_of"]

_CHOICES = "an empty folder's path, s3://bucket/prefix, or hub:ORG/NAME"
_HUB = "hub:"
# huggingface.co's rule for repository names.
_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}", re.ASCII)


class Delivered(NamedTuple):
    """What came of it."""

    place: str
    """As a person would write it."""
    written: tuple[str, ...]
    """Names of the files that were not there before; none of a promotion that was made already."""


class Place(Protocol):
    """Takes the files of one adapter."""

    def take(self, folder: Path, names: tuple[str, ...]) -> Delivered:
        """Bring the named files of `folder` there; a second time it changes nothing.

        Raises ConflictError where something else is, and TransientError and ConfigurationError as the place does.
        """
        ...


def place_of(word: str, *, run_uri: str) -> Place:
    """The place that `word` names. Raises SpecError for none, and for one in the run itself."""
    if word.startswith(_HUB):
        repository = word.removeprefix(_HUB)
        if not _REPOSITORY.fullmatch(repository) or ".." in repository or "--" in repository:
            raise SpecError(f"--to {word!r}: {repository!r} is no repository; write hub:ORG/NAME")
        from controller.promotion.hub import HubRepository

        return HubRepository(repository)
    if wrong := refusal(word, choices=_CHOICES):
        raise SpecError(f"--to {wrong}")
    if word.startswith("s3://"):
        _check_outside(word.rstrip("/"), run_uri)
        from controller.promotion.bucket import BucketPrefix

        return BucketPrefix(word.rstrip("/"))
    from controller.promotion.folder import LocalFolder

    folder = Path(word).expanduser().absolute()
    _check_outside(str(folder.resolve()), run_uri)
    return LocalFolder(folder)


def _check_outside(place: str, run_uri: str) -> None:
    if place == run_uri or place.startswith(f"{run_uri}/"):
        raise SpecError(f"--to {place!r} is in the run itself; name another place")
