"""Which rows a trial gets: files as they are written, the fixed order of the rules, and what was left out."""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
from row_files import FORMATS, ROLES, jsonl, load, load_one, parquet, rows_of

from job.contract.base import canonical_json, sha256_hex
from job.contract.config import SplitRole
from job.contract.errors import DataError


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_gives_the_same_rows_from_a_folder(tmp_path: Path, form: str) -> None:
    for role in ROLES:
        (tmp_path / f"{role}.{form}").write_bytes(FORMATS[form](rows_of(role, 5)))
    rows = load(tmp_path, splits={role: f"{role}.{form}" for role in ROLES})
    for role in ROLES:
        order = np.random.default_rng(42).permutation(5)
        assert [row.example_id for row in rows.splits[role]] == [f"{role}-{n}" for n in order]
        assert [row.fields for row in rows.splits[role]] == [rows_of(role, 5)[n] for n in order]
    assert rows.dropped == {}


@pytest.mark.parametrize("form", FORMATS)
def test_a_zip_is_a_folder_whose_splits_are_its_members(tmp_path: Path, form: str) -> None:
    archive = tmp_path / "chats.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as opened:
        opened.writestr(f"deep/er/train [1].{form}", FORMATS[form](rows_of("train", 3)))
    rows = load(archive, splits={"train": f"deep/er/train [1].{form}"})
    assert sorted(row.input for row in rows.splits["train"]) == ["train talk 0", "train talk 1", "train talk 2"]


@pytest.mark.parametrize("form", FORMATS)
def test_one_file_is_split_by_slices(tmp_path: Path, form: str) -> None:
    path = tmp_path / f"chats.{form}"
    path.write_bytes(FORMATS[form](rows_of("all", 10)))
    rows = load(path, splits={"train": "train[:80%]", "validation": "train[80%:90%]", "test": "train[9:]"})
    ids = {role: sorted(row.example_id for row in rows.splits[role]) for role in ROLES}
    assert ids == {"train": [f"all-{n}" for n in range(8)], "validation": ["all-8"], "test": ["all-9"]}
    assert len(load(path, splits={"train": path.name}).splits["train"]) == 10


