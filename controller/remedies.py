"""What to do about trials that failed or were stopped: sentences, and commands to be typed as they are. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from types import MappingProxyType

from controller.report.text import first_line, one_line
from controller.states import Situation, TrialStatus
from job.contract.documents import Plan
from job.contract.errors import FailureReason

__all__ = ["WAYS_ON", "log_command", "pause_text", "remedies", "repeats", "resume_command", "retry_command"]

_LISTED = 20
# No process ran, or what it wrote says nothing of what was found later.
_LOGLESS: frozenset[str] = frozenset[FailureReason](
    {"image", "admission", "start_timeout", "queue_timeout", "conflict", "result_corrupt"}
)
# The same spec and the same bytes would end alike, as often as they are tried.
_REPEATED: frozenset[str] = frozenset[FailureReason]({"data", "diverged"})
_BY_SPEC = (
    "a change of the section trial makes new trials, which lorasweep run takes up; after any other change try again"
)

WAYS_ON: Mapping[FailureReason, str] = MappingProxyType(
    {
        "usage": "a bug in lorasweep: please report it with the log",
        "data": "mend columns, prompts or lengths in the spec and run it; or mend the rows, and run it with --repin",
        "bug": "a bug in lorasweep: please report it with the log, and try again with a release that has it mended",
        "configuration": f"mend what the message names, in the spec or outside of it; {_BY_SPEC}",
        "gpu_oom": f"lower batch, length or rank in the spec, or take a device with more memory; {_BY_SPEC}",
        "diverged": "lower training.learning_rate in the spec and run it: the same again would diverge again",
        "timeout": f"raise execution.trial_timeout_s, or ask for less; {_BY_SPEC}",
        "unavailable": "try again when the store, the hub or the disk that the message names answers",
        "oom": "give the machine more memory or lower execution.parallelism, and try again",
        "crash": "see its log, and try again",
        "image": "mend the image or the right to pull it, and try again",
        "admission": "let the cluster admit it, and try again",
        "start_timeout": "find out why it did not start, or raise execution.start_timeout_s, and try again",
        "queue_timeout": "wait for room, or raise execution.queue_timeout_s, and try again",
        "conflict": "look at what holds the name: remove it and try again, or choose another --run",
        "result_missing": "try again; if it comes back, look at what else writes to the store",
        "result_corrupt": "try again: the damaged result goes, and the trial runs anew",
        "disruptions": "try again in calmer times, or raise execution.max_disruptions first",
    }
)
"""What to do before a new start, or instead of one."""


def repeats(reason: str | None) -> bool:
    """Whether a trial that failed for this reason would fail again, so that a new start is no way on."""
    return reason in _REPEATED


def retry_command(run: str, trial_id: str | None = None) -> str:
    """The command that gives the trial, or every failed and stopped one, a new start."""
    return shlex.join(["lorasweep", "retry", run, *([] if trial_id is None else [trial_id])])


def log_command(run: str, trial_id: str, *, reason: str | None) -> str | None:
    """The command that prints the log of a trial that failed for this reason; None where there is nothing to see."""
    return None if reason in _LOGLESS else shlex.join(["lorasweep", "logs", run, trial_id])


def resume_command(run: str) -> str:
    """The command that ends a pause."""
    return shlex.join(["lorasweep", "resume", run])


def pause_text(situation: Situation, statuses: Mapping[str, TrialStatus], *, run: str) -> str:
    """That the run is paused, what goes on, and the command that ends the pause; empty where it is not, or is over."""
    if situation.ledger.control.state != "paused" or all(status.final for status in statuses.values()):
        return ""
    live = sum(status.state in {"running", "waiting"} for status in statuses.values())
    on = f"{live} {'trial goes' if live == 1 else 'trials go'} on to the end" if live else "nothing runs"
    return f"paused: {on}, nothing new is started; `{resume_command(run)}` goes on"


def remedies(plan: Plan, statuses: Mapping[str, TrialStatus], *, run: str) -> str:
    """Lines about every failed and stopped trial with the commands to go on; empty when there is none."""
    lines = [*_failed(plan, statuses, run), *_stopped(plan, statuses), *_ways_on(plan, statuses)]
    if again := list(_retries(plan, statuses, run)):
        lines += ["to try again, before the same `lorasweep run`:", *(f"  {command}" for command in again)]
    return "".join(line + "\n" for line in lines)


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
        yield f"stopped: {_listed(letters)}: {text}"


def _ways_on(plan: Plan, statuses: Mapping[str, TrialStatus]) -> Iterator[str]:
    """A line for each reason of failed trials."""
    by_reason: dict[FailureReason, list[str]] = {}
    for trial in plan.trials:
        status = statuses[trial.trial_id]
        for reason in WAYS_ON:
            if status.state == "failed" and status.reason == reason:
                by_reason.setdefault(reason, []).append(trial.letter)
    for reason, letters in by_reason.items():
        yield f"{_listed(letters)} ({reason}): {WAYS_ON[reason]}"


def _retries(plan: Plan, statuses: Mapping[str, TrialStatus], run: str) -> Iterator[str]:
    """One command for all where a new start helps all, else one for each that it helps."""
    lost = [trial.trial_id for trial in plan.trials if statuses[trial.trial_id].state in {"failed", "stopped"}]
    helped = [trial_id for trial_id in lost if not repeats(statuses[trial_id].reason)]
    if len(lost) > 1 and helped == lost:
        yield retry_command(run)
    else:
        yield from (retry_command(run, trial_id) for trial_id in helped[:_LISTED])


def _listed(letters: list[str]) -> str:
    """Each once, and not all of very many."""
    each = list(dict.fromkeys(letters))
    return ", ".join(each[:_LISTED]) + (f" and {len(each) - _LISTED} more" if len(each) > _LISTED else "")
