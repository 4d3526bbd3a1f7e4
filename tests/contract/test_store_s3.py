"""What only S3 can do wrong: a broken connection, a busy or absent server, clocks, rights and credentials."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
from servers.fault_proxy import Answer, Fault, FaultProxy, Hold, LoseReply, Reset, Truncate
from servers.s3_server import S3Bucket

from job.contract.errors import ConfigurationError, NotFoundError, SweepError, TransientError
from job.store import Store, open_store

CANARY = "canary9f3Secret0value"


@pytest.fixture
def store(s3_bucket: S3Bucket, proxy: FaultProxy) -> Store:
    return open_store(f"{s3_bucket.uri}/runs/sweep/main")


def keys(store: Store) -> list[str]:
    return [found.key for found in store.list("")]


def everything_said(err: BaseException) -> str:
    """The message with its whole chain, as a log with tracebacks would have it."""
    return "".join(traceback.format_exception(err))


PASSING: list[Fault] = [Answer(503, "SlowDown"), Answer(500, "InternalError"), Answer(502), Reset(), LoseReply()]
LASTING: list[Fault] = [Answer(503, "SlowDown"), Answer(500, "InternalError"), Answer(429, "TooManyRequests"), Reset()]


@pytest.mark.parametrize("fault", PASSING, ids=repr)
def test_a_passing_fault_is_only_slower(store: Store, proxy: FaultProxy, tmp_path: Path, fault: Fault) -> None:
    source = tmp_path / "source"
    source.write_bytes(os.urandom(3_000_000))
    for method in ("PUT", "GET", "DELETE"):
        proxy.inject(fault, method=method, times=2)
    assert store.put_once("result.json", b"once")
    proxy.inject(fault, method="PUT", text="/b", times=2)
    store.put("b", b"body")
    proxy.inject(fault, method="PUT", text="/c", times=2)
    store.upload("c", source)
    for method in ("PUT", "GET", "DELETE"):
        proxy.inject(fault, method=method, times=2)
    assert store.read("b", limit_bytes=4) == b"body"
    store.download("c", tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == source.read_bytes()
    assert keys(store) == ["b", "c", "result.json"]
    assert store.delete("b")
    assert keys(store) == ["c", "result.json"]


def test_a_lost_reply_to_put_once_is_still_true(store: Store, proxy: FaultProxy) -> None:
    proxy.inject(LoseReply(), method="PUT", text="result.json")
    assert store.put_once("result.json", b"mine")
    proxy.inject(LoseReply(), method="PUT", text="result.json")
    assert not store.put_once("result.json", b"another")
    assert store.read("result.json", limit_bytes=10) == b"mine"


@pytest.mark.parametrize("fault", LASTING, ids=repr)
def test_a_lasting_fault_is_transient_and_names_the_object(store: Store, proxy: FaultProxy, fault: Fault) -> None:
    store.put("a", b"x")
    proxy.inject(fault, times=10_000)
    before = len(proxy.seen)
    with pytest.raises(TransientError, match=r"s3://test-.*/runs/sweep/main/a"):
        store.read("a", limit_bytes=1)
    assert len(proxy.seen) - before == 5  # no retry inside a retry
    with pytest.raises(TransientError):
        store.put("a", b"y")
    with pytest.raises(TransientError):
        store.put_once("b", b"y")
    with pytest.raises(TransientError):
        list(store.list(""))
    with pytest.raises(TransientError):
        store.delete("a")


def test_a_server_that_was_down_is_used_again(store: Store, proxy: FaultProxy) -> None:
    store.put("a", b"x")
    proxy.go_down()
    with pytest.raises(TransientError, match=r"no whole answer from http://127\.0\.0\.1:\d+ .*AWS_ENDPOINT_URL_S3"):
        store.read("a", limit_bytes=1)
    proxy.come_up()
    assert store.read("a", limit_bytes=1) == b"x"


@pytest.mark.parametrize("body_bytes", [0, 1, 1_000_000, 2_999_999])
def test_a_body_that_breaks_off_is_asked_for_from_there(
    store: Store, proxy: FaultProxy, tmp_path: Path, body_bytes: int
) -> None:
    body = os.urandom(3_000_000)
    store.put("adapter", body)
    proxy.inject(Truncate(body_bytes), method="GET", text="/adapter", times=2)
    assert store.read("adapter", limit_bytes=len(body)) == body
    proxy.inject(Truncate(body_bytes), method="GET", text="/adapter", times=2)
    assert store.sha256("adapter") == hashlib.sha256(body).hexdigest()
    proxy.inject(Truncate(body_bytes), method="GET", text="/adapter", times=2)
    store.download("adapter", tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == body


def test_a_body_that_always_breaks_off_is_transient_and_leaves_no_file(
    store: Store, proxy: FaultProxy, tmp_path: Path
) -> None:
    store.put("adapter", os.urandom(100_000))
    proxy.inject(Truncate(10), method="GET", text="/adapter", times=10_000)
    before = len(proxy.seen)
    with pytest.raises(TransientError, match="no whole answer"):
        store.download("adapter", tmp_path / "made" / "copy")
    assert len(proxy.seen) - before == 5
    assert list((tmp_path / "made").iterdir()) == []


def test_an_object_that_changes_between_two_parts_is_no_mixture(store: Store, proxy: FaultProxy) -> None:
    store.put("adapter", b"a" * 100_000)
    hold = Hold()
    proxy.inject(Truncate(50_000), method="GET", text="/adapter")
    proxy.inject(hold, method="GET", text="/adapter")
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(store.read, "adapter", limit_bytes=200_000)
        assert hold.reached.wait(30)
        store.put("adapter", b"b" * 100_000)
        hold.go_on.set()
        with pytest.raises(TransientError, match="changed while it was read"):
            reading.result()


@pytest.mark.parametrize("offset_s", [3_600, -90_000])
def test_skewed_clocks_say_by_how_much(store: Store, proxy: FaultProxy, offset_s: int) -> None:
    there = format_datetime(datetime.now(UTC) + timedelta(seconds=offset_s), usegmt=True)
    proxy.inject(Answer(403, "RequestTimeTooSkewed", date=there), times=10_000)
    with pytest.raises(TransientError, match=r"clocks differ by (\d+) s") as caught:
        store.put("a", b"x")
    seconds = int(str(caught.value).split("clocks differ by ")[1].split(" ")[0])
    assert abs(seconds - abs(offset_s)) < 60


def test_a_conflict_during_a_conditional_write_is_tried_again(store: Store, proxy: FaultProxy) -> None:
    proxy.inject(Answer(409, "ConditionalRequestConflict"), method="PUT", text="result.json", times=3)
    assert store.put_once("result.json", b"mine")
    proxy.inject(Answer(409, "ConditionalRequestConflict"), method="PUT", text="result.json", times=3)
    assert not store.put_once("result.json", b"other")


def test_a_server_that_ignores_conditions_is_refused_before_anything_is_overwritten(
    store: Store, proxy: FaultProxy
) -> None:
    store.put("result.json", b"first")
    proxy.inject(Answer(200), method="PUT", times=10_000)
    with pytest.raises(ConfigurationError, match="ignores `If-None-Match"):
        store.put_once("result.json", b"second")
    assert [seen.target for seen in proxy.seen if seen.method == "PUT" and "result.json" in seen.target][1:] == []


def test_a_server_that_cannot_do_conditions_is_refused(store: Store, proxy: FaultProxy) -> None:
    proxy.inject(Answer(501, "NotImplemented"), method="PUT", times=10_000)
    with pytest.raises(ConfigurationError, match="conditional writes"):
        store.put_once("result.json", b"second")


def test_a_server_without_conditional_deletes_still_compares_the_tag(store: Store, proxy: FaultProxy) -> None:
    store.put("result.json", b"bad")
    found = store.stat("result.json")
    assert found is not None
    proxy.inject(Answer(501, "NotImplemented"), method="DELETE")
    assert not store.delete("result.json", etag='"another"')
    assert store.delete("result.json", etag=found.etag)
    assert keys(store) == []


def test_the_check_for_conditions_is_made_once_and_is_not_listed(store: Store, proxy: FaultProxy) -> None:
    for number in range(5):
        assert store.put_once(f"plans/{number}", b"{}")
    assert len([seen for seen in proxy.seen if ".conditional-put" in seen.target]) == 2
    assert keys(store) == [f"plans/{number}" for number in range(5)]


def test_rights_that_do_not_include_writing_are_named(store: Store, proxy: FaultProxy) -> None:
    proxy.inject(Answer(403, "AccessDenied"), method="PUT", times=10_000)
    with pytest.raises(ConfigurationError, match=r"PutObject.*AccessDenied.*credentials need GetObject"):
        store.put("a", b"x")
    assert keys(store) == []


@pytest.mark.parametrize("missing", ["read", "put", "put_once", "stat", "list", "delete"])
def test_a_missing_bucket_is_no_missing_object(proxy: FaultProxy, missing: str) -> None:
    store = open_store("s3://there-is-no-such-bucket/runs")
    calls: dict[str, Callable[[], object]] = {
        "read": lambda: store.read("a", limit_bytes=1),
        "put": lambda: store.put("a", b""),
        "put_once": lambda: store.put_once("a", b""),
        "stat": lambda: store.stat("a"),
        "list": lambda: list(store.list("")),
        "delete": lambda: store.delete("a"),
    }
    with pytest.raises(ConfigurationError, match=r"NoSuchBucket.*there is no such bucket"):
        calls[missing]()


def test_a_wrong_secret_and_an_unknown_key_are_named_without_showing_them(
    s3_bucket: S3Bucket, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", CANARY)
    with pytest.raises(ConfigurationError, match=r"SignatureDoesNotMatch.*AWS_SECRET_ACCESS_KEY") as caught:
        open_store(s3_bucket.uri).stat("a")
    assert CANARY not in everything_said(caught.value)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "unknown")
    with pytest.raises(ConfigurationError, match="AWS_ACCESS_KEY_ID") as caught:
        open_store(s3_bucket.uri).put("a", b"")
    assert CANARY not in everything_said(caught.value)


def test_missing_credentials_say_what_to_set(
    s3_bucket: S3Bucket, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(ConfigurationError, match=r"no usable credentials.*Set AWS_ACCESS_KEY_ID"):
        open_store(s3_bucket.uri).stat("a")
    monkeypatch.setenv("AWS_PROFILE", "absent")
    with pytest.raises(ConfigurationError, match=r"no usable credentials \(ProfileNotFound\)"):
        open_store(s3_bucket.uri)
    assert proxy.seen == []


@pytest.mark.parametrize(
    "endpoint", ["not a url", f"ftp//{CANARY}", f"http://user:{CANARY}@", f"http://user:{CANARY}@127.0.0.1:1"]
)
def test_an_endpoint_that_is_none_is_a_configuration_error(
    proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch, endpoint: str
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", endpoint)
    with pytest.raises(ConfigurationError, match=r"AWS_ENDPOINT_URL_S3|endpoint's URL holds credentials") as caught:
        open_store("s3://bucket/runs").stat("a")
    assert CANARY not in str(caught.value)


def test_the_login_page_of_a_proxy_is_no_empty_store(store: Store, proxy: FaultProxy) -> None:
    proxy.inject(Answer(200, page="<html><body>Please log in</body></html>"), times=2)
    with pytest.raises(ConfigurationError, match=r"no S3 server\. Check AWS_ENDPOINT_URL_S3"):
        list(store.list(""))
    with pytest.raises(ConfigurationError, match=r"no S3 server\. Check AWS_ENDPOINT_URL_S3"):
        store.stat("result.json")


@pytest.mark.parametrize(
    "fault",
    [
        Answer(403, "AccessDenied", text=CANARY),
        Answer(400, "InvalidRequest", text=CANARY),
        Answer(403, "SignatureDoesNotMatch", text=CANARY),
        Answer(500, "InternalError", text=CANARY),
        Reset(),
    ],
    ids=repr,
)
def test_no_message_shows_a_secret(
    s3_bucket: S3Bucket, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch, fault: Fault
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", CANARY)
    monkeypatch.setenv("AWS_SESSION_TOKEN", CANARY)
    store = open_store(s3_bucket.uri)
    proxy.inject(fault, times=10_000)
    for call in (lambda: store.stat("a"), lambda: store.put("a", b""), lambda: store.read("a", limit_bytes=1)):
        with pytest.raises(SweepError) as caught:
            call()
        assert CANARY not in str(caught.value)


def test_another_region_and_an_unknown_refusal_are_configuration_errors(store: Store, proxy: FaultProxy) -> None:
    for answer, message in [
        (Answer(400, "AuthorizationHeaderMalformed"), "AWS_REGION"),
        (Answer(405, "MethodNotAllowed"), "not allowed"),
        (Answer(418, "Teapot"), r"Teapot \(418\)"),
    ]:
        proxy.inject(answer, method="PUT")
        with pytest.raises(ConfigurationError, match=message):
            store.put("a", b"")


def test_a_full_server_is_transient(store: Store, proxy: FaultProxy) -> None:
    proxy.inject(Answer(507, "XMinioStorageFull"), method="PUT", times=10)
    with pytest.raises(TransientError, match="XMinioStorageFull"):
        store.put("a", b"")


def test_an_uploader_killed_between_two_parts_leaves_nothing_visible(
    s3_bucket: S3Bucket, store: Store, proxy: FaultProxy, tmp_path: Path
) -> None:
    source = tmp_path / "adapter"
    source.write_bytes(os.urandom(2**20) * 40)
    hold = Hold()
    proxy.inject(hold, method="PUT", text="partNumber=3")
    program = "import sys; from pathlib import Path; from job.store import open_store; "
    program += "open_store(sys.argv[1]).upload('trials/1/adapter', Path(sys.argv[2]))"
    child = subprocess.Popen(
        [sys.executable, "-c", program, store.uri, str(source)],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert hold.reached.wait(60)
    child.kill()
    assert child.wait() == -signal.SIGKILL
    hold.go_on.set()
    assert keys(store) == []
    assert store.stat("trials/1/adapter") is None
    with pytest.raises(NotFoundError):
        store.read("trials/1/adapter", limit_bytes=2**30)
    assert store.discard_unfinished("trials/2/", before=datetime.now(UTC) + timedelta(days=1)) == 0
    assert store.discard_unfinished("", before=datetime.now(UTC) - timedelta(days=1)) == 0
    assert store.discard_unfinished("trials/1/", before=datetime.now(UTC) + timedelta(days=1)) == 1
    assert "Uploads" not in s3_bucket.server.client().list_multipart_uploads(Bucket=s3_bucket.name)
    store.upload("trials/1/adapter", source)
    assert store.sha256("trials/1/adapter") == hashlib.sha256(source.read_bytes()).hexdigest()


def test_a_failed_multipart_upload_is_aborted(
    s3_bucket: S3Bucket, store: Store, proxy: FaultProxy, tmp_path: Path
) -> None:
    source = tmp_path / "adapter"
    source.write_bytes(os.urandom(2**20) * 40)
    proxy.inject(Answer(403, "AccessDenied"), method="PUT", text="partNumber=2", times=100)
    with pytest.raises(ConfigurationError, match="AccessDenied"):
        store.upload("adapter", source)
    assert keys(store) == []
    assert "Uploads" not in s3_bucket.server.client().list_multipart_uploads(Bucket=s3_bucket.name)


def test_a_store_of_one_prefix_sees_nothing_of_another(s3_bucket: S3Bucket, store: Store, proxy: FaultProxy) -> None:
    other = open_store(f"{s3_bucket.uri}/runs/sweep/main2")
    other.put("a", b"other")
    store.put("b", b"mine")
    assert keys(store) == ["b"]
    assert keys(other) == ["a"]
    assert [found.key for found in open_store(s3_bucket.uri).list("runs/")] == [
        "runs/sweep/main/b",
        "runs/sweep/main2/a",
    ]


def test_the_longest_prefix_and_the_longest_key_fit(s3_bucket: S3Bucket, proxy: FaultProxy) -> None:
    store = open_store(f"{s3_bucket.uri}/" + "/".join(["p" * 59, "q" * 60]))
    key = "/".join(["k" * 99] * 9)
    store.put(key, b"x")
    assert keys(store) == [key]


def test_a_source_that_is_gone_is_not_blamed_on_the_server(store: Store, tmp_path: Path) -> None:
    with pytest.raises(TransientError, match=f"{tmp_path}/absent: No such file"):
        store.upload("a", tmp_path / "absent")
