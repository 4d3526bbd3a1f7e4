"""`lorasweep run` as a process, with real child processes that keep the job's contract but train nothing."""

from __future__ import annotations

import json
import os
import shlex
import signal
import time

import pytest
from sandbox import DEADLINE_S, Sandbox


def test_a_sweep_ends_with_a_ranked_table_and_a_report(sandbox: Sandbox) -> None:
    done = sandbox.sweep()
    assert done.returncode == 0, done.stderr
    assert "rougeL" in done.stdout.replace("ROUGE-L", "rougeL")
    assert f"report: {sandbox.run}/report/report.html" in done.stdout
    assert (sandbox.run / "report" / "report.html").exists()
    assert "3/3 done" in done.stderr
    assert [end.outcome for end in sandbox.ends()] == ["done"] * 3


def test_a_machine_with_one_slot_says_why_it_runs_one_trial_at_a_time(sandbox: Sandbox) -> None:
    sandbox.spec.write_text(sandbox.spec.read_text().replace("max_attempts: 2", "max_attempts: 2, parallelism: 3"))
    done = sandbox.sweep()
    assert "demo: 3 trials, 1 at a time" in done.stderr
    assert done.stderr.count("execution.parallelism is 3, but this machine has 1 device slot") == 1


def test_a_second_run_does_nothing_and_says_so(sandbox: Sandbox) -> None:
    assert sandbox.sweep().returncode == 0
    before = sandbox.bytes_of_run()
    again = sandbox.sweep()
    assert again.returncode == 0
    assert "nothing to do" in again.stderr
    assert sandbox.bytes_of_run() == before


def test_a_widened_grid_runs_only_what_is_new(sandbox: Sandbox) -> None:
    assert sandbox.sweep().returncode == 0
    sandbox.write_spec([1, 2, 3, 4])
    wider = json.loads(sandbox.sweep("--output", "json").stdout)
    assert wider["submissions"] == 1
    assert len(wider["trials"]) == 4


def test_failures_are_retried_or_not_by_their_exit_code_and_the_rest_goes_on(sandbox: Sandbox) -> None:
    sandbox.behaviours = {"A": ["80"], "B": ["kill", "ok"], "C": ["nothing"]}
    done = sandbox.sweep("--output", "json")
    assert done.returncode == 1
    ids = sandbox.trial_ids()
    trials = json.loads(done.stdout)["trials"]
    assert {letter: trials[ids[letter]]["reason"] for letter in "ABC"} == {
        "A": "diverged",
        "B": None,
        "C": "result_missing",
    }
    assert trials[ids["B"]]["state"] == "succeeded"
    assert "lorasweep retry" in done.stderr
    numbers = [end.number for end in sandbox.ends()]
    assert sorted(numbers) == [1, 1, 1, 2, 2]
    attempts = list((sandbox.run / "trials" / ids["A"] / "attempts").glob("*/log.txt"))
    assert [path.read_text().split(": ")[-1] for path in attempts] == ["80\n"]


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 85)])
def test_a_signal_stops_the_children_keeps_what_is_done_and_says_how_to_go_on(
    sandbox: Sandbox, signum: signal.Signals, code: int
) -> None:
    sandbox.behaviours = {"B": ["slow", "ok"]}
    process = sandbox.start()
    sandbox.until_running("B")
    process.send_signal(signum)
    _, stderr = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == code
    assert "stopping 1 process, with 30 s for a checkpoint" in stderr
    assert "1 of 3 trials are done and kept" in stderr
    assert "go on:" in stderr
    assert f"lorasweep status {sandbox.run}" in stderr
    assert [end.outcome for end in sandbox.ends()].count("stopped") == 1
    again = sandbox.sweep("--output", "json")
    assert again.returncode == 0
    assert json.loads(again.stdout)["submissions"] == 2


