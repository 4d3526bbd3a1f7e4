"""`lorasweep stop RUN [TRIAL]`: end a run or one trial. What is finished is kept."""

from __future__ import annotations

import argparse
import shlex
from datetime import UTC, datetime

from controller.cli.errand import Errand
from controller.cli.target import find_trial, open_target, situation_of
from controller.cli.wishes import renew_control
from controller.streams import deliver_json, tell
from job.contract.errors import ExitCode, SpecError

__all__ = ["run_stop"]


def run_stop(args: argparse.Namespace) -> int:
    """Write the wish to stop; the run's controller acts on it within a second or two.

    Raises SpecError for a trial that has its result.
    """
    target = open_target(args.target, store=args.store, run=args.run, errand=Errand("stop", (args.trial,)))
    place = shlex.quote(target.naming.run_uri)
    if args.trial is None:
        renew_control(target.store, now=datetime.now(UTC), state="stopped")
        said = f"stopping {target.plan.sweep}/{target.plan.run}; `{target.begin}` goes on with it"
        stopped = [trial.trial_id for trial in target.plan.trials]
    else:
        trial = find_trial(target.plan, args.trial)
        if situation_of(target).ledger.record(trial.trial_id).result is not None:
            raise SpecError(f"trial {trial.letter} {trial.trial_id} has its result; there is nothing to stop")
        renew_control(target.store, now=datetime.now(UTC), trials={trial.trial_id: "stop"})
        said = (
            f"stopping trial {trial.letter} {trial.trial_id}; `lorasweep retry {place} {trial.trial_id}` takes it back"
        )
        stopped = [trial.trial_id]
    if args.output == "json":
        deliver_json({"stopped": stopped})
    tell(said + "\n")
    return ExitCode.DONE
