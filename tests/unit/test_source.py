"""Digests name bytes and never places; what is unsafe or not there is refused before anything runs."""

from __future__ import annotations

import json
import os
import struct
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tiny_sources import FILES, safetensors, write_model, write_rows

from job.contract.base import canonical_json, sha256_hex
from job.contract.config import Source
from job.contract.errors import ConfigurationError, SpecError
from job.source import fetch_data, fetch_model, pin_data, pin_model
from job.sources.hashes import HashCache, default_cache


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "lorasweep"


def pin(folder: Path) -> Source:
    return pin_model(str(folder), base=folder.parent, revision=None)


def test_a_model_digest_is_over_names_and_bytes_of_the_files_that_matter(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model", **{"README.md": b"hello", "training_args.bin": b"pickle"})
    names = ["config.json", "model.safetensors", "tokenizer.json"]
    hashes = [[name, sha256_hex((folder / name).read_bytes())] for name in names]
    found = pin(folder)
    assert found == Source(kind="path", location=str(folder), digest="sha256:" + sha256_hex(canonical_json(hashes)))
    (folder / "README.md").write_text("changed", encoding="utf-8")
    assert pin(folder).digest == found.digest


def test_a_moved_folder_keeps_its_digest_and_a_changed_byte_does_not(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "one")
    first = pin(folder).digest
    moved = folder.rename(tmp_path / "two")
    assert pin(moved).digest == first
    (moved / "tokenizer.json").write_bytes(b"[]")
    assert pin(moved).digest != first


def test_a_relative_path_counts_from_the_folder_of_the_spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_model(tmp_path / "models" / "tiny")
    (tmp_path / "examples").mkdir()
    monkeypatch.chdir("/")
    found = pin_model("../models/tiny", base=tmp_path / "examples", revision=None)
    assert found.location == str(tmp_path / "models" / "tiny")


@pytest.mark.parametrize(
    "location", ["./no", "/no/such", "~/no-such-folder", "no/", "rows.jsonl", "a/b/c", "-x", "ü/x"]
)
def test_a_path_that_is_not_there_is_a_mistake_with_the_full_path(tmp_path: Path, location: str) -> None:
    with pytest.raises(SpecError, match=r"there is no file or folder /.*write its s3:// prefix"):
        pin_model(location, base=tmp_path, revision=None)


@pytest.mark.parametrize("location", ["x" * 5000, "~nobody-of-this-name/x", "a\x00b", "./loop/x"])
def test_a_place_that_cannot_even_be_looked_up_is_a_mistake(tmp_path: Path, location: str) -> None:
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(SpecError):
        pin_model(location, base=tmp_path, revision=None)


@pytest.mark.parametrize("location", ["https://host/x", "gs://b/x", "hf://x", "s3:/b/x", "s3:b", "s3://", ""])
def test_what_is_no_address_is_refused_and_not_taken_for_a_folder(tmp_path: Path, location: str) -> None:
    with pytest.raises(SpecError, match=r"write .*s3://bucket/prefix"):
        pin_model(location, base=tmp_path, revision=None)


@pytest.mark.parametrize("given", ["cache", "./cache", ""])
def test_a_relative_cache_is_the_default(monkeypatch: pytest.MonkeyPatch, given: str) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    monkeypatch.setenv("XDG_CACHE_HOME", given)
    assert default_cache() == Path("/home/somebody/.cache/lorasweep")


def test_only_a_hub_id_has_a_revision(tmp_path: Path) -> None:
    write_model(tmp_path / "model")
    with pytest.raises(SpecError, match="only a hub id has revisions"):
        pin_model("model", base=tmp_path, revision="main")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(lambda f: (f / "config.json").unlink(), "no config.json", id="no config"),
        pytest.param(lambda f: (f / "tokenizer.json").unlink(), "has no tokenizer", id="no tokenizer"),
        pytest.param(lambda f: (f / "model.safetensors").unlink(), "no weights", id="no weights"),
        pytest.param(
            lambda f: (f / "model.safetensors").rename(f / "pytorch_model.bin"),
            "only as 'pytorch_model.bin', a format that can run code",
            id="pickled weights",
        ),
        pytest.param(lambda f: (f / "config.json").write_text('{"auto_map": {"a": "b"}}'), "`auto_map`", id="own code"),
        pytest.param(
            lambda f: (f / "tokenizer_config.json").write_text('{"auto_map": {"a": "b"}}'),
            "`auto_map`",
            id="its tokenizer",
        ),
        pytest.param(lambda f: (f / "config.json").write_text("{"), "is not JSON", id="broken config"),
        pytest.param(lambda f: (f / "config.json").write_text("[" * 100_000), "is not JSON", id="deep config"),
        pytest.param(lambda f: (f / "config.json").write_text("[]"), "not an object", id="config is a list"),
        pytest.param(lambda f: (f / "adapter_config.json").write_text("{}"), "holds an adapter", id="adapter"),
        pytest.param(
            lambda f: (f / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\n"),
            "git lfs pull",
            id="LFS pointer",
        ),
        pytest.param(lambda f: (f / "model.safetensors").write_bytes(b""), "cut off", id="empty weights"),
        pytest.param(
            lambda f: (f / "model.safetensors").write_bytes(struct.pack("<Q", 2**63) + b"{}"),
            "cut off",
            id="absurd header",
        ),
        pytest.param(
            lambda f: (f / "model.safetensors").write_bytes(safetensors()[:-1]), "does not hold", id="cut weights"
        ),
        pytest.param(
            lambda f: (f / "model.safetensors").write_bytes(safetensors().replace(b"[4]", b"[9]")),
            "does not hold",
            id="absurd shape",
        ),
        pytest.param(
            lambda f: (f / "model.safetensors").write_bytes(struct.pack("<Q", 4) + b"nope"),
            "does not parse",
            id="no header",
        ),
    ],
)
def test_a_model_that_cannot_be_used_safely_is_refused(
    tmp_path: Path, change: Callable[[Path], object], message: str
) -> None:
    folder = write_model(tmp_path / "model")
    change(folder)
    with pytest.raises(ConfigurationError) as caught:
        pin(folder)
    assert message in str(caught.value)
    assert str(folder) in str(caught.value)


