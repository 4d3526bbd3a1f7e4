"""What is found out about a store before a run: missing rights, differing clocks, servers that do not keep."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
from servers.fault_proxy import Answer, FaultProxy
from servers.s3_server import S3Bucket

from job.checkpoint import Checkpoints
from job.contract.checks import Check, refused
from job.contract.errors import PreflightError, TransientError
from job.store import Keys, Store, open_store
from job.store.keys import is_ours
from job.store.preflight import check_store

TRIAL = "abcdef012345"


@pytest.fixture
def store(s3_bucket: S3Bucket, proxy: FaultProxy) -> Store:
    return open_store(f"{s3_bucket.uri}/runs/sweep/main")


def look(store: Store, *, nonce: str = "1f2e", ahead_s: float = 0.0) -> dict[str, Check]:
    checks = check_store(store, nonce=nonce, now=lambda: datetime.now(UTC) + timedelta(seconds=ahead_s))
    return {check.name: check for check in checks}


def keys(store: Store) -> list[str]:
    return [found.key for found in store.list("")]


def deny_deletes(proxy: FaultProxy) -> None:
    proxy.inject(Answer(403, "AccessDenied"), method="DELETE", times=10_000)


def test_a_store_without_the_right_to_delete_is_a_warning_that_says_what_stays(store: Store, proxy: FaultProxy) -> None:
    deny_deletes(proxy)
    found = look(store)
    assert (found["store"].outcome, found["right to delete"].outcome) == ("ok", "warning")
    for said in ("AccessDenied", "preflight/kept", "every checkpoint", "`clean`", "`retry`", "Allow DeleteObject"):
        assert said in found["right to delete"].text
    assert refused(found.values()) is None


def test_checks_without_the_right_to_delete_leave_one_object_however_many_there_are(
    store: Store, proxy: FaultProxy
) -> None:
    deny_deletes(proxy)
    for nonce in ("1", "2", "3"):
        assert look(store, nonce=nonce)["store"].outcome == "ok"
    assert keys(store) == ["preflight/kept"]
    assert is_ours("preflight/kept")


def test_a_check_with_the_right_to_delete_takes_away_what_others_had_to_leave(store: Store, proxy: FaultProxy) -> None:
    store.put("preflight/kept", b"of an earlier release")
    proxy.inject(Answer(403, "AccessDenied"), method="DELETE")
    assert look(store)["right to delete"].outcome == "warning"
    assert look(store)["right to delete"].outcome == "ok"
    assert keys(store) == []


def test_a_trial_whose_store_takes_no_deletes_keeps_its_checkpoints_and_goes_on(
    store: Store, proxy: FaultProxy, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    deny_deletes(proxy)
    checkpoints = Checkpoints(store, trial_id=TRIAL, attempt="pod-1", spool=tmp_path)
    with caplog.at_level(logging.WARNING):
        for step in (1, 2, 3, 4):
            folder = checkpoints.new_folder()
            (folder / "weights.bin").write_bytes(b"w")
            checkpoints.save(step, folder)
        checkpoints.remove_all()
    assert len(keys(store)) == 8
    assert len([seen for seen in proxy.seen if seen.method == "DELETE"]) == 1
    assert [record.message.split(":")[0] for record in caplog.records] == [
        f"checkpoints of trial {TRIAL} stay in the store"
    ]
    assert store.stat(Keys.checkpoint(TRIAL, "pod-1", 1) + "manifest.json")


@pytest.mark.parametrize("ahead_s", [400.0, -400.0])
def test_a_clock_that_is_minutes_off_is_a_warning_with_the_seconds(store: Store, ahead_s: float) -> None:
    check = look(store, ahead_s=ahead_s)["store's clock"]
    assert check.outcome == "warning"
    seconds, side = check.text.removeprefix("this machine is ").split(" s ")[:2]
    assert abs(int(seconds) - 400) < 60
    assert side.startswith("ahead of" if ahead_s > 0 else "behind")


def test_a_clock_that_is_right_says_how_right(store: Store) -> None:
    check = look(store)["store's clock"]
    assert check.outcome == "ok"
    assert int(check.text.split(" s ")[0]) < 60


def test_a_store_that_does_not_say_the_time_is_not_checked(store: Store, proxy: FaultProxy, tmp_path: Path) -> None:
    assert look(open_store(str(tmp_path)))["store's clock"].outcome == "not checked"
    page = "<ListBucketResult><Name>b</Name></ListBucketResult>"
    proxy.inject(Answer(200, page=page), text="prefix=runs%2Fsweep%2Fmain%2F&", times=10)
    assert look(store)["store's clock"].outcome == "not checked"


def test_a_clock_that_the_server_refuses_fails_and_may_pass(store: Store, proxy: FaultProxy) -> None:
    there = format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)
    proxy.inject(Answer(403, "RequestTimeTooSkewed", date=there), times=10_000)
    found = look(store)
    assert list(found) == ["store"]
    assert found["store"].outcome == "failed"
    assert "clocks differ by 3" in found["store"].text
    assert isinstance(refused(found.values()), TransientError)


def test_a_server_that_ignores_conditions_fails_and_keeps_nothing_new(store: Store, proxy: FaultProxy) -> None:
    proxy.inject(Answer(200), method="PUT", times=10_000)
    assert "ignores `If-None-Match" in look(store)["store"].text


def test_rights_to_write_or_list_that_are_missing_are_failures(store: Store, proxy: FaultProxy) -> None:
    proxy.inject(Answer(403, "AccessDenied"), method="PUT", times=10_000)
    found = look(store)
    assert "PutObject" in found["store"].text
    assert isinstance(refused(found.values()), PreflightError)


def test_a_listing_that_is_refused_is_not_taken_for_a_refused_delete(store: Store, proxy: FaultProxy) -> None:
    proxy.inject(Answer(403, "AccessDenied"), method="GET", text="list-type=2", times=10_000)
    found = look(store)
    assert list(found) == ["store"]
    assert "ListObjectsV2" in found["store"].text
