"""`lorasweep retry RUN [TRIAL]`: give failed or stopped trials a new start."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Mapping
from datetime import UTC, datetime

from controller.cli.errand import Errand
from controller.cli.target import Target, find_trial, open_target, situation_of
from controller.cli.wishes import renew_control, void_failures
from controller.ledger import CorruptResult
from controller.remedies import resume_command
from controller.states import TrialStatus, states
from controller.streams import deliver_json, tell
from job.contract.config import PlannedTrial
from job.contract.errors import ExitCode, SpecError
from job.store import Keys, Store

__all__ = ["run_retry"]


def run_retry(args: argparse.Namespace) -> int:
    """Void what failed so that the run's controller tries again; without TRIAL for all failed and stopped trials.

    Raises SpecError for a trial that has neither failed nor been stopped.
    """
    target = open_target(args.target, store=args.store, run=args.run, errand=Errand("retry", (args.trial,)))
    situation = situation_of(target)
    statuses = states(situation)
    chosen = _chosen(target, statuses, args.trial)
    now = datetime.now(UTC)
    for trial in chosen:
        if (damaged := situation.ledger.record(trial.trial_id).corrupt) is not None:
            _remove(target.store, trial, damaged)
        void_failures(target.store, trial.trial_id, situation.ledger, now=now)
    if chosen:
        # Last: the new tag of control.json tells a live controller to read the trials again.
        state = situation.ledger.control.state
        renewed = "running" if args.trial is None and state == "stopped" else state
        renew_control(target.store, now=now, state=renewed, trials={trial.trial_id: None for trial in chosen})
    if args.output == "json":
        deliver_json({"retried": [trial.trial_id for trial in chosen]})
    letters = ", ".join(f"{trial.letter} {trial.trial_id}" for trial in chosen)
    then = f"a live controller takes them up at once; else `{target.begin}` does"
    if situation.ledger.control.state == "paused":
        then = f"the run is paused: `{resume_command(target.naming.run_uri)}` goes on"
    tell(f"to be tried again: {letters}; {then}\n" if chosen else "no trial has failed or been stopped\n")
    return ExitCode.DONE


def _chosen(target: Target, statuses: Mapping[str, TrialStatus], word: str | None) -> list[PlannedTrial]:
    if word is None:
        return [trial for trial in target.plan.trials if statuses[trial.trial_id].state in {"failed", "stopped"}]
    trial = find_trial(target.plan, word)
    state = statuses[trial.trial_id].state
    if state == "succeeded":
        again = (
            f"`lorasweep report {shlex.quote(target.naming.run_uri)} --verify` reads every byte of every result again"
        )
        raise SpecError(f"trial {trial.letter} {trial.trial_id} has a result that verifies; {again}")
    if state not in {"failed", "stopped"}:
        raise SpecError(f"trial {trial.letter} {trial.trial_id} is {state}; only failed and stopped trials are retried")
    return [trial]


def _remove(store: Store, trial: PlannedTrial, damaged: CorruptResult) -> None:
    """Remove a result that does not verify, unless someone has put another in its place since it was looked at."""
    if not store.delete(Keys.result(trial.trial_id), etag=damaged.etag):
        tell(f"trial {trial.trial_id}: its result has changed meanwhile and was left as it is\n")
