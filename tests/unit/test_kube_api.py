"""Answers of an API server that no healthy one gives: over a socket, one scripted answer a request."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from kubernetes import client
from kubernetes.config.config_exception import ConfigException

from controller.backend import PlaceEndingError
from controller.kube import api as kube_api
from controller.kube.api import GoneError, KubeApi, QuotaError
from controller.kube.connection import Connection
from controller.kube.pacing import TokenBucket
from controller.kube.rights import JOBS, PODS
from job.contract.errors import (
    ConfigurationError,
    ConflictError,
    NotFoundError,
    PreflightError,
    SweepError,
    TransientError,
)

JOB = {"metadata": {"name": "demo-1", "resourceVersion": "5"}}
LIST: dict[str, Any] = {"metadata": {"resourceVersion": "7"}, "items": [JOB]}


@dataclass(frozen=True)
class Answer:
    """One answer; `silent` where the server then says nothing more and does not end it either."""

    body: bytes
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    silent: bool = False


@dataclass
class Script:
    """What is answered, in order; the last answer again and again. And what was asked, and slept."""

    answers: list[Answer] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)
    slept: list[float] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)


def said(body: object, *, status: int = 200, **headers: str) -> Answer:
    named = tuple((name.replace("_", "-"), value) for name, value in headers.items())
    return Answer(json.dumps(body).encode(), status, named)


def refused(status: int, message: str = "no", **headers: str) -> Answer:
    return said({"kind": "Status", "code": status, "message": message}, status=status, **headers)


@pytest.fixture
def script() -> Iterator[Script]:
    found = Script()
    yield found
    found.over.set()


@pytest.fixture
def address(script: Script) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            script.asked.append(f"{self.command} {self.path.partition('?')[0]}")
            script.tokens.append(self.headers.get("Authorization") or "")
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            answer = script.answers.pop(0) if len(script.answers) > 1 else script.answers[0]
            self.send_response(answer.status)
            for name, value in answer.headers:
                self.send_header(name, value)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.wfile.write(b"%x\r\n%s\r\n" % (len(answer.body), answer.body) if answer.body else b"")
            self.wfile.flush()
            if answer.silent:
                script.over.wait(30)
            self.wfile.write(b"0\r\n\r\n")

        do_POST = do_GET  # noqa: N815  (the name that the class looks for)

        def log_message(self, *args: object) -> None:
            del args

    class Server(ThreadingHTTPServer):
        def handle_error(self, *args: object) -> None:
            del args  # who asked has left

    server = Server(("127.0.0.1", 0), Handler)
    serving = threading.Thread(target=server.serve_forever, daemon=True)
    serving.start()
    yield f"http://127.0.0.1:{server.server_port}"
    script.over.set()
    server.shutdown()
    server.server_close()
    serving.join()


def connected(address: str, *, bearer: str = "first") -> Connection:
    settings = client.Configuration(host=address)
    settings.retries = False
    settings.api_key["BearerToken"] = f"Bearer {bearer}"
    return Connection(client.ApiClient(settings), "sweeps")


@pytest.fixture
def api(script: Script, address: str) -> KubeApi:
    return KubeApi(
        connected(address),
        reconnect=lambda: connected(address, bearer="second"),
        writes=TokenBucket(per_s=1000, burst=1000, monotonic=time.monotonic, sleep=time.sleep),
        sleep=script.slept.append,
    )


def watched(api: KubeApi, *, for_s: float = 5) -> list[str]:
    return [found["metadata"]["name"] for _, found in api.watch(PODS, labels="a=b", since="1", for_s=for_s)]


def lines(*events: bytes) -> bytes:
    return b"".join(event + b"\n" for event in events)


def change(name: str) -> bytes:
    return json.dumps({"type": "ADDED", "object": {"metadata": {"name": name}}}).encode()


def test_a_server_that_asks_for_patience_gets_as_much_as_it_asks_for(api: KubeApi, script: Script) -> None:
    script.answers = [refused(429, Retry_After="7"), refused(429, Retry_After="2"), said(JOB, status=201)]
    assert api.create(JOBS, JOB) == JOB
    first, second = script.slept
    assert 7 <= first <= 7 * 1.25
    assert 2 <= second <= 2 * 1.25


@pytest.mark.parametrize(("asked", "most_s"), [("86400", 75.0), ("-5", 1.0), ("Wed, 21 Oct 2026 07:28:00 GMT", 1.25)])
def test_no_answer_makes_it_wait_for_hours_or_ask_in_a_circle(
    api: KubeApi, script: Script, asked: str, most_s: float
) -> None:
    script.answers = [refused(429, Retry_After=asked)]
    with pytest.raises(TransientError):
        api.create(JOBS, JOB)
    assert len(script.asked) == 5
    assert all(0 < pause_s <= most_s for pause_s in script.slept)


def test_a_token_that_has_expired_is_read_anew_once(api: KubeApi, script: Script) -> None:
    script.answers = [refused(401), said(JOB)]
    assert api.get(JOBS, "demo-1") == JOB
    assert script.tokens == ["Bearer first", "Bearer second"]
    script.tokens.clear()
    script.answers = [refused(401, "Unauthorized")]
    with pytest.raises(PreflightError, match="log in again"):
        api.get(JOBS, "demo-1")
    assert script.tokens == ["Bearer second", "Bearer second"]


def test_a_missing_right_is_named_with_verb_resource_and_namespace(api: KubeApi, script: Script) -> None:
    script.answers = [refused(403, "forbidden")]
    with pytest.raises(PreflightError, match="allow 'create' on 'jobs' in namespace 'sweeps'"):
        api.create(JOBS, JOB)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (refused(403, 'jobs "demo-1" is forbidden: exceeded quota: few'), QuotaError),
        (refused(404), NotFoundError),
        (refused(409), ConflictError),
        (refused(410), GoneError),
        (refused(422), ConfigurationError),
        (refused(400), ConfigurationError),
        (refused(500), TransientError),
        (refused(503), TransientError),
        (Answer(b"<html>bad gateway</html>", 502), TransientError),
        (Answer(b"<html>log in</html>"), TransientError),
        (Answer(b"[]"), TransientError),
        (Answer(b"null", 504), TransientError),
        (said({"message": "no", "details": "none", "code": 500}, status=500), TransientError),
        (said({"message": "no", "details": {"causes": [None, "x"]}}, status=500), TransientError),
        (Answer(b"", 302, (("Location", "https://login.invalid/"),)), TransientError),
        (
            said(
                {"message": "going", "details": {"causes": [{"reason": "NamespaceTerminating"}]}},
                status=403,
            ),
            PlaceEndingError,
        ),
    ],
)
def test_every_answer_that_is_no_object_is_an_error_of_ours(
    api: KubeApi, script: Script, answer: Answer, error: type[SweepError]
) -> None:
    script.answers = [answer]
    with pytest.raises(SweepError) as caught:
        api.create(JOBS, JOB)
    assert type(caught.value) is error


@pytest.mark.parametrize(
    "body", [{}, {"metadata": None}, {"metadata": {}}, {"metadata": "x"}, LIST | {"items": "none"}, LIST | {"items": 5}]
)
def test_a_list_that_is_none_is_asked_for_again(api: KubeApi, script: Script, body: object) -> None:
    script.answers = [said(body)]
    with pytest.raises(TransientError):
        api.list(JOBS)


def test_a_continue_token_that_is_too_old_asks_for_a_fresh_list(api: KubeApi, script: Script) -> None:
    first = {"metadata": {"resourceVersion": "7", "continue": "more"}, "items": [JOB]}
    script.answers = [said(first), refused(410)]
    with pytest.raises(GoneError):
        api.list(JOBS)


def test_lines_of_a_watch_that_are_none_are_passed_over(api: KubeApi, script: Script) -> None:
    garbage = (b"", b"null", b"{not json", b"\xff\xfe", b"[]", b'{"type": "ADDED"}', b'{"type": 5, "object": {}}')
    script.answers = [Answer(lines(change("one"), *garbage, change("two")))]
    assert watched(api) == ["one", "two"]


@pytest.mark.parametrize(
    ("code", "error"), [(410, GoneError), (500, TransientError), ("many", TransientError), (None, TransientError)]
)
def test_an_error_in_a_watch_is_raised(api: KubeApi, script: Script, code: object, error: type[SweepError]) -> None:
    status = {"type": "ERROR", "object": {"kind": "Status", "code": code, "message": "too old"}}
    script.answers = [Answer(lines(change("one"), json.dumps(status).encode()))]
    with pytest.raises(error):
        watched(api)


def test_a_watch_that_falls_silent_is_given_up(api: KubeApi, script: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kube_api, "_CONNECT_S", 0.2)
    script.answers = [Answer(lines(change("one")), silent=True)]
    seen = []
    began = time.monotonic()
    with pytest.raises(TransientError, match="timed out"):
        for _, found in api.watch(PODS, labels="", since="1", for_s=0.3):
            seen.append(found["metadata"]["name"])
    assert seen == ["one"]
    assert time.monotonic() - began < 10


def test_an_event_without_end_is_given_up_before_it_fills_the_memory(
    api: KubeApi, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kube_api, "_LINE_LIMIT_BYTES", 10_000)
    script.answers = [Answer(b"x" * 200_000, silent=True)]
    with pytest.raises(TransientError, match="longer than"):
        watched(api)


def test_a_server_that_is_not_there_is_waited_for(script: Script) -> None:
    counted: list[tuple[str, str, int]] = []
    nowhere = KubeApi(
        connected("http://127.0.0.1:9"),
        reconnect=lambda: connected("http://127.0.0.1:9"),
        writes=TokenBucket(per_s=1, burst=1, monotonic=time.monotonic, sleep=script.slept.append),
        sleep=script.slept.append,
        count=lambda verb, resource, status: counted.append((verb, resource, status)),
    )
    with pytest.raises(TransientError, match="list jobs in namespace 'sweeps'") as caught:
        nowhere.list(JOBS)
    assert "no answer from http://127.0.0.1:9: Failed to establish a new connection" in str(caught.value)
    assert "check the server in the kubeconfig" in str(caught.value)
    assert counted == [("list", "jobs", 0)]
    assert script.slept == []


@pytest.mark.parametrize("error", [ConfigException("Token file exists but empty."), FileNotFoundError("token")])
def test_credentials_that_cannot_be_read_for_a_moment_are_waited_for(
    api: KubeApi, address: str, script: Script, error: Exception
) -> None:
    def renew(settings: object) -> None:
        raise error

    broken = connected(address)
    broken.client.configuration.refresh_api_key_hook = renew
    script.answers = [said(JOB)]
    asking = KubeApi(
        broken,
        reconnect=lambda: broken,
        writes=TokenBucket(per_s=1, burst=1, monotonic=time.monotonic, sleep=time.sleep),
        sleep=time.sleep,
    )
    with pytest.raises(TransientError, match="credentials"):
        asking.get(JOBS, "demo-1")


def test_a_namespace_that_is_not_there_is_named_with_its_remedy(api: KubeApi, script: Script) -> None:
    script.answers = [refused(404, 'namespaces "sweeps" not found'), refused(404, 'jobs.batch "demo-1" not found')]
    with pytest.raises(NotFoundError, match=r"make it .kubectl create namespace sweeps., or name another"):
        api.create(JOBS, JOB)
    with pytest.raises(NotFoundError, match=r'jobs\.batch "demo-1" not found$'):
        api.get(JOBS, "demo-1")


def test_no_error_shows_the_token(api: KubeApi, script: Script) -> None:
    for answer in (refused(401), refused(403), refused(500), Answer(b"<html>")):
        script.answers = [answer]
        with pytest.raises(SweepError) as caught:
            api.get(JOBS, "demo-1")
        assert "first" not in str(caught.value)
        assert "second" not in str(caught.value)
