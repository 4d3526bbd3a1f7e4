"""What a spec's `model.id` or `data.source` means: a hub id, a path, or an s3:// prefix."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal, NamedTuple

from job.contract.errors import SpecError
from job.store.address import SOURCE, refusal

__all__ = ["Place", "locate"]

# huggingface.co's rule for repository names: [owner/]name of these characters, each at most 96 long.
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]{0,95}(/[A-Za-z0-9][\w.-]{0,95})?", re.ASCII)
_FILE_SUFFIX = re.compile(r"\.(jsonl?|ndjson|csv|parquet|zip|safetensors|gguf|bin)$", re.IGNORECASE)


class Place(NamedTuple):
    """Where a source is."""

    kind: Literal["hub", "path", "s3"]
    location: str
    """Hub id, absolute path, or s3:// prefix without a slash at its end."""


def locate(location: str, *, base: Path, revision: str | None) -> Place:
    """The place that `location` names; a path that exists wins over a hub id of the same name.

    A relative path counts from `base`. Raises SpecError for a path that does not exist, for what is none of the three,
    and for a revision of anything but a hub id.
    """
    place = _place(location, base=base)
    if revision is not None and place.kind != "hub":
        raise SpecError(
            f"{location!r} has revision {revision!r}, and only a hub id has revisions; its digest pins it already"
        )
    return place


def _place(location: str, *, base: Path) -> Place:
    if wrong := refusal(location, choices=SOURCE):
        raise SpecError(wrong)
    if location.startswith("s3://"):
        return Place("s3", location.rstrip("/"))
    try:
        path = base / Path(location).expanduser()
        if path.exists():
            real = str(path.resolve())
            real.encode()
            return Place("path", real)
    except UnicodeEncodeError as err:
        raise SpecError(f"{location[:200]!r}: the path of {path.name!r} is not UTF-8, as a plan is; rename it") from err
    except (OSError, RuntimeError, ValueError) as err:  # no rights, too long, links in a circle, ~ of nobody, NUL
        raise SpecError(f"{location[:200]!r} cannot be looked up as a path: {err}") from err
    looks_like_a_path = location.startswith((".", "/", "~")) or location.endswith("/") or _FILE_SUFFIX.search(location)
    if looks_like_a_path or not _HUB_ID.fullmatch(location):
        raise SpecError(
            f"{location!r}: there is no file or folder {path.absolute()}; a relative path counts from the folder of "
            "the spec, and pods of a cluster see no folder of a laptop: copy it to a bucket and write its s3:// prefix"
        )
    return Place("hub", location)
