"""Data that cannot be read: the file or member is named, and what is wrong in it; never a bug of ours."""

from __future__ import annotations

import errno
import io
import zipfile
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
from row_files import jsonl, load, parquet, rows_of

from job.contract.errors import ConfigurationError, DataError, TransientError

GOOD = jsonl(rows_of("a", 2))
LATIN = b'{"id": "9", "dialogue": "caf\xe9", "summary": "x"}\n'
COLUMNS = ("id", "dialogue", "summary")


def parquet_of(*cells: bytes) -> bytes:
    """One row with these bytes in every column that should be text, or none."""
    column = pyarrow.Array.from_buffers(pyarrow.string(), len(cells), pyarrow.array(cells, pyarrow.binary()).buffers())
    body = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table(dict.fromkeys(COLUMNS, column)), body)
    return body.getvalue()


NO_ROWS, NOT_TEXT = parquet_of(), parquet_of(b"caf\xe9")


@pytest.mark.parametrize(
    ("name", "body", "message"),
    [
        pytest.param("a.jsonl", b'{"id": 1, "dialogue"\n', "cannot be read", id="broken JSON"),
        pytest.param("a.jsonl", b"", "'a.jsonl' is empty", id="empty file"),
        pytest.param("a.jsonl", b"\n\n", "cannot be read", id="blank lines"),
        pytest.param("a.csv", b"", "is empty", id="empty CSV"),
        pytest.param("a.csv", b"id,dialogue,dialogue\n1,2,3\n", "'dialogue' twice", id="column twice"),
        pytest.param("a.csv", b"id,dialogue,summary\n1,caf\xe9,x\n", "line 2 is not UTF-8", id="CSV in Latin-1"),
        pytest.param("a.csv", b"id,dialogue,summary\n\n", "no row below the header", id="only a header"),
        pytest.param("a.jsonl", GOOD + LATIN, "line 3 is not UTF-8 (byte 0xe9)", id="JSONL in Latin-1"),
        pytest.param("a.json", b"[" + LATIN + b"]", "line 1 is not UTF-8", id="array in Latin-1"),
        pytest.param("a.jsonl", GOOD + b"{oops}\n" + GOOD, "line 3 is not JSON", id="one bad line"),
        pytest.param("a.jsonl", GOOD + b"[1]\n", "line 3 is no object", id="a list in a line"),
        pytest.param("a.json", b'[{"id": "1"}, 2]', "entry 2 of its array is no object", id="a number in the array"),
        pytest.param("a.json", b'[{"id": "1"}', "it is not JSON", id="array cut off"),
        pytest.param("a.json", b"[]", "it holds no row", id="empty array"),
        pytest.param("a.parquet", b"PAR1 not really", "cannot be read", id="broken Parquet"),
        pytest.param("a.parquet", parquet(rows_of("a", 50))[:900], "cannot be read", id="Parquet cut off"),
        pytest.param("a.parquet", NO_ROWS, "it holds no row", id="Parquet without rows"),
        pytest.param("a.parquet", NOT_TEXT, "column 'dialogue': cannot be read", id="Parquet in Latin-1"),
        pytest.param("a.xlsx", b"PK", "'a.xlsx' is none of .json", id="unknown format"),
        pytest.param("a.zip", b"PK", "archive cannot be read", id="broken archive"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str, body: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(body)
    path, split = (tmp_path / name, "x.jsonl") if name.endswith(".zip") else (tmp_path, name)
    with pytest.raises(DataError) as caught:
        load(path, splits={"train": split})
    assert message in str(caught.value)
    assert name in str(caught.value)


@pytest.mark.parametrize(
    ("cause", "kind", "words"),
    [
        pytest.param(
            OSError(errno.ENOSPC, "No space left on device"), TransientError, "bytes left; free some", id="disk"
        ),
        pytest.param(
            PermissionError(errno.EACCES, "Permission denied"), ConfigurationError, "the right to read", id="right"
        ),
    ],
)
@pytest.mark.parametrize("name", ["a.jsonl", "a.zip"])
def test_a_full_disk_and_missing_rights_are_no_fault_of_the_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cause: OSError, kind: type[Exception], words: str, name: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise cause

    (tmp_path / "a.jsonl").write_bytes(jsonl(rows_of("a", 1)))
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.write(tmp_path / "a.jsonl", "a.jsonl")
    monkeypatch.setattr(
        "datasets.io.json.Json.download_and_prepare" if name == "a.jsonl" else "shutil.copyfileobj", fail
    )
    with pytest.raises(kind, match=words):
        load(tmp_path / name, splits={"train": "a.jsonl"})


@pytest.mark.parametrize(
    ("method", "at"),
    [
        pytest.param(zipfile.ZIP_STORED, slice(60, 61), id="stored"),
        pytest.param(zipfile.ZIP_DEFLATED, slice(60, 120), id="deflated"),
        pytest.param(zipfile.ZIP_BZIP2, slice(80, 120), id="bzip2"),
        pytest.param(zipfile.ZIP_LZMA, slice(80, 120), id="lzma"),
    ],
)
def test_a_damaged_member_of_an_archive_is_named(tmp_path: Path, method: int, at: slice) -> None:
    archive = tmp_path / "rows.zip"
    with zipfile.ZipFile(archive, "w", method) as opened:
        opened.writestr("a.jsonl", jsonl(rows_of("a", 200)))
    body = bytearray(archive.read_bytes())
    body[at] = b"\xff" * len(body[at])
    archive.write_bytes(body)
    with pytest.raises(DataError, match=r"'a\.jsonl' of .*rows\.zip.* cannot be read"):
        load(archive, splits={"train": "a.jsonl"})


def test_memory_that_runs_out_while_reading_is_no_fault_of_the_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise pyarrow.lib.ArrowMemoryError("malloc of size 64 failed")

    (tmp_path / "a.jsonl").write_bytes(GOOD)
    monkeypatch.setattr("datasets.io.json.Json.download_and_prepare", fail)
    with pytest.raises(MemoryError):
        load(tmp_path, splits={"train": "a.jsonl"})
