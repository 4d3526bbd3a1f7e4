"""`lorasweep export RUN --to mlflow[:URI]`: the trials of a run in a tool that a team has."""

from __future__ import annotations

import argparse
import os

from controller.attempt_files import read_records
from controller.cli.errand import Errand
from controller.cli.site import onlook_of
from controller.cli.target import Target, open_target
from controller.cli.watch import Lookout
from controller.exports.extra import check_extra
from controller.exports.mlflow_runs import Ended, MlflowExperiment, open_client
from controller.report.numbers import counted
from controller.states import Situation, TrialStatus, states
from controller.streams import deliver, deliver_json
from job.contract.base import sha256_hex
from job.contract.config import PlannedTrial
from job.contract.errors import ExitCode, SpecError
from job.store.results import load_manifest

__all__ = ["run_export"]

_MLFLOW = "mlflow"
# Unless the user's environment says otherwise: no word to MLflow's makers about what is exported, and an end to waiting
# (its own are 7 tries of 120 s each).
_SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
}


def run_export(args: argparse.Namespace) -> int:
    """Write every trial that has ended and is not there yet, and say how many."""
    uri = _tracking_uri(args.to)
    check_extra(_MLFLOW, extra=_MLFLOW)
    target = open_target(args.target, store=args.store, run=args.run, errand=Errand("export", ("--to", args.to)))
    situation = Lookout(target, onlook_of(args, target.naming), watching=False).look().situation
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    name = target.plan.sweep if args.experiment is None else args.experiment
    experiment = MlflowExperiment(open_client(uri), name=name, marks=_marks(target))
    written, there = 0, 0
    statuses = states(situation)
    for trial in target.plan.trials:
        attempt = _attempt(trial, situation, statuses[trial.trial_id])
        if attempt is None:
            continue
        there += 1
        if not experiment.holds(trial, attempt):
            experiment.put(_ended(target, trial, situation))
            written += 1
    _say(args.output, name=name, written=written, there=there, whole=len(target.plan.trials))
    return ExitCode.DONE


def _tracking_uri(word: str) -> str | None:
    """None for MLflow's own setting. Raises SpecError for a tool that is not known."""
    tool, separator, uri = word.partition(":")
    if tool != _MLFLOW or (separator and not uri.strip()):
        raise SpecError(
            f"--to {tool!r} is no tool to export to; write mlflow, or mlflow:URI such as mlflow:http://HOST:5000"
        )
    return uri or None


def _marks(target: Target) -> dict[str, str]:
    """Two runs of the same names in different stores are two; the place itself is nobody's business."""
    place = sha256_hex(target.naming.run_uri.encode())[:12]
    return {"lorasweep.sweep": target.plan.sweep, "lorasweep.run": target.plan.run, "lorasweep.store": place}


def _attempt(trial: PlannedTrial, situation: Situation, status: TrialStatus) -> str | None:
    """The attempt that decided about a trial; None while it is open, and for one that was stopped."""
    record = situation.ledger.record(trial.trial_id)
    if status.state == "succeeded" and record.result is not None:
        return record.result.attempt
    if status.state == "failed" and record.failures:
        return max(record.failures, key=lambda failure: failure.at).attempt
    return None


def _ended(target: Target, trial: PlannedTrial, situation: Situation) -> Ended:
    record = situation.ledger.record(trial.trial_id)
    if (result := record.result) is not None:
        records = read_records(target.store, load_manifest(target.store, result.manifest))
        return Ended(trial, result.attempt, result.started_at, result.finished_at, records, None)
    newest = max(record.failures, key=lambda failure: failure.at)
    return Ended(trial, newest.attempt, newest.at, newest.at, (), newest.reason)


def _say(output: str, *, name: str, written: int, there: int, whole: int) -> None:
    if output == "json":
        deliver_json({"experiment": name, "written": written, "there": there, "trials": whole})
        return
    left = f"; {counted(whole - there, 'trial')} not ended" if there < whole else ""
    deliver(f"mlflow experiment {name!r}: {counted(written, 'trial')} written, {there - written} there before{left}\n")
