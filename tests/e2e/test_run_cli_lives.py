"""Promise 1 from the command line: whatever becomes of a controller or its state folder, a trial has one process."""

from __future__ import annotations

import json
import shutil
import subprocess
import time

import pytest
from sandbox import DEADLINE_S, Sandbox


def processes_of_a(sandbox: Sandbox) -> list[str]:
    """The first words of every process of trial A whose log is still there, whoever started it."""
    logs = sandbox.root.glob("state*/lorasweep/runs/*/*/log.txt")
    return [line for log in logs for line in log.read_text().splitlines() if line.startswith("trial A attempt")]


def until_told(process: subprocess.Popen[str], words: str) -> None:
    """Read stderr up to the line with these words."""
    assert process.stderr is not None
    told = []
    for line in process.stderr:
        told.append(line)
        if words in line:
            return
    raise AssertionError(f"not told {words!r}: {told}")


def test_a_controller_with_another_state_folder_waits_for_the_processes_of_one_that_was_killed(
    sandbox: Sandbox,
) -> None:
    sandbox.behaviours = {"A": ["late", "ok"]}
    first = sandbox.start()
    sandbox.until_running("A")
    first.kill()
    first.communicate(timeout=DEADLINE_S)
    sandbox.behaviours = {}
    sandbox.extra = {"XDG_STATE_HOME": str(sandbox.root / "state-of-another")}
    second = sandbox.start()
    until_told(second, "a controller that is gone started it")
    assert len(processes_of_a(sandbox)) == 1
    sandbox.gate.touch()
    _, stderr = second.communicate(timeout=DEADLINE_S)
    assert second.returncode == 0, stderr


@pytest.mark.parametrize("deleted", ["the state folder", "the state folder and the locks"])
def test_a_controller_whose_state_folder_is_deleted_keeps_sight_of_its_processes(
    sandbox: Sandbox, deleted: str
) -> None:
    sandbox.behaviours = {"A": ["gate"]}
    process = sandbox.start()
    sandbox.until_running("A")
    shutil.rmtree(sandbox.root / "state")
    if deleted.endswith("locks"):
        shutil.rmtree(sandbox.run / ".alive")
    until_told(process, "its state folder is gone")
    assert processes_of_a(sandbox) == []
    sandbox.gate.touch()
    _, stderr = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 0, stderr
    trial = sandbox.run / "trials" / sandbox.trial_ids()["A"]
    assert len(list((trial / "attempts").iterdir())) == 1


def test_status_says_that_the_controller_is_gone_and_then_that_nothing_runs(sandbox: Sandbox) -> None:
    sandbox.behaviours = {"A": ["late", "ok"]}
    process = sandbox.start()
    sandbox.until_running("A")
    words = (str(sandbox.spec), "--store", str(sandbox.store))
    assert "no controller" not in sandbox.verb("status", *words).stdout
    assert json.loads(sandbox.verb("status", *words, "--output", "json").stdout)["controller"] is True
    process.kill()
    process.communicate(timeout=DEADLINE_S)
    shown = sandbox.verb("status", *words).stdout
    assert "its controller is gone; it saves a checkpoint and ends" in shown
    assert f"no controller is running; go on with: lorasweep run {sandbox.spec} --store {sandbox.store}\n" in shown
    sandbox.gate.touch()
    deadline = time.monotonic() + DEADLINE_S
    while "1 running" in (shown := sandbox.verb("status", str(sandbox.run)).stdout):
        assert time.monotonic() < deadline, shown
    assert "0/3 done, 3 pending" in shown
    assert f"go on with: lorasweep run SPEC --store {sandbox.store}\n" in shown
    assert sandbox.sweep().returncode == 0
    assert "no controller" not in sandbox.verb("status", *words).stdout
