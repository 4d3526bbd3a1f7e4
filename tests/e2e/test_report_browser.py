"""The page in a real browser: hostile text runs nothing and fetches nothing, and the page fits a phone."""

from __future__ import annotations

import html
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from hostile import HOSTILE, MARKER
from hostile_run import make_hostile
from made import GRID, Took, made_run

from controller.report.write import write_report
from job.contract.documents import DATA_LIMIT_BYTES
from job.store import Keys

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
RUN = f"document.documentElement.setAttribute('{MARKER}','1')"


class Browser:
    """Headless Chromium, as it comes."""

    def __init__(self, command: str, profile: Path) -> None:
        self._command = command
        self._profile = profile

    def dom(self, page: Path) -> str:
        """The document after every script that may run has run."""
        flags = [
            "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
            "--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars",
            f"--user-data-dir={self._profile}", "--window-size=1280,900", "--virtual-time-budget=2000",
        ]  # fmt: skip
        done = subprocess.run(
            [self._command, *flags, "--dump-dom", page.as_uri()],
            capture_output=True, text=True, timeout=120, check=True, env={**os.environ, "HOME": str(self._profile)},
        )  # fmt: skip
        return done.stdout


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Browser:
    command = next((found for name in NAMES if (found := shutil.which(name))), None)
    if command is None:
        pytest.skip("no Chromium on this machine; on Debian and Ubuntu: apt-get install chromium")
    return Browser(command, tmp_path_factory.mktemp("chromium"))


@pytest.fixture(scope="module")
def listener() -> Iterator[tuple[str, list[str]]]:
    """A web server's address, and the paths that anybody asked it for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  (the base class names it so)
            """Nothing on stderr."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def hostile_page(tmp_path_factory: pytest.TempPathFactory, listener: tuple[str, list[str]]) -> Path:
    """The report of a run whose every text is hostile, with addresses of the listener."""
    address, _ = listener
    payloads = tuple(payload.replace("http://192.0.2.1", address) for payload in HOSTILE)
    folder = tmp_path_factory.mktemp("hostile")
    run = make_hostile(folder, payloads)
    write_report(run.store, plan=run.plan, spec_text=run.loaded.text)
    page = folder / "report.html"
    page.write_bytes(run.store.read(Keys.report("report.html"), limit_bytes=DATA_LIMIT_BYTES))
    return page


def opening_tag(dom: str) -> str:
    found = re.search(r"<html[^>]*>", dom)
    assert found is not None
    return found[0]


def test_hostile_text_runs_nothing_and_is_there_to_read(browser: Browser, hostile_page: Path) -> None:
    dom = browser.dom(hostile_page)
    assert MARKER not in opening_tag(dom)
    assert not re.search(r"<(script|img|iframe|object|embed|form|base)\b", dom)
    assert "&lt;script&gt;" in dom
    assert "{{7*7}}" in dom
    assert "<h1>made" in dom


def test_hostile_text_fetches_nothing(browser: Browser, hostile_page: Path, listener: tuple[str, list[str]]) -> None:
    _, asked = listener
    browser.dom(hostile_page)
    assert asked == []


def test_the_browser_would_have_run_and_fetched_it_without_our_escaping(
    browser: Browser, tmp_path: Path, listener: tuple[str, list[str]]
) -> None:
    address, asked = listener
    page = tmp_path / "open.html"
    page.write_text(f"<!doctype html><html><body><script>{RUN}</script><img src={address}/seen></body></html>")
    assert MARKER in opening_tag(browser.dom(page))
    assert asked == ["/seen"]
    asked.clear()


def test_the_policy_stops_what_would_get_past_the_escaping(
    browser: Browser, hostile_page: Path, tmp_path: Path, listener: tuple[str, list[str]]
) -> None:
    address, asked = listener
    page = tmp_path / "injected.html"
    injected = f'<script>{RUN}</script><img src="{address}/seen" onerror="{RUN}"><style>body{{display:none}}</style>'
    page.write_text(hostile_page.read_text().replace("<main>", f"<main>{injected}"))
    dom = browser.dom(page)
    assert "<script>" in dom
    assert MARKER not in opening_tag(dom)
    assert asked == []


@pytest.mark.parametrize("width", [1280, 768, 390])
def test_the_page_is_no_wider_than_the_window(browser: Browser, tmp_path: Path, width: int) -> None:
    run = made_run(tmp_path, GRID + "execution: {price_per_gpu_hour: 36}\nregression: {floors: {rougeL: 0.2}}\n")
    for trial in run.plan.trials[1:]:
        rank = trial.config.lora.r if trial.config.lora is not None else 0
        run.finish(trial, took=Took(10.0 * rank, 10**9 + 10**7 * rank, 10**6 * rank))
    run.fail(run.plan.trials[0], message="m" * 300, log_tail="l" * 300)
    write_report(run.store, plan=run.plan, spec_text=run.loaded.text)
    text = run.store.read(Keys.report("report.html"), limit_bytes=DATA_LIMIT_BYTES).decode()
    # The page itself may run no script, so a copy without its policy is measured, in a frame of that width.
    text = re.sub(r"<meta http-equiv=\"Content-Security-Policy\"[^>]*>", "", text)
    text = text.replace("<details", "<details open")  # what is folded away has to fit as well
    measure = "document.documentElement.dataset.wide = frame.contentDocument.documentElement.scrollWidth"
    assert text.count('class="steps"') > 2  # trade-offs are drawn
    assert "next.yaml" in text
    text = text.replace("<details>", "<details open>")
    page = tmp_path / "measured.html"
    page.write_text(
        f'<!doctype html><html><body><iframe id="frame" width="{width}" height="900" frameborder="0" '
        f'onload="{measure}" srcdoc="{html.escape(text)}"></iframe></body></html>'
    )
    found = re.search(r'data-wide="(\d+)"', opening_tag(browser.dom(page)))
    assert found is not None
    assert int(found[1]) == width


def test_what_is_printed_is_no_wider_than_a_sheet(browser: Browser, tmp_path: Path) -> None:
    run = made_run(tmp_path, GRID + "execution: {price_per_gpu_hour: 36}\n")
    for trial in run.plan.trials:
        rank = trial.config.lora.r if trial.config.lora is not None else 0
        run.finish(trial, took=Took(10.0 * rank, 10**9 + 10**7 * rank, 10**6 * rank))
    write_report(run.store, plan=run.plan, spec_text=run.loaded.text)
    text = run.store.read(Keys.report("report.html"), limit_bytes=DATA_LIMIT_BYTES).decode()
    # The sheet's rules are shown on the screen, in a frame as wide as an A4 sheet on its side between its margins.
    text = re.sub(r"<meta http-equiv=\"Content-Security-Policy\"[^>]*>", "", text).replace("@media print", "@media all")
    width = round((297 - 2 * 12) / 25.4 * 96)
    measure = "document.documentElement.dataset.wide = frame.contentDocument.documentElement.scrollWidth"
    page = tmp_path / "printed.html"
    page.write_text(
        f'<!doctype html><html><body><iframe id="frame" width="{width}" height="700" frameborder="0" '
        f'onload="{measure}" srcdoc="{html.escape(text)}"></iframe></body></html>'
    )
    found = re.search(r'data-wide="(\d+)"', opening_tag(browser.dom(page)))
    assert found is not None
    assert int(found[1]) <= width
