"""What is said about trials that failed or were stopped can be acted on as it stands."""

from __future__ import annotations

import shlex

from fake_sweep import lora_trial, plan_of

from controller.remedies import WAYS_ON, log_command, remedies, repeats, retry_command
from controller.states import TrialStatus
from job.contract.errors import FAILURE_REASONS, RETRIED_REASONS

TRIALS = tuple(lora_trial(number) for number in range(4))
PLAN = plan_of(TRIALS)
RUN = "/runs of mine/demo/main"


def said(*statuses: TrialStatus) -> list[str]:
    """The lines about a run whose first trials have these statuses, and whose others succeeded."""
    padded = (*statuses, *[TrialStatus("succeeded")] * (len(TRIALS) - len(statuses)))
    return remedies(
        PLAN, {trial.trial_id: status for trial, status in zip(TRIALS, padded, strict=True)}, run=RUN
    ).splitlines()


def test_nothing_is_said_where_nothing_failed() -> None:
    assert said() == []


def test_a_failure_comes_with_its_first_line_its_log_and_a_new_start() -> None:
    lines = said(TrialStatus("failed", "bug", "\nValueError: \x1b[2J no such thing\nmore (attempt 3)"))
    trial_id = TRIALS[0].trial_id
    assert lines[0] == f"failed: A {trial_id} ({TRIALS[0].label}): bug: ValueError: \u241b[2J no such thing"
    assert shlex.split(lines[1]) == ["lorasweep", "logs", RUN, trial_id]
    assert shlex.split(lines[-1]) == ["lorasweep", "retry", RUN, trial_id]


def test_what_has_no_log_is_not_looked_for_there() -> None:
    lines = said(TrialStatus("failed", "result_corrupt", "scores.json is short"))
    assert not [line for line in lines if "lorasweep logs" in line]
    assert log_command(RUN, "a", reason="queue_timeout") is None


def test_several_are_tried_again_by_one_command_and_stopped_ones_share_a_line() -> None:
    lines = said(TrialStatus("failed", "oom", "killed"), *[TrialStatus("stopped", text="the run was stopped")] * 2)
    assert "stopped: B, C: the run was stopped" in lines
    assert lines[-1].strip() == retry_command(RUN)


def test_every_reason_has_a_way_on_and_what_may_pass_by_itself_is_tried_again() -> None:
    assert set(WAYS_ON) == set(FAILURE_REASONS)
    assert not [reason for reason in RETRIED_REASONS if repeats(reason)]


def test_a_failure_that_would_only_come_again_is_to_be_mended_and_not_retried() -> None:
    lines = said(TrialStatus("failed", "data", "no column 'dialog'"))
    assert lines[-1] == f"A (data): {WAYS_ON['data']}"
    assert "--repin" in lines[-1]
    assert not [line for line in lines if "lorasweep retry" in line]


def test_of_several_reasons_each_is_said_once_and_only_what_a_new_start_helps_gets_one() -> None:
    diverged, killed = TrialStatus("failed", "diverged", "NaN"), TrialStatus("failed", "oom", "killed")
    lines = said(diverged, killed, diverged)
    assert f"A, C (diverged): {WAYS_ON['diverged']}" in lines
    assert f"B (oom): {WAYS_ON['oom']}" in lines
    assert [line.strip() for line in lines if "lorasweep retry" in line] == [retry_command(RUN, TRIALS[1].trial_id)]


def test_trials_that_were_stopped_for_a_failure_that_would_come_again_are_not_retried_either() -> None:
    stopped = TrialStatus("stopped", "data", "every trial would fail as A did")
    lines = said(TrialStatus("failed", "data", "no column 'dialog'"), stopped, stopped)
    assert "stopped: B, C: every trial would fail as A did" in lines
    assert not [line for line in lines if "lorasweep retry" in line]
