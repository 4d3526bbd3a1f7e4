"""What a job says of a store that takes nothing reaches whoever looks, and is taken back."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from memory_store import MemoryStore

from controller.local.child_folder import ChildFolder
from job.contract.errors import StoppedError, TransientError
from job.contract.notice import NOTICE_BYTES, notice_body, notice_text
from job.logs import NoticeHandler
from job.progress import ProgressWriter
from job.publishing.publish import with_patience
from job.stopping import StopSignal


@given(st.text())
@example("é" * NOTICE_BYTES)
@example("two\nlines")
def test_a_notice_fills_its_file_and_reads_as_its_beginning_on_one_line(text: str) -> None:
    body = notice_body(text)
    assert len(body) == NOTICE_BYTES
    assert text.replace("\n", " ").strip().startswith(notice_text(body))
    assert "\n" not in notice_text(body)


def test_a_file_that_is_no_notice_is_cut_and_never_an_error() -> None:
    assert len(notice_text(b"\xff" * 10 + b"x" * 10_000)) <= NOTICE_BYTES


@pytest.fixture
def place(tmp_path: Path) -> Iterator[ChildFolder]:
    """A submission's folder whose notice the root logger keeps."""
    folder = ChildFolder(tmp_path)
    folder.notice_path.write_bytes(notice_body(""))
    handler = NoticeHandler(folder.notice_path)
    logging.getLogger().addHandler(handler)
    logging.getLogger().setLevel(logging.INFO)
    yield folder
    logging.getLogger().removeHandler(handler)


def test_a_wait_for_the_store_is_said_while_it_lasts(place: ChildFolder) -> None:
    said: list[str] = []
    full = [TransientError("no space left"), TransientError("no space left")]

    def action() -> str:
        if full:
            raise full.pop()
        return "done"

    assert with_patience(action, stop=StopSignal(), sleep=lambda _: said.append(place.notice())) == "done"
    assert said == ["waiting for the store: no space left"] * 2
    assert place.notice() == ""


def test_a_wait_that_ends_with_a_stop_leaves_the_last_word(place: ChildFolder) -> None:
    stop = StopSignal()

    def action() -> None:
        raise TransientError("no route")

    def sleep(seconds: float) -> None:
        del seconds
        stop.requested = True

    with pytest.raises(StoppedError):
        with_patience(action, stop=stop, sleep=sleep)
    assert place.notice() == "waiting for the store: no route"


def test_progress_that_the_store_does_not_take_is_said_until_it_does(
    place: ChildFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = MemoryStore()
    writer = ProgressWriter(store, trial_id="0123456789ab", attempt="001-a", every_s=0.0)

    def full(key: str, body: bytes) -> None:
        raise TransientError(f"{key}: no space left")

    with monkeypatch.context() as patch:
        patch.setattr(store, "put", full)
        writer.stage("train")
        assert place.notice() == "the store takes no progress: trials/0123456789ab/progress.json: no space left"
    writer.stage("evaluate")
    assert place.notice() == ""


def test_other_log_lines_and_a_folder_that_is_gone_change_nothing(place: ChildFolder) -> None:
    logging.getLogger("job").warning("here", extra={"notice": "said"})
    logging.getLogger("job").warning("unrelated")
    assert place.notice() == "said"
    place.notice_path.unlink()
    logging.getLogger("job").warning("here", extra={"notice": "said again"})
    assert place.notice() == ""
    assert not place.notice_path.exists()