def test_a_second_ctrl_c_ends_at_once_and_leaves_no_process(sandbox: Sandbox) -> None:
    sandbox.behaviours = {"A": ["deaf", "ok"]}
    process = sandbox.start()
    sandbox.until_running("A")
    process.send_signal(signal.SIGINT)
    assert process.stderr is not None
    assert any("Ctrl-C again kills it at once" in line for line in process.stderr)
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 130
    assert time.monotonic() - began < 10
    assert sandbox.sweep().returncode == 0


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 85)])
def test_a_signal_while_sources_are_pinned_ends_the_run_at_once(
    sandbox: Sandbox, signum: signal.Signals, code: int
) -> None:
    os.truncate(sandbox.root / "rows" / "train.jsonl", 2**40)  # sparse; to hash it takes minutes
    process = sandbox.start()
    sandbox.until_locked()
    process.send_signal(signum)
    process.communicate(timeout=DEADLINE_S)
    assert process.returncode == code
    assert not (sandbox.run / "plans").exists()


def test_a_killed_controller_is_succeeded_by_one_that_starts_no_second_process(sandbox: Sandbox) -> None:
    sandbox.behaviours = {"A": ["slow", "ok"]}
    process = sandbox.start()
    sandbox.until_running("A")
    process.kill()
    process.communicate(timeout=DEADLINE_S)
    done = sandbox.sweep("--output", "json")
    assert done.returncode == 0, done.stderr
    first = [end for end in sandbox.ends() if end.trial_ids == (sandbox.trial_ids()["A"],)]
    assert [(end.number, end.exit_code) for end in first] == [(1, 85), (2, 0)]


def test_a_file_in_the_place_of_the_state_folder_is_a_refusal_with_its_path(sandbox: Sandbox) -> None:
    in_the_way = sandbox.root / "state" / "lorasweep"
    in_the_way.parent.mkdir()
    in_the_way.touch()
    refused = sandbox.sweep()
    assert refused.returncode == 78
    assert f"{in_the_way}/runs/" in refused.stderr
    assert "set XDG_STATE_HOME to another place" in refused.stderr
    in_the_way.unlink()
    assert sandbox.sweep().returncode == 0


def test_a_relative_state_home_is_ignored(sandbox: Sandbox) -> None:
    sandbox.extra = {"XDG_STATE_HOME": "state", "HOME": str(sandbox.root / "home")}
    done = sandbox.sweep()
    assert done.returncode == 0, done.stderr
    assert not (sandbox.root / "state").exists()
    assert (sandbox.root / "home" / ".local" / "state" / "lorasweep" / "runs").is_dir()


def test_a_second_controller_is_told_who_has_the_run(sandbox: Sandbox) -> None:
    sandbox.behaviours = {"A": ["gate"]}
    process = sandbox.start()
    sandbox.until_running("A")
    second = sandbox.sweep()
    assert second.returncode == 75
    assert f"process {process.pid} on" in second.stderr
    assert "lorasweep status" in second.stderr
    sandbox.gate.touch()
    _, stderr = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 0, stderr


@pytest.mark.parametrize(("file", "keep_time"), [("log.txt", False), ("scores.json", True)])
def test_a_byte_that_was_flipped_after_a_run_is_a_failed_trial_to_the_next_run(
    sandbox: Sandbox, file: str, keep_time: bool
) -> None:
    assert sandbox.sweep().returncode == 0
    trial_id = sandbox.trial_ids()["A"]
    path = next((sandbox.run / "trials" / trial_id / "attempts").glob(f"*/{file}"))
    before = path.stat()
    path.write_bytes(bytes([path.read_bytes()[0] ^ 1]) + path.read_bytes()[1:])
    if keep_time:
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    again = sandbox.sweep("--output", "json")
    assert again.returncode == 1
    assert json.loads(again.stdout)["trials"][trial_id]["reason"] == "result_corrupt"
    assert file in again.stderr


def test_the_commands_that_are_shown_work_as_they_stand(sandbox: Sandbox) -> None:
    sandbox.behaviours = {"A": ["78", "ok"]}
    ended = sandbox.sweep()
    shown = [line.strip() for line in ended.stderr.splitlines() if line.startswith("  lorasweep ")]
    assert [line.split()[1] for line in shown] == ["logs", "retry"]
    status = sandbox.verb("status", str(sandbox.run))
    assert all(f"  {line}\n" in status.stdout for line in shown)
    log, retry = (sandbox.verb(*shlex.split(line)[1:]) for line in shown)
    assert "attempt 001-" in log.stdout
    assert retry.returncode == 0, retry.stderr
    assert sandbox.sweep().returncode == 0
