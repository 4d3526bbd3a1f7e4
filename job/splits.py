"""One split of a data source as a table of texts, read by `datasets` and kept in memory.

Limits
- `datasets` writes what it read as Arrow before it gives it back; that copy lives in a temporary folder for the length
  of one call, so no earlier copy of a file of the same name is ever served, and nothing is written beside the data.
- A column of ISO dates in JSON of a hub dataset becomes timestamps, and is written in one form (ISO 8601 with a T).
- Each file is read whole: memory is about twice the size of the largest split.
"""

from __future__ import annotations

import csv
import errno
import json
import lzma
import math
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date, datetime, time
from decimal import Decimal
from pathlib import Path, PurePosixPath
from typing import Any, Literal, NamedTuple

from job.contract.errors import ConfigurationError, DataError, TransientError
from job.contract.nearest import nearest
from job.sources.data_files import FORMATS, listed
from job.sources.faults import csv_fault, encoding_fault, json_fault
from job.sources.listing import is_inside

__all__ = ["Table", "read_split"]

# Damaged in its directory or a member, encrypted, an unknown compression, cut off.
_BAD_ARCHIVE = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, RuntimeError, NotImplementedError, EOFError)


class Table(NamedTuple):
    """The rows of one split, in file order."""

    name: str
    """The split as messages call it."""
    rows: int
    columns: tuple[str, ...]
    """All of them, also those that hold no text."""
    values: Callable[[str, Sequence[int]], list[Any]]
    """A column's values at some row numbers."""

    def texts(self, column: str, numbers: Sequence[int]) -> list[str]:
        """The column as text at these row numbers: numbers as Python writes them, null as the empty text, CRLF as LF,
        no blanks around.

        Raises DataError for an unknown column, for a list or an object in it, and for bytes that are no text.
        """
        if column not in self.columns:
            hint = nearest(column, self.columns)
            raise DataError(f"{self.name}: no column {column!r}{hint}; there are {', '.join(map(repr, self.columns))}")
        try:
            values = self.values(column, numbers)
        except (ValueError, OverflowError) as err:  # text that is not UTF-8, a moment that Python cannot hold
            raise DataError(f"{self.name}, column {column!r}: cannot be read: {err}; mend the file") from err
        return [
            _text(value, place=f"{self.name}, column {column!r}, row {n}")
            for value, n in zip(values, numbers, strict=True)
        ]

    def texts_or_none(self, column: str, numbers: Sequence[int]) -> list[str] | None:
        """As `texts`, and None for a column that holds something else."""
        try:
            return self.texts(column, numbers)
        except DataError:
            return None


def read_split(path: Path, *, split: str, kind: Literal["hub", "path", "s3"]) -> Table:
    """The split of the source at `path`: a file of it, or of a hub dataset also a split's name.

    A source that is one file is itself the split `train`, whole or in part (`train[:80%]`).
    Raises DataError when there is no such file or split, or it cannot be read.
    """
    name = f"split {split!r} of {path}"
    with tempfile.TemporaryDirectory(prefix="lorasweep-data-") as work:
        if path.is_dir():
            dataset = _from_folder(path, split=split, kind=kind, name=name, work=Path(work))
        elif path.suffix.lower() == ".zip":
            dataset = _from_zip(path, member=split, name=name, work=Path(work))
        elif path.is_file():
            dataset = _sliced(_from_file(path, name=name, work=Path(work)), path=path, split=split, name=name)
        else:
            raise DataError(f"{name}: there is no such file or folder")
    columns = tuple(map(str, dataset.column_names))
    return Table(
        name, dataset.num_rows, columns, lambda column, rows: dataset.select_columns([column]).select(rows)[:][column]
    )


def _from_folder(folder: Path, *, split: str, kind: str, name: str, work: Path) -> Any:
    if not is_inside(split):
        raise DataError(f"{name}: a split is a file inside the source; write its path below {folder}, without `..`")
    if (folder / split).is_file():
        return _from_file(folder / split, name=name, work=work)
    if kind == "hub":
        return _from_hub_folder(folder, split=split, name=name, work=work)
    files = sorted(str(file.relative_to(folder)) for file in folder.rglob("*") if file.suffix.lower() in FORMATS)
    raise DataError(f"{name}: no such file{nearest(split, files)}; there are {listed(files)}")


