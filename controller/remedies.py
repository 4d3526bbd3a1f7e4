"""What to do about trials that failed or were stopped: sentences, and commands to be typed as they are. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping

from controller.report.text import first_line, one_line
from controller.states import TrialStatus
from job.contract.documents import Plan
from job.contract.errors import FailureReason

__all__ = ["log_command", "remedies", "retry_command"]

_LISTED = 20
# No process ran, or what it wrote says nothing of what was found later.
_LOGLESS: frozenset[str] = frozenset[FailureReason](
    {"image", "admission", "start_timeout", "queue_timeout", "conflict", "result_corrupt"}
)


def retry_command(run: str, trial_id: str | None = None) -> str:
    """The command that gives the trial, or every failed and stopped one, a new start."""
    return shlex.join(["lorasweep", "retry", run, *([] if trial_id is None else [trial_id])])


def log_command(run: str, trial_id: str, *, reason: str | None) -> str | None:
    """The command that prints the log of a trial that failed for this reason; None where there is nothing to see."""
    return None if reason in _LOGLESS else shlex.join(["lorasweep", "logs", run, trial_id])


def remedies(plan: Plan, statuses: Mapping[str, TrialStatus], *, run: str) -> str:
    """Lines about every failed and stopped trial with the commands to go on; empty when there is none."""
    lost = [trial.trial_id for trial in plan.trials if statuses[trial.trial_id].state in {"failed", "stopped"}]
    if not lost:
        return ""
    again = retry_command(run, lost[0] if len(lost) == 1 else None)
    lines = [*_failed(plan, statuses, run), *_stopped(plan, statuses)]
    return "\n".join([*lines, "to try again, before the same `lorasweep run`:", f"  {again}"]) + "\n"


def _failed(plan: Plan, statuses: Mapping[str, TrialStatus], run: str) -> Iterator[str]:
    failed = [trial for trial in plan.trials if statuses[trial.trial_id].state == "failed"]
    for trial in failed[:_LISTED]:
        status = statuses[trial.trial_id]
        why = ": ".join(part for part in (status.reason, first_line(status.text)) if part)
        yield f"failed: {trial.letter} {trial.trial_id} ({one_line(trial.label)}): {why}"
        if log := log_command(run, trial.trial_id, reason=status.reason):
            yield f"  {log}"
    if len(failed) > _LISTED:
        yield f"and {len(failed) - _LISTED} more failed"


def _stopped(plan: Plan, statuses: Mapping[str, TrialStatus]) -> Iterator[str]:
    by_text: dict[str, list[str]] = {}
    for trial in plan.trials:
        status = statuses[trial.trial_id]
        if status.state == "stopped":
            by_text.setdefault(first_line(status.text), []).append(trial.letter)
    for text, letters in by_text.items():
        named = ", ".join(dict.fromkeys(letters[:_LISTED]))
        more = f" and {len(letters) - _LISTED} more" if len(letters) > _LISTED else ""
        yield f"stopped: {named}{more}: {text}"
