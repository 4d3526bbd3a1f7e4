"""A controller stays for a while after its end, so that Prometheus sees how it ended."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from controller.__main__ import main
from controller.cli.run import SweepRun
from job.contract.errors import PreflightError

SPEC = """\
version: 1
name: small
model: {id: model}
data: {source: rows, splits: {train: a, validation: b, test: c}, columns: {input: dialogue, target: summary}}
prompts: {v1: {prompt: "{dialogue}", completion: "{summary}"}}
trial: {lora: {r: 4, alpha_ratio: 2}, training: {max_steps: 4}}
vary: {grid: {training.learning_rate: [1e-3, 1e-4]}}
"""


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """A run takes both signals over; the tests want them back."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """A run that has nothing to do but to take the signals over; set when it is over."""
    over = threading.Event()

    def whole(run: SweepRun) -> int:
        run.interrupts.install()
        over.set()
        return 1

    monkeypatch.setattr(SweepRun, "whole", whole)
    yield over


def a_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def words(tmp_path: Path, port: int, *, linger_s: float) -> list[str]:
    (tmp_path / "small.yaml").write_text(SPEC, encoding="utf-8")
    place = [str(tmp_path / "small.yaml"), "--store", str(tmp_path / "runs")]
    return ["run", *place, "--metrics-port", str(port), "--metrics-linger-s", str(linger_s)]


def test_the_last_values_can_be_read_after_the_end_and_not_for_ever(tmp_path: Path, ended: threading.Event) -> None:
    port, pages = a_port(), []

    def scrape() -> None:
        ended.wait(10)
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
            pages.append(answer.read())

    prometheus = threading.Thread(target=scrape)
    prometheus.start()
    began = time.monotonic()
    assert main(words(tmp_path, port, linger_s=1)) == 1
    assert time.monotonic() - began >= 1
    prometheus.join(10)
    assert b"lorasweep_build_info" in pages[0]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_stay_and_leaves_the_run_s_exit_code(
    tmp_path: Path, ended: threading.Event, number: signal.Signals
) -> None:
    def strike() -> None:
        ended.wait(10)
        time.sleep(0.3)  # into the stay
        os.kill(os.getpid(), number)

    threading.Thread(target=strike).start()
    began = time.monotonic()
    assert main(words(tmp_path, a_port(), linger_s=60)) == 1
    assert time.monotonic() - began < 30


def test_a_run_that_was_refused_does_not_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(run: SweepRun) -> int:
        raise PreflightError("no right to create jobs")

    monkeypatch.setattr(SweepRun, "whole", refuse)
    began = time.monotonic()
    assert main(words(tmp_path, a_port(), linger_s=60)) == 78
    assert time.monotonic() - began < 30
