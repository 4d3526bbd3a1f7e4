"""What is said about trials that failed or were stopped can be acted on as it stands."""

from __future__ import annotations

import shlex

from fake_sweep import lora_trial, plan_of

from controller.remedies import log_command, remedies, retry_command
from controller.states import TrialStatus

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