def shard_index(**shards: str) -> bytes:
    return json.dumps({"metadata": {}, "weight_map": shards}).encode()


def test_sharded_weights_are_those_that_the_index_names(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model", **{"one.safetensors": safetensors(), "two.safetensors": safetensors(2)})
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_bytes(shard_index(a="one.safetensors", b="two.safetensors"))
    first = pin(folder).digest
    (folder / "consolidated.safetensors").write_bytes(safetensors(3))
    assert pin(folder).digest == first
    (folder / "two.safetensors").write_bytes(safetensors(3))
    assert pin(folder).digest != first
    (folder / "two.safetensors").unlink()
    with pytest.raises(ConfigurationError, match=r"names 'two.safetensors', which is not there"):
        pin(folder)


@pytest.mark.parametrize("shard", ["../x.safetensors", "/etc/x.safetensors", "a/b.safetensors", "x.bin", 7])
def test_an_index_cannot_name_files_elsewhere(tmp_path: Path, shard: Any) -> None:
    folder = write_model(tmp_path / "model")
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_bytes(shard_index(a=shard))
    with pytest.raises(ConfigurationError, match="no safetensors file beside it"):
        pin(folder)


def test_a_real_model_folder_is_pinned_and_fetched_in_place(tiny_gpt2_folder: Path, cache: Path) -> None:
    source = pin(tiny_gpt2_folder)
    assert fetch_model(source, cache=cache) == tiny_gpt2_folder


def test_a_model_that_changed_since_the_plan_is_refused(tmp_path: Path, cache: Path) -> None:
    folder = write_model(tmp_path / "model")
    source = pin(folder)
    (folder / "model.safetensors").write_bytes(safetensors(5))
    with pytest.raises(ConfigurationError, match=r"changed since it was planned: .*anew with `--repin`"):
        fetch_model(source, cache=cache)


def test_data_digests_are_over_the_files_that_the_splits_name(tmp_path: Path) -> None:
    folder = write_rows(tmp_path / "rows")
    first = pin_data("rows", base=tmp_path, revision=None, files=FILES)
    assert first.digest == "sha256:" + sha256_hex(
        canonical_json([[name, sha256_hex((folder / name).read_bytes())] for name in sorted(FILES)])
    )
    (folder / "notes.txt").write_text("x", encoding="utf-8")
    assert pin_data("rows", base=tmp_path, revision=None, files=(*reversed(FILES), FILES[0])).digest == first.digest
    assert pin_data("rows", base=tmp_path, revision=None, files=FILES[:1]).digest != first.digest


def test_renaming_a_single_file_keeps_its_digest(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("{}\n", encoding="utf-8")
    first = pin_data("a.jsonl", base=tmp_path, revision=None, files=("train[:80%]",)).digest
    (tmp_path / "a.jsonl").rename(tmp_path / "b.jsonl")
    assert pin_data("b.jsonl", base=tmp_path, revision=None, files=("train[80%:]",)).digest == first


def test_an_archive_is_asked_for_its_members(tmp_path: Path, cache: Path) -> None:
    with zipfile.ZipFile(tmp_path / "rows.zip", "w") as archive:
        archive.writestr("deep/train.jsonl", "{}\n")
    source = pin_data("rows.zip", base=tmp_path, revision=None, files=("deep/train.jsonl",))
    assert fetch_data(source, files=("deep/train.jsonl",), cache=cache) == tmp_path / "rows.zip"
    with pytest.raises(SpecError, match=r"no file 'train.jsonl' in .*rows.zip.*there are 'deep/train.jsonl'"):
        pin_data("rows.zip", base=tmp_path, revision=None, files=("train.jsonl",))
    (tmp_path / "rows.zip").write_bytes(b"PK")
    with pytest.raises(SpecError, match="cannot be opened as an archive"):
        pin_data("rows.zip", base=tmp_path, revision=None, files=("train.jsonl",))


@pytest.mark.parametrize("split", ["../rows/train.jsonl", "/etc/passwd", ".."])
def test_a_split_cannot_leave_its_source(tmp_path: Path, split: str) -> None:
    write_rows(tmp_path / "rows")
    with pytest.raises(SpecError, match="has to be a file inside"):
        pin_data("rows", base=tmp_path, revision=None, files=(split,))


def test_a_missing_split_is_answered_with_the_files_there_are(tmp_path: Path) -> None:
    write_rows(tmp_path / "rows")
    with pytest.raises(
        SpecError, match=r"no file 'tests.jsonl' .*did you mean 'test.jsonl'.*there are 'test.jsonl', 'train"
    ):
        pin_data("rows", base=tmp_path, revision=None, files=("tests.jsonl",))


def test_data_that_changed_or_went_since_the_plan_is_refused(tmp_path: Path, cache: Path) -> None:
    folder = write_rows(tmp_path / "rows")
    source = pin_data("rows", base=tmp_path, revision=None, files=FILES)
    assert fetch_data(source, files=FILES, cache=cache) == folder
    (folder / "train.jsonl").write_text('{"other": 1}\n', encoding="utf-8")
    with pytest.raises(ConfigurationError, match="changed since it was planned"):
        fetch_data(source, files=FILES, cache=cache)
    (folder / "train.jsonl").unlink()
    with pytest.raises(ConfigurationError, match=r"changed since it was planned: .*no file 'train.jsonl'"):
        fetch_data(source, files=FILES, cache=cache)


def test_a_hash_is_remembered_until_the_file_changes(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "weights"
    path.write_bytes(b"old")
    past = time.time_ns() - 10**10
    hashes = HashCache(cache)
    monkeypatch.setattr("time.time_ns", lambda: past + 2 * 10**10)  # the file is 10 s old, and so trusted
    assert hashes.of_file(path) == sha256_hex(b"old")
    monkeypatch.setattr("hashlib.file_digest", lambda *_: pytest.fail("read a second time"))
    assert hashes.of_file(path) == sha256_hex(b"old")
    monkeypatch.undo()
    before = path.stat()
    path.write_bytes(b"new")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert HashCache(cache).of_file(path) == sha256_hex(b"new")


def test_a_hash_of_a_file_just_written_is_not_remembered(tmp_path: Path, cache: Path) -> None:
    path = tmp_path / "weights"
    path.write_bytes(b"old")
    HashCache(cache).of_file(path)
    assert not cache.exists()


def test_a_damaged_or_unwritable_hash_cache_only_costs_time(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "weights"
    path.write_bytes(b"old")
    later = time.time_ns() + 10**10
    monkeypatch.setattr("time.time_ns", lambda: later)
    hashes = HashCache(cache)
    hashes.of_file(path)
    for remembered in (cache / "sha256").iterdir():
        remembered.write_bytes(b"garbage")
    assert hashes.of_file(path) == sha256_hex(b"old")
    (tmp_path / "file").write_bytes(b"")
    assert HashCache(tmp_path / "file").of_file(path) == sha256_hex(b"old")