@pytest.mark.parametrize(
    "name", ["rows*.jsonl", "a?b.jsonl", "x[12].jsonl", "hash#.jsonl", "zip::x.jsonl", "ü n.jsonl"]
)
def test_a_file_name_is_never_a_pattern(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(jsonl(rows_of("right", 2)))
    (tmp_path / "rows1.jsonl").write_bytes(jsonl(rows_of("wrong", 2)))
    rows = load(tmp_path, splits={"train": name}).splits["train"]
    assert {row.input for row in rows} == {"right talk 0", "right talk 1"}


def test_changed_bytes_of_the_same_name_size_and_time_are_read_anew(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    for word in ("aaa", "bbb"):
        row = load_one(path, [{"id": "1", "dialogue": word, "summary": word}])[0]
        os.utime(path, (1, 1))
        assert row.input == word


def test_reading_writes_nothing_beside_the_data_or_at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, work, home = tmp_path / "data", tmp_path / "work", tmp_path / "home"
    for folder in (data, work, home):
        folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(work))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setenv("HOME", str(home))
    (data / "rows.jsonl").write_bytes(jsonl(rows_of("a", 3)))
    load(data, splits={"train": "rows.jsonl"})
    assert [path.name for path in data.iterdir()] == ["rows.jsonl"]
    assert list(work.iterdir()) == []
    assert list(home.iterdir()) == []


@pytest.mark.parametrize("form", FORMATS)
def test_cells_keep_what_is_written(tmp_path: Path, form: str) -> None:
    record = {"id": "007", "dialogue": "NA", "summary": "None", "day": "2024-01-02", "when": "2024-01-02T03:04:05Z"}
    path = tmp_path / f"rows.{form}"
    path.write_bytes(FORMATS[form]([record, {**record, "id": "1e5"}]))
    rows = load(path, splits={"test": path.name}).splits["test"]
    assert {row.example_id for row in rows} == {"007", "1e5"}
    assert all(dict(row.fields) == {**record, "id": row.example_id} for row in rows)


def test_line_ends_are_lf_and_outer_blanks_go(tmp_path: Path) -> None:
    row = load_one(tmp_path / "a.jsonl", [{"id": " 1 ", "dialogue": " a: hi\r\nb: yo \r\n", "summary": "\thi\n"}])[0]
    assert (row.example_id, row.input, row.target) == ("1", "a: hi\nb: yo", "hi")
    assert row.fields == {"id": "1", "dialogue": "a: hi\nb: yo", "summary": "hi"}


def test_numbers_and_truth_become_text_and_null_the_empty_text(tmp_path: Path) -> None:
    row = load_one(
        tmp_path / "a.jsonl", [{"id": 13828807, "dialogue": 1.5, "summary": "x", "no": None, "yes": True, "n": 7}]
    )[0]
    assert row.fields == {"id": "13828807", "dialogue": "1.5", "summary": "x", "no": "", "yes": "true", "n": "7"}


def test_columns_of_lists_and_objects_are_no_fields(tmp_path: Path) -> None:
    row = load_one(tmp_path / "a.jsonl", [{"id": "1", "dialogue": "d", "summary": "s", "t": ["a"], "o": {"a": 1}}])[0]
    assert set(row.fields) == {"id", "dialogue", "summary"}


@pytest.mark.parametrize("value", [["a"], {"a": 1}])
def test_an_input_that_is_no_text_is_named(tmp_path: Path, value: object) -> None:
    with pytest.raises(DataError, match=r"column 'dialogue', row 0: holds a (list|dict), not text"):
        load_one(tmp_path / "a.jsonl", [{"id": "1", "dialogue": value, "summary": "s"}])


def test_an_unknown_column_is_answered_with_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        load_one(tmp_path / "a.jsonl", rows_of("a", 1), columns={"input": "dialog", "target": "summary"})
    message = str(caught.value)
    assert "no column 'dialog' (did you mean 'dialogue'?)" in message
    assert "'id', 'dialogue', 'summary'" in message
    assert "a.jsonl" in message


def test_empty_rows_go_before_the_shuffle(tmp_path: Path) -> None:
    records = rows_of("a", 10)
    records[3]["dialogue"] = " \r\n "
    records[7]["summary"] = None
    (tmp_path / "a.jsonl").write_bytes(jsonl(records))
    rows = load(tmp_path, splits={"train": "a.jsonl"}, limits={"train": 4}, seed=7)
    full = [record["id"] for n, record in enumerate(records) if n not in (3, 7)]
    expected = [full[n] for n in np.random.default_rng(7).permutation(8)[:4]]
    assert [row.example_id for row in rows.splits["train"]] == expected
    assert rows.dropped == {"train.empty": 2}


def test_a_limit_over_the_number_of_rows_keeps_them_all(tmp_path: Path) -> None:
    assert len(load_one(tmp_path / "a.jsonl", rows_of("a", 3), limits={"test": 100})) == 3


def test_rows_that_are_scored_are_not_trained_on(tmp_path: Path) -> None:
    shared = [{"id": f"s{n}", "dialogue": f"shared {n}\r\n", "summary": f"told {n}"} for n in range(3)]
    train = [*rows_of("train", 4), {**shared[0], "dialogue": " shared 0"}, shared[1], shared[2]]
    validation = [*rows_of("validation", 2), shared[1], {**shared[2], "summary": "told otherwise"}]
    test = [*rows_of("test", 2), shared[0], shared[2]]
    for role, records in {"train": train, "validation": validation, "test": test}.items():
        (tmp_path / f"{role}.jsonl").write_bytes(jsonl(records))
    rows = load(tmp_path, splits={role: f"{role}.jsonl" for role in ROLES})
    inputs = {role: sorted(row.input for row in rows.splits[role]) for role in ROLES}
    assert inputs["train"] == [f"train talk {n}" for n in range(4)]
    assert inputs["validation"] == ["shared 1", "validation talk 0", "validation talk 1"]
    assert len(inputs["test"]) == 4
    assert rows.dropped == {"train.leaked": 3, "validation.leaked": 1}


def test_only_rows_that_are_scored_count_as_leaks(tmp_path: Path) -> None:
    for role in ("train", "test"):
        (tmp_path / f"{role}.jsonl").write_bytes(jsonl(rows_of("same", 20)))
    rows = load(tmp_path, splits={"train": "train.jsonl", "test": "test.jsonl"}, limits={"test": 2})
    assert len(rows.splits["train"]) == 18


def test_a_split_that_leaks_whole_says_so(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(jsonl(rows_of("a", 5)))
    with pytest.raises(DataError, match=r"is empty: 5 rows, 0 .* all have an input that is in validation or test too"):
        load(tmp_path, splits={"train": "a.jsonl", "test": "a.jsonl"})


def test_a_split_of_empty_rows_says_so(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is empty: 2 rows, 2 of them with an empty input or target"):
        load_one(tmp_path / "a.jsonl", [{**record, "summary": ""} for record in rows_of("a", 2)])


def test_repeated_ids_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="2 rows have the id 'a-1'"):
        load_one(tmp_path / "a.jsonl", [*rows_of("a", 3), {**rows_of("a", 2)[1], "dialogue": "other"}])
    with pytest.raises(DataError, match="1 rows have no id"):
        load_one(tmp_path / "a.jsonl", [*rows_of("a", 3), {"id": None, "dialogue": "d", "summary": "s"}])


def test_without_an_id_column_a_row_is_named_by_its_texts(tmp_path: Path) -> None:
    twice = {"dialogue": " d\r\n", "summary": "s"}
    columns = {"input": "dialogue", "target": "summary"}
    rows = load_one(tmp_path / "a.jsonl", [twice, twice, {"dialogue": "e", "summary": "s"}], columns=columns)
    name = sha256_hex(canonical_json(["d", "s"]))[:16]
    assert {row.example_id for row in rows} == {name, f"{name}-2", sha256_hex(canonical_json(["e", "s"]))[:16]}


@pytest.mark.parametrize("split", ["../secret.jsonl", "/etc/passwd", "a/../../secret.jsonl"])
def test_a_split_cannot_leave_the_source(tmp_path: Path, split: str) -> None:
    (tmp_path / "secret.jsonl").write_bytes(jsonl(rows_of("a", 1)))
    (tmp_path / "source").mkdir()
    with pytest.raises(DataError, match="inside the source"):
        load(tmp_path / "source", splits={"train": split})


def test_a_missing_file_is_answered_with_those_there_are(tmp_path: Path) -> None:
    (tmp_path / "train.jsonl").write_bytes(jsonl(rows_of("a", 1)))
    with pytest.raises(DataError, match=r"no such file \(did you mean 'train.jsonl'\?\); there are 'train.jsonl'"):
        load(tmp_path, splits={"train": "train.json"})
    with pytest.raises(DataError, match="Unknown split"):
        load(tmp_path / "train.jsonl", splits={"train": "test"})
    with pytest.raises(DataError, match="no such file or folder"):
        load(tmp_path / "nowhere", splits={"train": "test"})


def test_a_hub_folder_has_split_names_files_and_slices(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    for role in ROLES:
        (tmp_path / f"data/{role}-00000-of-00001.parquet").write_bytes(parquet(rows_of(role, 10)))
    splits: dict[SplitRole, str] = {"train": "train[:50%]", "test": "data/test-00000-of-00001.parquet"}
    rows = load(tmp_path, splits=splits, kind="hub")
    assert {row.example_id for row in rows.splits["train"]} == {f"train-{n}" for n in range(5)}
    assert len(rows.splits["test"]) == 10
    with pytest.raises(DataError, match="Unknown split"):
        load(tmp_path, splits={"train": "dev"}, kind="hub")


CARD = """---
dataset_info:
  features: [{name: id, dtype: int64}, {name: dialogue, dtype: string}, {name: summary, dtype: string}]
configs:
- config_name: default
  sep: ";"
  data_files: [{split: train, path: rows/a.csv}, {split: test, path: rows/b.csv}]
---
A hub dataset as most are: CSV files, and a card that says which file is which split.
"""


def test_cells_of_a_hub_dataset_keep_what_is_written(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text(CARD, encoding="utf-8")
    (tmp_path / "rows").mkdir()
    (tmp_path / "rows/a.csv").write_text('id;dialogue;summary\n007;"a\n\nb";None\n8;NA;1e5\n', encoding="utf-8")
    (tmp_path / "rows/b.csv").write_text("id;dialogue;summary\n1;x;y\n", encoding="utf-8")
    rows = load(tmp_path, splits={"train": "train", "test": "test"}, kind="hub")
    found = {(row.example_id, row.input, row.target) for row in rows.splits["train"]}
    assert found == {("007", "a\n\nb", "None"), ("8", "NA", "1e5")}
    assert rows.splits["test"][0].fields == {"id": "1", "dialogue": "x", "summary": "y"}


def test_a_hub_dataset_of_several_configurations_is_answered_with_their_names(tmp_path: Path) -> None:
    card = "---\nconfigs:\n- {config_name: de, data_files: de.jsonl}\n- {config_name: en, data_files: en.jsonl}\n---\n"
    (tmp_path / "README.md").write_text(card, encoding="utf-8")
    for language in ("de", "en"):
        (tmp_path / f"{language}.jsonl").write_bytes(jsonl(rows_of(language, 2)))
    with pytest.raises(DataError, match=r"\['de', 'en'\].* name another"):
        load(tmp_path, splits={"train": "train"}, kind="hub")
    assert len(load(tmp_path, splits={"train": "de.jsonl"}, kind="hub").splits["train"]) == 2


def samsum() -> Path:
    """The archive as published; its licence keeps it out of the repository."""
    beside = Path(__file__).parents[3] / "shared" / "data" / "samsum.zip"
    path = Path(os.environ.get("SAMSUM_ZIP", beside))
    if not path.is_file():
        pytest.skip(f"needs the SAMSum archive at {path}, or at $SAMSUM_ZIP")
    return path


@pytest.mark.samsum
def test_samsum_gives_the_rows_of_the_original_experiment() -> None:
    path = samsum()
    splits: dict[SplitRole, str] = {
        "train": "samsum/train.json",
        "validation": "samsum/val.json",
        "test": "samsum/test.json",
    }
    with zipfile.ZipFile(path) as archive:
        published = json.loads(archive.read(splits["train"]))
    full = [record for record in published if record["id"] != "13828807"]
    expected = [full[n]["id"] for n in np.random.default_rng(42).permutation(14731)[:64]]
    rows = load(path, splits={"train": splits["train"]}, limits={"train": 64})
    assert [row.example_id for row in rows.splits["train"]] == expected
    assert not any("\r" in row.input or row.input != row.input.strip() for row in rows.splits["train"])
    whole = load(path, splits=splits)
    assert {role: len(split) for role, split in whole.splits.items()} == {
        "train": 14638,
        "validation": 814,
        "test": 819,
    }
    assert whole.dropped == {"train.empty": 1, "train.leaked": 93, "validation.leaked": 4}
