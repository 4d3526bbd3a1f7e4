"""`lorasweep status RUN`: where every trial is, from the store, and from the cluster if one is named."""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Mapping

from rich.console import Console

from controller.cli.site import onlook_of
from controller.cli.target import Target, open_target
from controller.cli.watch import Look, Lookout, Watched, watch
from controller.leader import Leader, leader_text
from controller.program import program
from controller.progress import progress_of, trial_note
from controller.remedies import pause_text, remedies
from controller.states import Situation, TrialStatus, states
from controller.streams import deliver, deliver_json, tell
from controller.terminal import columns_of, summary
from controller.trial_table import table_lines, trial_rows
from job.contract.errors import ExitCode

__all__ = ["run_status"]


def run_status(args: argparse.Namespace) -> int:
    """Say where every trial is; with --watch until all are in their final state.

    0 when it could be said, 130 when a watch was ended before the run.
    """
    target = open_target(args.target, store=args.store, run=args.run)
    lookout = Lookout(target, onlook_of(args, target.naming), watching=args.watch)
    watched = watch(lookout) if args.watch else Watched(lookout.look())
    look = watched.look
    if args.output == "json":
        deliver_json(_document(target, look, states(look.situation)))
    else:
        _deliver_text(target, look, states(look.situation))
    if watched.left:
        tell(f"{' '.join(program())} status: no longer watched; the run itself goes on as it was\n")
        return ExitCode.INTERRUPTED
    return ExitCode.DONE


def _deliver_text(target: Target, look: Look, statuses: Mapping[str, TrialStatus]) -> None:
    situation = look.situation
    table = io.StringIO()
    console = Console(file=table, force_terminal=sys.stdout.isatty(), highlight=False)
    for line in table_lines(trial_rows(situation, statuses), width=columns_of(sys.stdout)):
        console.print(line, soft_wrap=True)
    deliver(table.getvalue())
    wanted = ", stopped by a person" if situation.ledger.control.state == "stopped" else ""
    deliver(f"{target.plan.sweep}/{target.plan.run}: {summary(progress_of(situation, statuses))}{wanted}\n")
    if best := leader_text(look.leader):
        deliver(best + "\n")
    if paused := pause_text(situation, statuses, run=target.naming.run_uri):
        deliver(paused + "\n")
    if warning := look.presence.warning(statuses, begin=target.begin):
        deliver(warning + "\n")
    deliver(remedies(target.plan, statuses, run=target.naming.run_uri))


def _document(target: Target, look: Look, statuses: Mapping[str, TrialStatus]) -> dict[str, object]:
    situation = look.situation
    progress = progress_of(situation, statuses)
    return {
        "sweep": target.plan.sweep,
        "run": target.plan.run,
        "store": target.store.uri,
        "spec_sha256": target.plan.spec_sha256,
        "control": situation.ledger.control.state,
        "controller": look.presence.controller,
        "counts": dict(progress.counts),
        "total": progress.total,
        "eta_s": progress.eta_s,
        "best": _best(look.leader),
        "trials": [_trial(target, situation, trial_id, status) for trial_id, status in statuses.items()],
    }


def _best(leader: Leader | None) -> dict[str, object] | None:
    if leader is None:
        return None
    return {
        "letter": leader.letter,
        "label": leader.label,
        "metric": leader.objective.metric,
        "split": leader.objective.split,
        **leader.metric.model_dump(mode="json"),
    }


def _trial(target: Target, situation: Situation, trial_id: str, status: TrialStatus) -> dict[str, object]:
    planned = next(trial for trial in target.plan.trials if trial.trial_id == trial_id)
    record = situation.ledger.record(trial_id)
    return {
        "trial_id": trial_id,
        "letter": planned.letter,
        "label": planned.label,
        "kind": planned.kind,
        "seed": planned.seed,
        "state": status.state,
        "reason": status.reason,
        "note": trial_note(situation, planned, status),
        "failed_attempts": status.attempts,
        "disruptions": len(situation.ledger.disruptions(trial_id)),
        "progress": None if record.progress is None else record.progress.model_dump(mode="json"),
        "metrics": None
        if record.result is None
        else {
            split: {name: value.mean for name, value in metrics.items()}
            for split, metrics in record.result.metrics.items()
        },
    }