def _from_zip(archive: Path, *, member: str, name: str, work: Path) -> Any:
    try:
        with zipfile.ZipFile(archive) as opened:
            names = [entry.filename for entry in opened.infolist() if not entry.is_dir()]
            if member not in names:
                raise DataError(
                    f"{name}: no such file in the archive{nearest(member, names)}; there are {listed(names)}"
                )
            extracted = work / f"member{PurePosixPath(member).suffix}"
            with opened.open(member) as source, extracted.open("wb") as target:
                shutil.copyfileobj(source, target, 1 << 20)
    except _BAD_ARCHIVE as err:
        raise DataError(f"{name}: the archive cannot be read: {err}; write it again without a password") from err
    except OSError as err:
        raise _our_error(err, name=name) from err
    return _from_file(extracted, name=name, work=work)


def _from_file(file: Path, *, name: str, work: Path) -> Any:
    """The file's rows. Its name takes no part: `datasets` would expand `*`, `?` and `[` in it."""
    form = FORMATS.get(file.suffix.lower())
    if form is None:
        raise DataError(f"{name}: {file.name!r} is none of {', '.join(FORMATS)}, or a .zip that holds them")
    if not file.stat().st_size:
        raise DataError(f"{name}: {file.name!r} is empty")
    link = work / f"rows{file.suffix.lower()}"
    link.symlink_to(file.resolve())
    if form != "parquet":
        _check_encoding(link, name=name)
    fault = {"json": json_fault, "csv": csv_fault, "parquet": _parquet_fault}[form]
    with _reading(name, fault=lambda: fault(link)):
        return {"json": _from_json, "csv": _from_csv, "parquet": _from_parquet}[form](link, work / "arrow")


def _check_encoding(file: Path, *, name: str) -> None:
    """The reader of JSON passes over bytes that are no text, and the one of CSV names no line."""
    with file.open("rb") as lines:
        fault = encoding_fault(lines)
    if fault:
        raise DataError(f"{name} cannot be read: {fault}")


def _from_json(file: Path, cache: Path) -> Any:
    import datasets  # seconds; after all that can fail without it

    dataset = datasets.Dataset.from_json(str(file), cache_dir=str(cache), keep_in_memory=True, parse_agent_traces=False)
    # The reader turns a column of ISO dates into timestamps, and what was written is gone; it is text to us.
    for column in [name for name, feature in dataset.features.items() if _is_temporal(feature)]:
        texts = [record.get(column) for record in _json_records(file)]
        dataset = dataset.remove_columns(column).add_column(column, texts)
    return dataset


def _from_csv(file: Path, cache: Path) -> Any:
    """Every cell as it is written: a reader that guesses makes 1 of `001`, and nothing of `None` and `NA`."""
    import datasets

    return datasets.Dataset.from_csv(str(file), cache_dir=str(cache), keep_in_memory=True, **_as_written(file, sep=","))


def _as_written(file: Path, *, sep: str) -> dict[str, Any]:
    """The reader's options for a CSV file with this header. Raises ValueError for a header that cannot be used."""
    import datasets

    with file.open(encoding="utf-8-sig", newline="") as opened:
        header = next(csv.reader(opened, delimiter=sep), [])
    repeated = sorted({column for column in header if header.count(column) > 1})
    if not header or repeated:
        raise ValueError(f"the header names column {repeated[0]!r} twice" if repeated else "there is no header")
    features = datasets.Features({column: datasets.Value("string") for column in header})
    return {"features": features, "keep_default_na": False, "na_filter": False}


def _from_parquet(file: Path, cache: Path) -> Any:
    import datasets

    return datasets.Dataset.from_parquet(str(file), cache_dir=str(cache), keep_in_memory=True)


