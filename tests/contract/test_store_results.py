"""A result counts when it verifies, in every Store; anything else is an error that says what to do."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
from fake_sweep import lead_trial, publish
from servers.s3_server import S3Bucket

from job.contract.base import sha256_hex
from job.contract.documents import ManifestReference
from job.contract.errors import ResultError, SweepError, TransientError
from job.store import Keys, Store, open_store
from job.store.results import load_manifest, read_result, verify_result

ATTEMPT = "attempt-1"
ADAPTER = "adapter/adapter_model.safetensors"
FILES = {"scores.json": b'{"splits": {}}\n', ADAPTER: os.urandom(3_000), "log.txt": b""}
TRIAL = lead_trial(3)


def published(store: Store) -> dict[str, Any]:
    """Publish one attempt and its result; gives the result as JSON, for a test to spoil."""
    publish(store, TRIAL, ATTEMPT, files=FILES)
    document: dict[str, Any] = json.loads(store.read(Keys.result(TRIAL.trial_id), limit_bytes=100_000))
    return document


def overwrite(store: Store, document: dict[str, Any]) -> None:
    store.put(Keys.result(TRIAL.trial_id), json.dumps(document).encode())


def with_manifest(store: Store, document: dict[str, Any], manifest: dict[str, Any]) -> None:
    """Store another manifest and a result that vouches for it."""
    body, key = json.dumps(manifest).encode(), Keys.manifest(TRIAL.trial_id, ATTEMPT)
    store.put(key, body)
    reference = ManifestReference(key=key, size_bytes=len(body), sha256=sha256_hex(body))
    overwrite(store, {**document, "manifest": reference.model_dump()})


def refused(store: Store) -> str:
    with pytest.raises(ResultError) as caught:
        read_result(store, TRIAL)
    message = str(caught.value)
    assert message.startswith(f"{Keys.result(TRIAL.trial_id)} cannot be trusted: ")
    return message


def key_of(path: str) -> str:
    return Keys.attempt_file(TRIAL.trial_id, ATTEMPT, path)


class Unread:
    """A store none of whose objects may be read for its SHA-256."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def sha256(self, key: str) -> str:
        raise AssertionError(f"{key} was read in full")

    def __getattr__(self, name: str) -> object:
        return getattr(self._store, name)


