"""What every Store promises, as one class of tests, and each Store with it; S3 is a real server."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from servers.s3_server import S3Bucket

from job.contract.errors import ConfigurationError, NotFoundError, ResultError
from job.store import Keys, Store, open_store
from job.store.preflight import check_store

Plant = Callable[[str, bytes], None]
"""Puts an object of any key behind the store's back."""

RACERS = 32
BAD_KEYS = [
    "",
    "/",
    "/etc/passwd",
    "..",
    "../x",
    "a/../x",
    "a/./x",
    "a//b",
    "a b",
    "a/ b",
    "zusammenfassung-ä",
    "a\x00b",
    "a\n",
    "a\\b",
    "a?b",
    "a%2fb",
    ".hidden",
    "a/.tmp-1",
    "-a",
    "x" * 901,
]


class StoreContract:
    """A subclass gives the fixtures `store` (empty) and `plant`."""

    def test_an_empty_store_lists_nothing_and_knows_nothing(self, store: Store) -> None:
        assert list(store.list("")) == []
        assert list(store.list("trials/")) == []
        assert store.stat("control.json") is None
        assert not store.delete("control.json")
        with pytest.raises(NotFoundError, match=r"control\.json"):
            store.read("control.json", limit_bytes=10)
        with pytest.raises(NotFoundError, match=r"control\.json"):
            store.sha256("control.json")

    @pytest.mark.parametrize("body", [b"", b"\x00\xff\r\n", b"{}\n", os.urandom(100_000)], ids=len)
    def test_what_was_put_is_read(self, store: Store, body: bytes) -> None:
        store.put("a/b.json", body)
        assert store.read("a/b.json", limit_bytes=len(body)) == body
        assert store.sha256("a/b.json") == hashlib.sha256(body).hexdigest()
        found = store.stat("a/b.json")
        assert found is not None
        assert (found.key, found.size_bytes) == ("a/b.json", len(body))
        assert list(store.list("")) == [found]

    def test_a_second_put_replaces_the_first(self, store: Store) -> None:
        store.put("progress.json", b"first and longer")
        store.put("progress.json", b"second")
        assert store.read("progress.json", limit_bytes=100) == b"second"

    def test_an_object_over_the_limit_is_refused_with_both_sizes(self, store: Store) -> None:
        store.put("result.json", b"x" * 2_001)
        with pytest.raises(ResultError, match=r"result\.json is 2,001 bytes.*2,000"):
            store.read("result.json", limit_bytes=2_000)

    def test_the_tag_changes_with_bytes_of_the_same_size(self, store: Store) -> None:
        tags = []
        for number in range(30):
            store.put("a", f"{number:03d}".encode())
            found = store.stat("a")
            assert found is not None
            tags.append(found.etag)
        assert len(set(tags)) == 30

    def test_put_once_keeps_the_first_bytes(self, store: Store) -> None:
        assert store.put_once("result.json", b"first")
        assert not store.put_once("result.json", b"other")
        assert not store.put_once("result.json", b"first and more")
        assert not store.put_once("result.json", b"")
        assert store.read("result.json", limit_bytes=100) == b"first"

    def test_put_once_with_the_same_bytes_is_true_again(self, store: Store) -> None:
        assert store.put_once("result.json", b"same")
        before = store.stat("result.json")
        assert store.put_once("result.json", b"same")
        assert store.stat("result.json") == before

    def test_put_once_works_again_after_a_delete(self, store: Store) -> None:
        assert store.put_once("result.json", b"first")
        assert store.delete("result.json")
        assert store.put_once("result.json", b"second")

    def test_of_racing_put_once_exactly_one_wins(self, store: Store) -> None:
        start = threading.Barrier(RACERS)

        def race(number: int) -> bool:
            start.wait()
            return store.put_once("trials/1/result.json", f"{number:02d}".encode())

        with ThreadPoolExecutor(RACERS) as racers:
            won = list(racers.map(race, range(RACERS)))
        assert won.count(True) == 1
        assert store.read("trials/1/result.json", limit_bytes=2) == f"{won.index(True):02d}".encode()
        assert [found.key for found in store.list("")] == ["trials/1/result.json"]

    def test_racing_put_once_of_equal_bytes_all_win(self, store: Store) -> None:
        with ThreadPoolExecutor(RACERS) as racers:
            assert all(racers.map(lambda _: store.put_once("result.json", b"same"), range(RACERS)))

    def test_readers_see_old_or_new_bytes_and_no_mixture(self, store: Store) -> None:
        versions = {bytes([number]) * 300_000 for number in range(20)}
        store.put("progress.json", b"\x00" * 300_000)
        done = threading.Event()

        def read_all() -> int:
            count = 0
            while not done.is_set() or not count:
                assert store.read("progress.json", limit_bytes=300_000) in versions
                count += 1
            return count

        with ThreadPoolExecutor(3) as pool:
            readers = [pool.submit(read_all) for _ in range(3)]
            try:
                for body in versions:
                    store.put("progress.json", body)
            finally:
                done.set()
            assert all(reader.result() for reader in readers)

    def test_a_large_file_goes_up_and_comes_down(self, store: Store, tmp_path: Path) -> None:
        body = os.urandom(2**20) * 37 + b"odd"  # three parts of 16 MiB on S3
        source, target = tmp_path / "adapter.safetensors", tmp_path / "made" / "here" / "copy"
        source.write_bytes(body)
        store.upload("adapter/adapter.safetensors", source)
        found = store.stat("adapter/adapter.safetensors")
        assert found is not None
        assert found.size_bytes == len(body)
        store.download("adapter/adapter.safetensors", target)
        assert target.read_bytes() == body
        assert store.sha256("adapter/adapter.safetensors") == hashlib.sha256(body).hexdigest()
        assert [path.name for path in target.parent.iterdir()] == ["copy"]

    def test_an_upload_replaces_and_an_empty_file_is_an_object(self, store: Store, tmp_path: Path) -> None:
        source = tmp_path / "log.txt"
        source.write_bytes(b"")
        store.put("log.txt", b"before")
        store.upload("log.txt", source)
        assert store.read("log.txt", limit_bytes=0) == b""
        store.download("log.txt", tmp_path / "copy")
        assert (tmp_path / "copy").read_bytes() == b""

    def test_a_download_of_nothing_leaves_the_target_alone(self, store: Store, tmp_path: Path) -> None:
        target = tmp_path / "target"
        target.write_bytes(b"kept")
        with pytest.raises(NotFoundError, match="absent"):
            store.download("absent", target)
        assert target.read_bytes() == b"kept"
        assert [path for path in tmp_path.rglob("*") if path.name.startswith(".tmp")] == []

    def test_a_listing_is_sorted_by_the_whole_key_and_bound_to_its_prefix(self, store: Store) -> None:
        keys = [
            "a-b",
            "a.b",
            "a/b",
            "a/b.c",
            "a/b-x",
            "a0",
            "b/10/x",
            "b/9/x",
            "b1",
            "trials/1/x",
            "trials/12/x",
        ]
        for key in reversed(keys):
            store.put(key, key.encode())
        assert [found.key for found in store.list("")] == sorted(keys)
        assert [found.key for found in store.list("a/")] == ["a/b", "a/b-x", "a/b.c"]
        assert [found.key for found in store.list("trials/1/")] == ["trials/1/x"]
        assert [found.size_bytes for found in store.list("b/10/")] == [6]
        assert list(store.list("nothing/")) == []

    def test_a_listing_has_all_of_more_than_a_thousand_keys(self, store: Store) -> None:
        keys = [f"trials/{number:04d}/result.json" for number in range(1_001)]
        with ThreadPoolExecutor(8) as writers:
            list(writers.map(lambda key: store.put(key, b"{}"), keys))
        assert [found.key for found in store.list("trials/")] == keys

    def test_foreign_objects_with_other_names_are_not_listed(self, store: Store, plant: Plant) -> None:
        store.put("a/b", b"ours")
        for key in ("a/with space", "a/ümlaut", "a/.hidden", ".dot/x"):
            plant(key, b"foreign")
        plant("a/c", b"foreign, and a key like ours")
        assert [found.key for found in store.list("")] == ["a/b", "a/c"]

    def test_a_delete_takes_one_object(self, store: Store) -> None:
        store.put("a/b", b"1")
        store.put("a/c", b"2")
        assert store.delete("a/b")
        assert not store.delete("a/b")
        assert [found.key for found in store.list("")] == ["a/c"]
        assert store.stat("a/b") is None

    def test_a_delete_with_a_stale_tag_removes_nothing(self, store: Store) -> None:
        store.put("result.json", b"bad")
        stale = store.stat("result.json")
        store.put("result.json", b"new")
        fresh = store.stat("result.json")
        assert stale is not None
        assert fresh is not None
        assert not store.delete("result.json", etag=stale.etag)
        assert store.read("result.json", limit_bytes=10) == b"new"
        assert store.delete("result.json", etag=fresh.etag)
        assert not store.delete("result.json", etag=fresh.etag)

    def test_a_key_that_could_leave_the_run_is_refused_everywhere(self, store: Store, tmp_path: Path) -> None:
        file, target = tmp_path / "file", tmp_path / "target"
        file.write_bytes(b"x")
        calls: list[Callable[[str], object]] = [
            lambda key: store.read(key, limit_bytes=10),
            lambda key: store.put(key, b""),
            lambda key: store.put_once(key, b""),
            lambda key: store.upload(key, file),
            lambda key: store.download(key, target),
            store.stat,
            store.sha256,
            store.delete,
        ]
        for key in BAD_KEYS:
            for call in calls:
                with pytest.raises(ResultError, match="store key") as caught:
                    call(key)
                assert repr(key) in str(caught.value)
        assert not target.exists()
        assert list(store.list("")) == []

    def test_a_prefix_that_is_none_is_refused(self, store: Store) -> None:
        for prefix in ("a", "trials/1", "/", "../", "a//", ".hidden/", "a b/"):
            with pytest.raises(ResultError, match="store"):
                list(store.list(prefix))
            with pytest.raises(ResultError, match="store"):
                store.discard_unfinished(prefix, before=datetime.now(UTC))

    def test_a_prefix_is_no_object(self, store: Store) -> None:
        store.put("a/b", b"")
        with pytest.raises(ResultError, match="names a prefix"):
            store.put("a/", b"")
        assert store.stat("a") is None
        assert not store.delete("a")
        assert store.stat("a/b") is not None

    def test_every_key_of_a_run_is_storable(self, store: Store) -> None:
        keys = [
            Keys.CONTROL,
            Keys.spec("0" * 64),
            Keys.plan("0" * 64),
            Keys.submission("sweep-01234567-1"),
            Keys.report("report.html"),
            Keys.result("0123456789ab"),
            Keys.failure("0123456789ab", "attempt-1"),
            Keys.retry("0123456789ab", 1),
            Keys.progress("0123456789ab"),
            Keys.attempt_file("0123456789ab", "1", "adapter/adapter_model.safetensors"),
            Keys.manifest("0123456789ab", "1"),
            Keys.checkpoint("0123456789ab", "1", 16) + "manifest.json",
        ]
        for key in keys:
            store.put(key, key.encode())
        assert [found.key for found in store.list("")] == sorted(keys)
        assert all(store.read(key, limit_bytes=1_000) == key.encode() for key in keys)

    def test_discarding_what_killed_writers_left_keeps_every_object(self, store: Store) -> None:
        store.put("trials/1/a", b"1")
        assert store.put_once("trials/1/b", b"2")
        before = list(store.list(""))
        assert store.discard_unfinished("", before=datetime.now(UTC) + timedelta(days=1)) == 0
        assert list(store.list("")) == before

    def test_a_store_that_works_passes_the_preflight_and_keeps_nothing_of_it(self, store: Store) -> None:
        for _ in range(2):
            checks = check_store(store, nonce="1f2e", now=lambda: datetime.now(UTC))
            assert [check.outcome for check in checks][:2] == ["ok", "ok"]
        assert list(store.list("")) == []


