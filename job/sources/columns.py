"""The column names of local data, told from a file's beginning; the job reads it whole, with `datasets`.

Limits
- Of JSON the first 10 MiB are looked at, which is where the job's reader takes the columns from; a longer array and
  whatever does not parse are left to the job. A Parquet file needs pyarrow, which a controller may lack.
"""

from __future__ import annotations

import codecs
import csv
import importlib.util
import json
import lzma
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO

from job.contract.errors import ConfigurationError, DataError
from job.sources.data_files import FORMATS
from job.sources.faults import encoding_fault

__all__ = ["columns_of"]

_BEGINNING_BYTES = 10 << 20  # chunksize of datasets' JsonConfig
_DAMAGED = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, RuntimeError, NotImplementedError, EOFError)


def columns_of(source: Path, split: str) -> tuple[str, ...] | None:
    """The columns of a split's file; None where its beginning does not tell.

    Raises DataError for a file that is no text or a damaged archive, ConfigurationError for one that may not be read.
    """
    name = split if source.is_dir() or source.suffix.lower() == ".zip" else source.name
    form = FORMATS.get(PurePosixPath(name).suffix.lower())
    with _opened(source, name) as file:
        if form == "parquet":
            return _parquet_columns(file)
        beginning = file.read(_BEGINNING_BYTES)
        whole = not file.read(1)
    # A cut-off last line says nothing.
    lines = beginning.split(b"\n") if whole else beginning.split(b"\n")[:-1]
    if fault := encoding_fault(lines):
        raise DataError(f"{name}: {fault}")
    text = b"\n".join(lines).removeprefix(codecs.BOM_UTF8).decode()
    return _csv_columns(text) if form == "csv" else _json_columns(text, whole=whole)


@contextmanager
def _opened(source: Path, name: str) -> Iterator[IO[bytes]]:
    try:
        if source.is_dir() or source.suffix.lower() != ".zip":
            with (source / name if source.is_dir() else source).open("rb") as file:
                yield file
        else:
            with zipfile.ZipFile(source) as archive, archive.open(name) as member:
                yield member
    except _DAMAGED as err:
        raise DataError(f"{name} in {source} cannot be read: {err}; write it again, without a password") from err
    except OSError as err:
        raise ConfigurationError(f"{name} in {source} cannot be read: {err.strerror or err}") from err


def _csv_columns(text: str) -> tuple[str, ...] | None:
    try:
        return tuple(next(csv.reader(text.splitlines(keepends=True)), ())) or None
    except csv.Error:
        return None


def _json_columns(text: str, *, whole: bool) -> tuple[str, ...] | None:
    """Of all records together, in the order of first use."""
    try:
        if not text.lstrip().startswith("["):
            return _keys(json.loads(line) for line in text.split("\n") if line.strip())
        return _keys(json.loads(text)) if whole else None
    except (ValueError, RecursionError):
        return None


def _keys(records: Iterable[object]) -> tuple[str, ...] | None:
    names: dict[str, None] = {}
    for record in records:
        if not isinstance(record, dict):
            return None
        names.update(dict.fromkeys(map(str, record)))
    return tuple(names) or None


def _parquet_columns(file: IO[bytes]) -> tuple[str, ...] | None:
    if importlib.util.find_spec("pyarrow") is None:
        return None
    from pyarrow import ArrowException
    from pyarrow.parquet import read_schema

    try:
        return tuple(read_schema(file).names)
    except (ArrowException, OSError):  # damaged; the job says how
        return None
