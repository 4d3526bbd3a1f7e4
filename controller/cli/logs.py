"""`lorasweep logs RUN [TRIAL]`: what the newest process of a trial wrote, while it lives or from the store."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple

from controller.cli.errand import Errand
from controller.cli.presence import presence_in, presence_on
from controller.cli.site import onlook_of
from controller.cli.target import Target, find_trial, open_target, situation_of
from controller.ledger import TrialRecord
from controller.local.backend import state_folder
from controller.local.observation import local_logs
from controller.states import TrialStatus, states
from controller.streams import deliver, deliver_json, tell
from controller.terminal import harmless
from job.contract.config import PlannedTrial
from job.contract.documents import DATA_LIMIT_BYTES, Plan
from job.contract.errors import ExitCode, NotFoundError, SpecError
from job.store import Keys

if TYPE_CHECKING:
    from controller.kube.onlook import Onlook

__all__ = ["run_logs", "running_trial"]

_LIMIT_BYTES = 4 * 2**20


class _Log(NamedTuple):
    attempt: str
    text: str


def run_logs(args: argparse.Namespace) -> int:
    """Print the log of the trial's newest attempt.

    Raises SpecError when no TRIAL is given and not exactly one group of trials runs, NotFoundError when there is no
    log yet.
    """
    if args.tail is not None and args.tail < 1:
        raise SpecError(f"--tail {args.tail}: a number of lines, at least 1")
    target = open_target(args.target, store=args.store, run=args.run, errand=Errand("logs", (args.trial,)))
    onlook = onlook_of(args, target.naming)
    trial = _running_trial(target, onlook) if args.trial is None else find_trial(target.plan, args.trial)
    log = _newest_log(target, trial) if onlook is None else _log_of_pod(onlook, target, trial)
    lines = log.text.splitlines()
    text = "\n".join(lines[-args.tail :] if args.tail else lines)
    if args.output == "json":
        deliver_json({"trial_id": trial.trial_id, "attempt": log.attempt, "log": text})
        return ExitCode.DONE
    tell(f"trial {trial.letter} {trial.trial_id}, attempt {log.attempt}\n")
    deliver((harmless(text) if sys.stdout.isatty() else text) + "\n")
    return ExitCode.DONE


def _running_trial(target: Target, onlook: Onlook | None) -> PlannedTrial:
    presence = presence_on(target.naming.run_uri) if onlook is None else presence_in(onlook)
    return running_trial(target.plan, states(situation_of(target, observed=presence.observed)))


def running_trial(plan: Plan, statuses: Mapping[str, TrialStatus]) -> PlannedTrial:
    """The first trial of the one group that runs: the trials of a group have one log.

    Raises SpecError when none or several run.
    """
    running = [trial for trial in plan.trials if statuses[trial.trial_id].state == "running"]
    ids = {trial.trial_id for trial in running}
    if sum(not ids.isdisjoint(group.trial_ids) for group in plan.groups) != 1:
        letters = ", ".join(trial.letter for trial in plan.trials[:30])
        raise SpecError(f"{len(running)} trials run at the moment; name one: {letters}")
    return running[0]


def _log_of_pod(onlook: Onlook, target: Target, trial: PlannedTrial) -> _Log:
    """Of the trial's newest pod, or from the store where it is gone or has not begun."""
    found = onlook.log(trial.trial_id, limit_bytes=_LIMIT_BYTES)
    if found is not None:
        tell(f"from pod {found.pod} in namespace {onlook.namespace}\n")
        return _Log(found.attempt, found.body.decode(errors="replace"))
    tell(f"trial {trial.letter} has no pod at work in namespace {onlook.namespace}; this is from its store\n")
    return _newest_log(target, trial)


def _newest_log(target: Target, trial: PlannedTrial) -> _Log:
    folder = state_folder(os.environ, target.naming.run_uri)
    for attempt, body in local_logs(folder, trial.trial_id, limit_bytes=_LIMIT_BYTES):
        return _Log(attempt, body.decode(errors="replace"))
    record = situation_of(target).ledger.record(trial.trial_id)
    for attempt in _attempts(record):
        try:
            key = Keys.attempt_file(trial.trial_id, attempt, "log.txt")
            return _Log(attempt, target.store.read(key, limit_bytes=DATA_LIMIT_BYTES).decode(errors="replace"))
        except NotFoundError:
            tail = next((failure.log_tail for failure in record.failures if failure.attempt == attempt), "")
            if tail:
                return _Log(attempt, tail)
    raise NotFoundError(f"trial {trial.letter} {trial.trial_id} has no log yet; see `lorasweep status`")


def _attempts(record: TrialRecord) -> Iterator[str]:
    """Attempts that may have a log: the one with the result, then the newest first."""
    if record.result is not None:
        yield record.result.attempt
    moments = {failure.attempt: failure.at for failure in record.failures}
    if record.progress is not None:
        moments.setdefault(record.progress.attempt, record.progress.updated_at)
    yield from sorted(moments, key=lambda attempt: moments[attempt], reverse=True)