def _parquet_fault(file: Path) -> str | None:
    from pyarrow import ArrowException
    from pyarrow.parquet import read_metadata

    try:
        return None if read_metadata(file).num_rows else "it holds no row"
    except (ArrowException, OSError):  # damaged; the reader has said how
        return None


def _from_hub_folder(folder: Path, *, split: str, name: str, work: Path) -> Any:
    import datasets
    from datasets.packaged_modules.csv.csv import CsvConfig

    cache = str(work / "arrow")
    with _reading(name):
        builder = datasets.load_dataset_builder(str(folder), cache_dir=cache)
        plain_csv = isinstance(builder.config, CsvConfig) and builder.config.names is None
        files = [Path(file) for files in builder.config.data_files.values() for file in files] if plain_csv else []
        options = _as_written(files[0], sep=builder.config.sep) if files else {}
        return datasets.load_dataset(str(folder), split=split, cache_dir=cache, keep_in_memory=True, **options)


def _sliced(dataset: Any, *, path: Path, split: str, name: str) -> Any:
    if split == path.name:
        return dataset
    import datasets

    try:
        instructions = datasets.ReadInstruction.from_spec(split).to_absolute({"train": dataset.num_rows})
    except (ValueError, AssertionError) as err:
        raise DataError(
            f"{name}: the source is one file, so a split is {path.name!r}, 'train', or a part such as "
            f"'train[:80%]'; {err}"
        ) from err
    return dataset.select([row for part in instructions for row in range(part.from_, part.to)])


@contextmanager
def _reading(name: str, *, fault: Callable[[], str | None] = lambda: None) -> Iterator[None]:
    """Maps what `datasets`, pandas and pyarrow raise to ours; `fault` may know better what is wrong with the file."""
    import datasets
    import pyarrow

    shown = datasets.is_progress_bar_enabled()
    datasets.disable_progress_bars()
    try:
        yield
    except MemoryError:  # pyarrow's is an ArrowException as well
        raise
    except (
        datasets.exceptions.DatasetsError,
        pyarrow.ArrowException,
        ValueError,
        KeyError,
        OSError,
        StopIteration,
    ) as err:
        raise _our_error(err, name=name, fault=fault) from err
    finally:
        if shown:
            datasets.enable_progress_bars()


def _our_error(
    err: BaseException, *, name: str, fault: Callable[[], str | None] = lambda: None
) -> DataError | ConfigurationError | TransientError:
    """The innermost error says what is wrong with the file; the outer ones only that something is."""
    cause = err
    while (inner := cause.__cause__ or cause.__context__) is not None:
        cause = inner
    if isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT):
        free = shutil.disk_usage(tempfile.gettempdir()).free
        return TransientError(f"{name}: {tempfile.gettempdir()} has {free:,} bytes left; free some, or set TMPDIR")
    if isinstance(cause, PermissionError):
        return ConfigurationError(f"{name}: {cause}; give this user the right to read it")
    said = fault() or f"{type(cause).__name__}: {' '.join(str(cause).split())[:300]}"
    return DataError(f"{name} cannot be read: {said}; mend the file, or name another")


def _is_temporal(feature: Any) -> bool:
    kind = getattr(feature, "dtype", "")
    return isinstance(kind, str) and kind.startswith(("timestamp", "date", "time"))


def _json_records(file: Path) -> list[dict[str, Any]]:
    text = file.read_text(encoding="utf-8-sig")
    if text.lstrip().startswith("["):
        return list(json.loads(text))
    return [json.loads(line) for line in text.split("\n") if line.strip()]


def _text(value: Any, *, place: str) -> str:
    match value:
        case str():
            return value.replace("\r\n", "\n").strip()
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case float() if math.isnan(value):
            return ""  # how pandas writes a missing number into a Parquet file
        case int() | float() | Decimal():
            return str(value)
        case datetime() | date() | time():
            return value.isoformat()
    raise DataError(f"{place}: holds a {type(value).__name__}, not text: {str(value)[:60]!r}; name a column of text")
