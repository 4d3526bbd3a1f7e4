"""What lives is seen from wherever one looks: another state folder, or none any more."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import fake_job
import pytest
from submissions import one, over, runs, submission, wait_for

from controller.local.backend import LocalBackend
from controller.local.observation import lives
from controller.local.slots import Slot
from job.contract.errors import TransientError


def backend(tmp_path: Path, state: str) -> LocalBackend:
    """That of a controller with this state folder; all are of one run."""
    return LocalBackend(
        tmp_path / state,
        families=tmp_path / "families",
        run_uri=str(tmp_path / "runs" / "demo" / "main"),
        slots=[Slot("cpu", None)],
        command=[sys.executable, fake_job.__file__],
        grace_s=1.0,
    )


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalBackend]:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path for path in sys.path if path))
    monkeypatch.setenv("FAKE_JOB", '{"A": ["slow"], "B": ["slow"]}')
    made = backend(tmp_path, "here")
    yield made
    made.kill(submission().name)


@pytest.fixture
def elsewhere(here: LocalBackend, tmp_path: Path) -> Iterator[LocalBackend]:
    del here  # it sets the environment up
    made = backend(tmp_path, "elsewhere")
    yield made
    made.kill(submission().name)


def until_ready(here: LocalBackend) -> None:
    """Wait until the process waits for SIGTERM."""
    wait_for(here, submission().name, lambda _: b"waiting" in (here.logs(submission().name, limit_bytes=10**6) or b""))


def test_a_process_that_another_state_folder_knows_is_live_and_not_started_again(
    here: LocalBackend, elsewhere: LocalBackend
) -> None:
    here.submit(submission())
    first = wait_for(here, submission().name, runs)
    until_ready(here)
    elsewhere.submit(submission())
    seen = wait_for(elsewhere, submission().name, runs)
    assert (seen.attempt, seen.trial_ids) == (first.attempt, first.trial_ids)
    assert "controller that is gone" in seen.text
    with pytest.raises(TransientError, match="1 device slots are taken"):
        elsewhere.submit(submission(trial=1))
    elsewhere.forget(submission().name)
    here.stop(submission().name)
    wait_for(here, submission().name, over)
    assert one(elsewhere, submission().name) is None
    elsewhere.submit(submission())
    again = wait_for(elsewhere, submission().name, runs)
    assert again.attempt != first.attempt
    elsewhere.kill(submission().name)
    wait_for(elsewhere, submission().name, over)


def test_process_ids_of_an_earlier_process_of_the_same_name_are_left_alone(
    here: LocalBackend, elsewhere: LocalBackend, tmp_path: Path
) -> None:
    elsewhere.submit(submission())
    wait_for(elsewhere, submission().name, runs)
    elsewhere.kill(submission().name)
    wait_for(elsewhere, submission().name, over)
    here.submit(submission())
    first = wait_for(here, submission().name, runs)
    left = tmp_path / "elsewhere" / submission().name / "state.json"
    with subprocess.Popen(["sleep", "60"], start_new_session=True) as stranger:  # noqa: S607  (wherever it is)
        gone = subprocess.Popen(["true"])  # noqa: S607
        gone.wait()
        left.write_text(json.dumps(json.loads(left.read_text()) | {"pid": gone.pid, "job_pid": stranger.pid}))
        assert wait_for(elsewhere, submission().name, runs).attempt == first.attempt
        left.write_text(json.dumps(json.loads(left.read_text()) | {"pid": stranger.pid}))
        elsewhere.kill(submission().name)
        with pytest.raises(subprocess.TimeoutExpired):
            stranger.wait(0.3)
        stranger.kill()


@pytest.mark.parametrize("locks", ["kept", "deleted"])
def test_a_process_whose_state_folder_is_deleted_stays_live_until_it_ends(
    here: LocalBackend, tmp_path: Path, locks: str
) -> None:
    here.submit(submission())
    first = wait_for(here, submission().name, runs)
    until_ready(here)
    shutil.rmtree(tmp_path / "here")
    if locks == "deleted":
        shutil.rmtree(tmp_path / "families")
    here.submit(submission())
    seen = one(here, submission().name)
    assert seen is not None
    assert (seen.state, seen.attempt) == ("running", first.attempt)
    here.forget(submission().name)
    here.stop(submission().name)
    assert wait_for(here, submission().name, over).cause == "lost"
    here.forget(submission().name)
    assert list(here.observe()) == []


def test_what_a_job_says_of_its_store_is_seen_by_its_controller_and_by_who_looks_on(
    here: LocalBackend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_JOB", '{"A": ["complain"]}')
    here.submit(submission())
    seen = wait_for(here, submission().name, lambda seen: bool(seen.text))
    assert (seen.state, seen.text) == ("running", "waiting for the store: full")
    assert lives(tmp_path / "here", tmp_path / "families") == (seen,)
