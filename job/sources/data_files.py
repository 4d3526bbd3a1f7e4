"""Which files of a source a spec's splits name."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from job.contract.errors import SpecError
from job.contract.nearest import nearest
from job.sources.listing import Listing, is_inside

__all__ = ["FORMATS", "check_members", "data_files", "is_data_file", "listed", "single_name"]

FORMATS = {".json": "json", ".jsonl": "json", ".ndjson": "json", ".csv": "csv", ".parquet": "parquet"}
"""Suffix to the reader of `datasets`."""


def is_data_file(name: str) -> bool:
    """Whether the name is one file's: rows in one of the formats, or an archive of such files."""
    return PurePosixPath(name).suffix.lower() in {*FORMATS, ".zip"}


def single_name(name: str) -> str:
    """How a source that is one file goes into its digest: renaming it changes no row."""
    return f"data{PurePosixPath(name).suffix.lower()}"


def data_files(listing: Listing, splits: Sequence[str]) -> tuple[str, ...]:
    """The files that the splits of a folder or prefix are, sorted, each once. Raises SpecError for one not there."""
    for split in splits:
        if not is_inside(split):
            raise SpecError(
                f"data.splits: {split!r} has to be a file inside {listing.place}, without a leading / or .."
            )
        if not listing.has(split):
            names = [name for name in listing.names() if is_data_file(name)]
            raise SpecError(
                f"data.splits: there is no file {split!r} in {listing.place}{nearest(split, names)}; "
                f"there are {listed(names)}"
            )
    return tuple(sorted(set(splits)))


def check_members(archive: Path, splits: Sequence[str]) -> None:
    """Raises SpecError when the archive cannot be opened or lacks a split's file."""
    try:
        with zipfile.ZipFile(archive) as opened:
            names = [entry.filename for entry in opened.infolist() if not entry.is_dir()]
    except (zipfile.BadZipFile, OSError) as err:
        raise SpecError(f"data.source: {archive} cannot be opened as an archive: {err}") from err
    for split in splits:
        if split not in names:
            raise SpecError(
                f"data.splits: there is no file {split!r} in {archive}{nearest(split, names)}; "
                f"there are {listed(names)}"
            )


def listed(names: Sequence[str], limit: int = 12) -> str:
    """The names as a sentence's end."""
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return (", ".join(map(repr, names[:limit])) or "none") + more
