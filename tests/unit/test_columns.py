"""Columns that a spec names are looked for in local data before anything starts."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from row_files import FORMATS, jsonl, rows_of
from specs import HEAD

from controller.planning.columns import check_columns
from controller.spec.file import parse_spec
from controller.spec.model import SweepSpec
from job.contract.config import Source
from job.contract.errors import DataError, SpecError
from job.sources.columns import columns_of

NAMES = ("id", "dialogue", "summary")


def in_folder(root: Path, name: str, body: bytes) -> Path:
    (root / name).write_bytes(body)
    return root


def in_archive(root: Path, name: str, body: bytes) -> Path:
    with zipfile.ZipFile(root / "rows.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, body)
    return root / "rows.zip"


def alone(root: Path, name: str, body: bytes) -> Path:
    return in_folder(root, name, body) / name


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("put", [in_folder, in_archive, alone])
def test_every_format_tells_its_columns_wherever_it_lies(
    tmp_path: Path, form: str, put: Callable[[Path, str, bytes], Path]
) -> None:
    name = f"train.{form}"
    assert columns_of(put(tmp_path, name, FORMATS[form](rows_of("a", 3))), name) == NAMES


def test_a_slice_of_one_file_has_the_columns_of_the_file(tmp_path: Path) -> None:
    assert columns_of(alone(tmp_path, "rows.jsonl", jsonl(rows_of("a", 3))), "train[:80%]") == NAMES


@pytest.mark.parametrize(
    ("name", "body", "found"),
    [
        pytest.param("a.jsonl", b'{"a": 1}\n\n{"b": [2], "a": 3}\n', ("a", "b"), id="a column of later rows"),
        pytest.param("a.jsonl", b'\xef\xbb\xbf{"a": 1}', ("a",), id="a byte order mark, no line end"),
        pytest.param("a.csv", b'\xef\xbb\xbf"a, b",c\r\n1,2\r\n', ("a, b", "c"), id="a quoted header"),
        pytest.param("a.jsonl", b'{"a": 1}\n{"a": ', None, id="a line cut off"),
        pytest.param("a.jsonl", b"[1]\n[2]\n", None, id="no objects"),
        pytest.param("a.json", b"[" * 100_000, None, id="nested without end"),
        pytest.param("a.parquet", b"PAR1", None, id="broken Parquet"),
        pytest.param("a.csv", b"", None, id="empty"),
    ],
)
def test_what_a_beginning_tells(tmp_path: Path, name: str, body: bytes, found: tuple[str, ...] | None) -> None:
    assert columns_of(in_folder(tmp_path, name, body), name) == found


def test_of_a_large_file_the_beginning_is_enough(tmp_path: Path) -> None:
    row = b'{"a": "%s"}\n' % (b"x" * 1000)
    body = row * 11_000 + b'{"late": 1}\n'
    assert columns_of(in_folder(tmp_path, "a.jsonl", body), "a.jsonl") == ("a",)
    assert columns_of(in_folder(tmp_path, "a.json", b"[" + b",".join([row] * 11_000) + b"]"), "a.json") is None


@pytest.mark.parametrize("put", [in_folder, in_archive])
def test_bytes_that_are_no_text_are_found_with_their_line(
    tmp_path: Path, put: Callable[[Path, str, bytes], Path]
) -> None:
    with pytest.raises(DataError, match=r"a\.jsonl: line 2 is not UTF-8"):
        columns_of(put(tmp_path, "a.jsonl", b'{"a": 1}\n{"a": "caf\xe9"}\n'), "a.jsonl")


def spec_of(text: str) -> SweepSpec:
    for split in ("a", "b", "c"):
        text = text.replace(f": {split}", f": {split}.jsonl", 1)
    vary = "vary: {grid: {prompt: [v1, v2], lora.r: [8]}}\n"
    return parse_spec((text + vary).encode(), name="sweep.yaml", folder=Path("/nowhere")).spec


@pytest.fixture
def rows(tmp_path: Path) -> Source:
    for split in ("a", "b", "c"):
        (tmp_path / f"{split}.jsonl").write_bytes(jsonl(rows_of(split, 2)))
    return Source(kind="path", location=str(tmp_path), digest="sha256:" + "0" * 64)


WRONG = {
    "input: dialogue": ("input: dialog", r"^data\.columns\.input: 'dialog': .*did you mean 'dialogue'"),
    "{input: dialogue": ("{id: nr, input: dialogue", r"^data\.columns\.id: 'nr': .* in a\.jsonl, b\.jsonl, c\.jsonl;"),
    "Be brief.\\n{dialogue}": ("Be brief.\\n{dialogue} {topic}", r"^prompts\.v2\.prompt: \{topic\}: no such column"),
    "Sum up.\\n{dialogue}": ("Sum up.\\n{dialog}", r"^prompts\.v1\.prompt: \{dialog\}: .*did you mean 'dialogue'"),
}  # fmt: skip


@pytest.mark.parametrize(("there", "change", "words"), [(there, *rest) for there, rest in WRONG.items()])
def test_a_column_that_is_not_there_is_named_with_those_that_are(
    rows: Source, there: str, change: str, words: str
) -> None:
    assert there in HEAD
    check_columns(spec_of(HEAD), rows)
    with pytest.raises(SpecError, match=words) as caught:
        check_columns(spec_of(HEAD.replace(there, change, 1)), rows)
    assert "id, dialogue, summary" in str(caught.value)
    assert len(str(caught.value).splitlines()) <= 3, "not once more for every split"


def test_a_split_with_other_columns_is_named_alone(rows: Source) -> None:
    (Path(rows.location) / "b.jsonl").write_text('{"dialogue": "A: hi", "gist": "A greets."}\n')
    with pytest.raises(SpecError, match=r"^data\.columns\.target: 'summary': no such column in b\.jsonl; there"):
        check_columns(spec_of(HEAD), rows)


def test_data_elsewhere_are_left_to_the_job(rows: Source) -> None:
    for kind, location in (("hub", "someone/rows"), ("s3", "s3://bucket/rows"), ("path", "/volumes/rows")):
        place = rows.model_copy(update={"kind": kind, "location": location})
        check_columns(spec_of(HEAD.replace("input: dialogue", "input: nothing")), place)
