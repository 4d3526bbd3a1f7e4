"""A prefix is a folder to a sweep: the same digest, and a copy that is made once and verified. On a real S3 server."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
from servers.s3_server import S3Bucket
from tiny_sources import FILES, put_folder, safetensors, write_model, write_rows

from job.contract.config import Source
from job.contract.errors import ConfigurationError, SpecError
from job.source import fetch_data, fetch_model, pin_data, pin_model
from job.sources.description import describe_model


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "lorasweep"


@pytest.fixture
def bucket(s3_bucket: S3Bucket, monkeypatch: pytest.MonkeyPatch) -> S3Bucket:
    for name, value in s3_bucket.server.environment().items():
        monkeypatch.setenv(name, value)
    return s3_bucket


def pin(folder: Path) -> Source:
    return pin_model(str(folder), base=folder.parent, revision=None)


def test_a_prefix_with_the_bytes_of_a_folder_has_its_digest(tmp_path: Path, cache: Path, bucket: S3Bucket) -> None:
    model, rows = write_model(tmp_path / "model", **{"optimizer.pt": b"x"}), write_rows(tmp_path / "rows")
    local = pin(model)
    remote = pin_model(put_folder(bucket, model, "models/tiny") + "/", base=tmp_path, revision=None)
    assert remote == Source(kind="s3", location=f"s3://{bucket.name}/models/tiny", digest=local.digest)
    assert remote.public_name == "tiny"
    copy = fetch_model(remote, cache=cache)
    assert sorted(path.name for path in copy.iterdir()) == ["config.json", "model.safetensors", "tokenizer.json"]
    assert pin(copy).digest == local.digest
    put_folder(bucket, rows, "rows")
    data = pin_data(f"s3://{bucket.name}/rows", base=tmp_path, revision=None, files=FILES)
    assert data.digest == pin_data("rows", base=tmp_path, revision=None, files=FILES).digest
    assert sorted(path.name for path in fetch_data(data, files=FILES, cache=cache).iterdir()) == sorted(FILES)


def test_a_model_is_described_alike_in_a_folder_and_under_a_prefix(
    tmp_path: Path, cache: Path, bucket: S3Bucket
) -> None:
    index = b'{"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}'
    shards = {"model-1.safetensors": safetensors(4), "model-2.safetensors": safetensors(400)}
    model = write_model(tmp_path / "model", **{"model.safetensors.index.json": index}, **shards)
    (model / "model.safetensors").unlink()
    described = describe_model(pin(model), cache=cache)
    assert described == ({"model_type": "gpt2"}, sum(map(len, shards.values())))
    remote = pin_model(put_folder(bucket, model, "models/tiny"), base=tmp_path, revision=None)
    assert describe_model(remote, cache=cache) == described
    (model / "config.json").write_bytes(b"[]")
    with pytest.raises(ConfigurationError, match="not an object"):
        describe_model(pin(model).model_copy(update={"kind": "path"}), cache=cache)


def test_one_object_is_a_source_as_one_file_is(tmp_path: Path, cache: Path, bucket: S3Bucket) -> None:
    folder = write_rows(tmp_path / "rows")
    put_folder(bucket, folder, "some/rows")
    uri = f"s3://{bucket.name}/some/rows/train.jsonl"
    source = pin_data(uri, base=tmp_path, revision=None, files=("train[:50%]",))
    assert source.digest == pin_data("rows/train.jsonl", base=tmp_path, revision=None, files=("train",)).digest
    copy = fetch_data(source, files=("train[:50%]",), cache=cache)
    assert copy.name == "train.jsonl"
    assert copy.read_bytes() == (folder / "train.jsonl").read_bytes()
    with pytest.raises(SpecError, match="there is no object"):
        pin_data(f"s3://{bucket.name}/some/rows/none.jsonl", base=tmp_path, revision=None, files=("train",))


def test_a_copy_is_made_once_and_made_again_when_it_is_damaged(tmp_path: Path, cache: Path, bucket: S3Bucket) -> None:
    uri = put_folder(bucket, write_model(tmp_path / "model"), "m")
    source = pin_model(uri, base=tmp_path, revision=None)
    copy = fetch_model(source, cache=cache)
    inode = copy.stat().st_ino
    assert fetch_model(source, cache=cache).stat().st_ino == inode
    (copy / "model.safetensors").write_bytes(safetensors(9))
    assert fetch_model(source, cache=cache) == copy
    assert (copy / "model.safetensors").read_bytes() == safetensors()
    assert [path.name for path in (cache / "s3").iterdir()] == [copy.name]


def test_a_prefix_that_changed_since_the_plan_is_refused_and_leaves_nothing(
    tmp_path: Path, cache: Path, bucket: S3Bucket
) -> None:
    uri = put_folder(bucket, write_model(tmp_path / "model"), "m")
    source = pin_model(uri, base=tmp_path, revision=None)
    bucket.server.client().put_object(Bucket=bucket.name, Key="m/tokenizer.json", Body=b"[]")
    with pytest.raises(ConfigurationError, match="changed since it was planned"):
        fetch_model(source, cache=cache)
    assert list((cache / "s3").iterdir()) == []


def test_what_a_killed_process_left_behind_goes_after_a_day(tmp_path: Path, cache: Path, bucket: S3Bucket) -> None:
    source = pin_model(put_folder(bucket, write_model(tmp_path / "model"), "m"), base=tmp_path, revision=None)
    old, young = cache / "s3" / ".partial-old", cache / "s3" / ".partial-young"
    for folder in (old, young):
        folder.mkdir(parents=True)
    os.utime(old, (1, 1))
    fetch_model(source, cache=cache)
    assert (old.exists(), young.exists()) == (False, True)


def test_many_fetches_at_once_give_one_copy(tmp_path: Path, cache: Path, bucket: S3Bucket) -> None:
    source = pin_model(put_folder(bucket, write_model(tmp_path / "model"), "m"), base=tmp_path, revision=None)
    found: list[Path] = []
    threads = [threading.Thread(target=lambda: found.append(fetch_model(source, cache=cache))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 6
    assert [path.name for path in (cache / "s3").iterdir()] == [found[0].name]