class ResultContract:
    """A subclass gives the fixture `store` (empty)."""

    def test_without_a_result_there_is_none(self, store: Store) -> None:
        assert read_result(store, TRIAL) is None
        publish(store, lead_trial(2), ATTEMPT)
        assert read_result(store, TRIAL) is None

    def test_a_published_result_verifies(self, store: Store) -> None:
        document = published(store)
        found = read_result(store, TRIAL)
        assert found is not None
        assert found.model_dump(mode="json") == document
        assert {file.path for file in load_manifest(store, found.manifest).files} == set(FILES)

    def test_files_beside_those_of_the_manifest_do_not_matter(self, store: Store) -> None:
        published(store)
        store.put(key_of("events/more"), b"x")
        assert read_result(store, TRIAL) is not None

    @pytest.mark.parametrize("path", sorted(FILES))
    def test_a_missing_file_is_named(self, store: Store, path: str) -> None:
        published(store)
        store.delete(key_of(path))
        assert f"{key_of(path)} is missing" in refused(store)

    def test_a_truncated_file_is_named_with_both_sizes(self, store: Store) -> None:
        published(store)
        store.put(key_of(ADAPTER), FILES[ADAPTER][:-1])
        assert f"{key_of(ADAPTER)} is 2,999 bytes, the manifest says 3,000" in refused(store)

    def test_a_flipped_bit_is_found(self, store: Store) -> None:
        published(store)
        store.put(key_of(ADAPTER), bytes([FILES[ADAPTER][0] ^ 1]) + FILES[ADAPTER][1:])
        assert f"{key_of(ADAPTER)} has SHA-256 " in refused(store)

    def test_files_under_an_unbroken_seal_are_not_read_and_every_write_breaks_it(self, store: Store) -> None:
        published(store)
        first = verify_result(store, TRIAL, seal=None)
        assert first is not None
        again = verify_result(cast(Store, Unread(store)), TRIAL, seal=first.seal)
        assert again == first
        flipped = bytes([FILES[ADAPTER][0] ^ 1]) + FILES[ADAPTER][1:]
        store.put(key_of(ADAPTER), flipped)
        with pytest.raises(ResultError, match="has SHA-256"):
            verify_result(store, TRIAL, seal=first.seal)
        store.put(key_of(ADAPTER), FILES[ADAPTER])
        assert verify_result(store, TRIAL, seal=first.seal) is not None

    def test_a_missing_altered_or_resized_manifest_is_found(self, store: Store) -> None:
        published(store)
        key = Keys.manifest(TRIAL.trial_id, ATTEMPT)
        body = store.read(key, limit_bytes=10_000)
        store.put(key, body.replace(b"log.txt", b"log.txu"))
        assert f"{key} has SHA-256 " in refused(store)
        store.put(key, body + b" ")
        assert f"{key} is {len(body) + 1:,} bytes, the result says {len(body):,}" in refused(store)
        store.delete(key)
        assert f"{key} is missing" in refused(store)

    @pytest.mark.parametrize(
        "path", ["../x", "../../other/result.json", "/etc/passwd", "a/../x", ".hidden", "a//b", ""]
    )
    def test_a_manifest_that_leads_out_of_its_attempt_is_refused(self, store: Store, path: str) -> None:
        document = published(store)
        manifest = json.loads(store.read(Keys.manifest(TRIAL.trial_id, ATTEMPT), limit_bytes=10_000))
        manifest["files"][0]["path"] = path
        with_manifest(store, document, manifest)
        assert "is not a valid Manifest: files.0.path" in refused(store)

    def test_a_manifest_that_lists_a_path_twice_is_refused(self, store: Store) -> None:
        document = published(store)
        manifest = json.loads(store.read(Keys.manifest(TRIAL.trial_id, ATTEMPT), limit_bytes=10_000))
        manifest["files"].append(manifest["files"][0])
        with_manifest(store, document, manifest)
        assert "a path is listed twice" in refused(store)

    @pytest.mark.parametrize(("field", "value"), [("trial_id", "f" * 12), ("attempt", "attempt-2")])
    def test_a_manifest_of_another_attempt_is_refused(self, store: Store, field: str, value: str) -> None:
        document = published(store)
        manifest = json.loads(store.read(Keys.manifest(TRIAL.trial_id, ATTEMPT), limit_bytes=10_000))
        with_manifest(store, document, {**manifest, field: value})
        assert f"'{value}'" in refused(store)

    @pytest.mark.parametrize("key", ["control.json", "../secret", "trials/other/attempts/1/manifest.json"])
    def test_a_result_that_vouches_for_a_foreign_manifest_is_refused(self, store: Store, key: str) -> None:
        document = published(store)
        store.put("control.json", store.read(Keys.manifest(TRIAL.trial_id, ATTEMPT), limit_bytes=10_000))
        document["manifest"]["key"] = key
        overwrite(store, document)
        assert key in refused(store)

    @pytest.mark.parametrize("field", ["trial_id", "config_id", "adapter_id"])
    def test_a_result_of_another_trial_is_refused(self, store: Store, field: str) -> None:
        overwrite(store, {**published(store), field: "f" * 12})
        assert f"its {field} is 'ffffffffffff'" in refused(store)

    def test_a_result_of_another_configuration_is_refused(self, store: Store) -> None:
        document = published(store)
        document["config"]["lead_k"] = 4
        overwrite(store, document)
        assert "its config is not the one that the plan has" in refused(store)

    @pytest.mark.parametrize(
        ("spoil", "said"),
        [
            (lambda document: document.pop("metrics"), "metrics: Field required"),
            (lambda document: document.update(schema_version=2), "schema_version: Input should be 1"),
            (lambda document: document.update(more=1), "more: Extra inputs are not permitted"),
            (lambda document: document["metrics"]["validation"]["rougeL"].update(mean=None), "rougeL.mean"),
            (lambda document: document["metrics"]["validation"]["rougeL"].update(mean=float("nan")), "rougeL.mean"),
            (lambda document: document["metrics"]["validation"]["rougeL"].update(mean="0.5"), "rougeL.mean"),
            (lambda document: document.update(steps=-1), "steps"),
        ],
        ids=["missing", "newer", "extra", "null", "nan", "text", "negative"],
    )
    def test_a_result_with_a_bad_field_is_refused_by_its_name(
        self, store: Store, spoil: Callable[[dict[str, Any]], object], said: str
    ) -> None:
        document = published(store)
        spoil(document)
        overwrite(store, document)
        assert said in refused(store)

    @pytest.mark.parametrize("body", [b"", b"{", b"null", b"[]", b"\xff\xfe", b"NaN", b"[" * 100_000])
    def test_a_result_that_is_no_document_is_refused(self, store: Store, body: bytes) -> None:
        store.put(Keys.result(TRIAL.trial_id), body)
        assert "is not a valid Result" in refused(store)

    def test_a_result_over_the_size_limit_is_not_read(self, store: Store) -> None:
        store.put(Keys.result(TRIAL.trial_id), b" " * (4 * 2**20 + 1))
        assert "is 4,194,305 bytes, over the limit of 4,194,304" in refused(store)

    def test_removing_the_bad_result_by_its_tag_makes_room_for_a_good_one(self, store: Store) -> None:
        document = published(store)
        overwrite(store, {**document, "steps": -1})
        refused(store)
        bad = store.stat(Keys.result(TRIAL.trial_id))
        assert bad is not None
        assert store.delete(bad.key, etag=bad.etag)
        assert read_result(store, TRIAL) is None
        assert store.put_once(bad.key, json.dumps(document).encode())
        assert read_result(store, TRIAL) is not None


class TestFolderStore(ResultContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> Store:
        return open_store(str(tmp_path / "runs"))

    def test_a_store_that_does_not_answer_is_no_bad_result(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(*_: object, **__: object) -> None:
            raise OSError(116, os.strerror(116))

        published(store)
        monkeypatch.setattr(os, "scandir", fail)
        with pytest.raises(TransientError):
            read_result(store, TRIAL)

    def test_a_two_gigabyte_result_is_refused_by_its_size(self, store: Store, tmp_path: Path) -> None:
        published(store)
        with (tmp_path / "runs" / Keys.result(TRIAL.trial_id)).open("wb") as file:
            file.truncate(2 * 2**30)
        assert "2,147,483,648 bytes" in refused(store)


class TestS3Store(ResultContract):
    @pytest.fixture
    def store(self, s3_bucket: S3Bucket, monkeypatch: pytest.MonkeyPatch) -> Store:
        for name, value in s3_bucket.server.environment().items():
            monkeypatch.setenv(name, value)
        return open_store(f"{s3_bucket.uri}/runs")

    def test_a_store_that_does_not_answer_is_no_bad_result(
        self, store: Store, s3_bucket: S3Bucket, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        published(store)
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:1")
        with pytest.raises(SweepError) as caught:
            read_result(open_store(f"{s3_bucket.uri}/runs"), TRIAL)
        assert isinstance(caught.value, TransientError)
