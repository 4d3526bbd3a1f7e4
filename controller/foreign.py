"""What lies in a run's place and is not this project's: `clean` leaves it, and names it.

Limits
- In a bucket, objects whose names no store key can have are neither removed nor named.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from job.store import Store
from job.store.keys import is_ours

__all__ = ["foreign_names"]

# Of the locks, which have to outlive what they guard, and of writers that were killed.
_OUR_DOTS = (".controller.", ".store.", ".alive/", ".tmp-")


def foreign_names(store: Store) -> tuple[str, ...]:
    """The names below the run that nobody of this project gave; a link is one of them, and is not followed."""
    if "://" in store.uri:
        return tuple(found.key for found in store.list("") if not is_ours(found.key))
    return tuple(sorted(_in_folder(Path(store.uri))))


def _in_folder(root: Path) -> Iterator[str]:
    for folder, inner, files in os.walk(root, followlinks=False):
        for name in (*inner, *files):
            path = Path(folder) / name
            relative = path.relative_to(root).as_posix()
            if path.is_symlink():
                yield f"{relative} (a link)"
            elif name in files and not is_ours(relative) and not _is_our_dot(relative):
                yield relative


def _is_our_dot(relative: str) -> bool:
    return relative.startswith(_OUR_DOTS) or relative.rpartition("/")[2].startswith(".tmp-")