class TestFolderStore(StoreContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> Store:
        return open_store(str(tmp_path / "runs" / "sweep" / "main"))

    @pytest.fixture
    def plant(self, tmp_path: Path) -> Plant:
        def plant(key: str, body: bytes) -> None:
            path = tmp_path / "runs" / "sweep" / "main" / key
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(body)

        return plant


class TestS3Store(StoreContract):
    @pytest.fixture
    def store(self, s3_bucket: S3Bucket, monkeypatch: pytest.MonkeyPatch) -> Store:
        for name, value in s3_bucket.server.environment().items():
            monkeypatch.setenv(name, value)
        return open_store(f"{s3_bucket.uri}/runs/sweep/main")

    @pytest.fixture
    def plant(self, s3_bucket: S3Bucket) -> Plant:
        def plant(key: str, body: bytes) -> None:
            s3_bucket.server.client().put_object(Bucket=s3_bucket.name, Key=f"runs/sweep/main/{key}", Body=body)

        return plant


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("s3://", "no bucket name"),
        ("s3:///runs", "no bucket name"),
        ("s3://buc ket/runs", "no bucket name"),
        ("s3://bucket/a//b", "prefix"),
        ("s3://bucket/a/../b", "prefix"),
        ("s3://bucket/a b", "prefix"),
        ("s3://bucket/" + "a" * 121, "prefix"),
        ("s3://key:canary@bucket/runs", "holds credentials"),
        ("https://key:canary@host/runs", "holds credentials"),
        ("s3:/bucket/runs", "starts with s3://"),
        ("gs://bucket/runs", "`gs:` is not supported"),
        ("", "is empty"),
    ],
)
def test_an_address_that_is_none_is_refused(uri: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message) as caught:
        open_store(uri)
    assert "canary" not in str(caught.value)


def test_an_s3_uri_has_no_slash_at_its_end() -> None:
    assert open_store("s3://bucket/runs/sweep/main/").uri == "s3://bucket/runs/sweep/main"
    assert open_store("s3://bucket").uri == "s3://bucket"
