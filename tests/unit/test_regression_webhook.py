"""Telling a webhook of a regression, against a real HTTP server."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from judged_runs import Nightly, reported

from controller.cli.paging import page
from controller.regression.webhook import message_of, tell_webhook
from controller.regression.webhook_url import VARIABLE, webhook_refusal


class _Receiver(ThreadingHTTPServer):
    """Answers with `answers`, one after the other and the last for ever; keeps what it was told."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers = [200]
        self.bodies: list[dict[str, object]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/services/secret-part"


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        assert isinstance(self.server, _Receiver)
        body = self.rfile.read(int(self.headers["Content-Length"]))
        answer = self.server.answers[min(len(self.server.bodies), len(self.server.answers) - 1)]
        self.server.bodies.append(json.loads(body))
        self.send_response(answer)
        self.send_header("Content-Length", "0")
        self.send_header("Location", "/elsewhere")
        self.end_headers()

    def log_message(self, *words: object) -> None:
        """Say nothing."""


@pytest.fixture
def receiver() -> Iterator[_Receiver]:
    server = _Receiver()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(
    ("answers", "delivered", "posts", "slept"),
    [
        ([204], True, 1, []),
        ([503, 200], True, 2, [1.0]),
        ([500], False, 3, [1.0, 4.0]),
        ([429, 408, 200], True, 3, [1.0, 4.0]),
        ([404], False, 1, []),
        ([302], False, 1, []),
    ],
)
def test_it_is_tried_again_where_that_may_help_and_no_more_than_twice(
    receiver: _Receiver, answers: list[int], delivered: bool, posts: int, slept: list[float]
) -> None:
    pauses: list[float] = []
    receiver.answers = answers
    told = tell_webhook(receiver.url, {"text": "worse"}, sleep=pauses.append)
    assert (told.delivered, len(receiver.bodies), pauses) == (delivered, posts, slept)
    assert "secret-part" not in told.words


def test_nobody_there_is_a_warning_without_the_path(receiver: _Receiver) -> None:
    url = receiver.url
    receiver.server_close()
    told = tell_webhook(url, {}, sleep=lambda seconds: None)
    assert told.words == "the webhook at http://127.0.0.1 could not be told: ConnectError"


@pytest.mark.parametrize(
    ("url", "wrong"),
    [
        ("https://hooks.example/a", None),
        ("ftp://hooks.example/a", "is no http or https URL"),
        ("hooks.example/a", "is no http or https URL"),
        ("https://me:word@hooks.example/a", "has credentials in it"),
        ("https://hooks.example:port/a", "is no URL"),
    ],
)
def test_what_is_no_webhook_is_refused_in_words(url: str, wrong: str | None) -> None:
    found = webhook_refusal(url)
    assert (found is None) if wrong is None else (found is not None and wrong in found)


def test_a_regression_is_told_once_with_cause_and_place(
    tmp_path: Path, receiver: _Receiver, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    nightly = Nightly(tmp_path, asked=f'{{webhook: "{receiver.url}"}}')
    good = nightly.run()
    bad = nightly.run(0.1, prompt="Translate:\\n{dialogue}")
    for run in (good, bad, bad):
        page(
            reported(run).regression, spec=run.loaded.spec, store=run.store, sleep=lambda seconds: pytest.fail("slept")
        )
    (body,) = receiver.bodies
    assert (body["run"], body["status"], body["changed"]) == ("night-1", "regression", ["prompt prompt.v1.prompt"])
    assert str(body["text"]).startswith("nightly/night-1: Regression: ROUGE-L is ")
    assert str(body["report"]).endswith("/nightly/night-1/report/report.html")
    assert capsys.readouterr().err == "the webhook at http://127.0.0.1 was told\n"


def test_the_variable_wins_over_the_spec(tmp_path: Path, receiver: _Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, receiver.url)
    nightly = Nightly(tmp_path, asked='{webhook: "http://127.0.0.1:1/"}')
    reported(nightly.run())
    bad = nightly.run(0.1)
    page(reported(bad).regression, spec=bad.loaded.spec, store=bad.store, sleep=lambda seconds: None)
    assert len(receiver.bodies) == 1


def test_a_message_is_plain_json(tmp_path: Path) -> None:
    nightly = Nightly(tmp_path)
    nightly.judged()
    assert json.loads(json.dumps(message_of(nightly.judged(0.1), sweep="nightly", report="r")))["sweep"] == "nightly"
