"""The other runs of a sweep, and what they were judged."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from controller.regression.document import Regression
from job.contract.documents import DOCUMENT_LIMIT_BYTES, parse
from job.contract.errors import NotFoundError, ResultError
from job.store import Keys, Store, open_store

__all__ = ["judged_runs", "run_names", "sibling", "sweep_uri"]


def sweep_uri(store: Store) -> str:
    """Where the runs of this one's sweep are."""
    return store.uri.rpartition("/")[0]


def sibling(store: Store, run: str) -> Store:
    """The run of that name beside this one."""
    return open_store(f"{sweep_uri(store)}/{run}")


def run_names(place: str) -> tuple[str, ...]:
    """Names of folders of the sweep at `place`, a run in each or not; a bucket is listed whole for it."""
    if "://" in place:
        return tuple(dict.fromkeys(found.key.split("/")[0] for found in open_store(place).list("") if "/" in found.key))
    folder = Path(place)
    if not folder.is_dir():
        return ()
    return tuple(sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.is_symlink()))


def judged_runs(store: Store) -> tuple[Regression, ...]:
    """What every run of the sweep was judged that was judged at all and can be read."""
    return tuple(_judged(sweep_uri(store)))


def _judged(place: str) -> Iterator[Regression]:
    key = Keys.report("regression.json")
    for run in run_names(place):
        try:
            body = open_store(f"{place}/{run}").read(key, limit_bytes=DOCUMENT_LIMIT_BYTES)
            yield parse(Regression, body, name=f"{place}/{run}/{key}")
        except (NotFoundError, ResultError):
            continue
