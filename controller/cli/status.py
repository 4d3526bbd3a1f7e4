"""`lorasweep status RUN`: where every trial is, from the store, and from the cluster if one is named."""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Callable, Mapping
from typing import NamedTuple

from rich.console import Console

from controller.cli.presence import Presence, presence_in, presence_on
from controller.cli.site import onlook_of
from controller.cli.target import Target, open_target, situation_of
from controller.interrupts import Interrupts
from controller.ledger_reader import LedgerReader
from controller.progress import progress_of, trial_note
from controller.remedies import pause_text, remedies
from controller.states import Situation, TrialStatus, states
from controller.streams import deliver, deliver_json
from controller.terminal import columns_of, display_on_stderr, summary
from controller.trial_table import table_lines, trial_rows
from job.contract.errors import ExitCode, TransientError

__all__ = ["run_status"]

_WATCH_S = 2.0


def run_status(args: argparse.Namespace) -> int:
    """Say where every trial is; with --watch until all are in their final state. Always 0 when it could be said."""
    target = open_target(args.target, store=args.store, run=args.run)
    # Who writes is another process and says nothing to this one, so everything is read each time.
    reader = LedgerReader(target.store, target.plan, full_every_s=0)
    onlook = onlook_of(args, target.naming)

    def look_now() -> _Look:
        """Who is at work before what is stored: what a process published before it ended is then seen with its end."""
        presence = presence_on(target.naming.run_uri) if onlook is None else presence_in(onlook)
        return _Look(presence, situation_of(target, reader, observed=presence.observed))

    look = look_now()
    if args.watch:
        look = _watch(target, look, look_now)
    situation, statuses = look.situation, states(look.situation)
    if args.output == "json":
        deliver_json(_document(target, look, statuses))
        return ExitCode.DONE
    table = io.StringIO()
    console = Console(file=table, force_terminal=sys.stdout.isatty(), highlight=False)
    for line in table_lines(trial_rows(situation, statuses), width=columns_of(sys.stdout)):
        console.print(line, soft_wrap=True)
    deliver(table.getvalue())
    wanted = ", stopped by a person" if situation.ledger.control.state == "stopped" else ""
    deliver(f"{target.plan.sweep}/{target.plan.run}: {summary(progress_of(situation, statuses))}{wanted}\n")
    if paused := pause_text(situation, statuses, run=target.naming.run_uri):
        deliver(paused + "\n")
    if warning := look.presence.warning(statuses, begin=target.begin):
        deliver(warning + "\n")
    deliver(remedies(target.plan, statuses, run=target.naming.run_uri))
    return ExitCode.DONE


class _Look(NamedTuple):
    presence: Presence
    situation: Situation


def _watch(target: Target, look: _Look, look_now: Callable[[], _Look]) -> _Look:
    interrupts = Interrupts()
    interrupts.install()
    display = display_on_stderr(target.naming.run_uri)
    warned = ""
    try:
        while True:
            statuses = states(look.situation)
            display.update(look.situation, statuses)
            if all(status.final for status in statuses.values()):
                return look
            warning = look.presence.warning(statuses, begin=target.begin)
            if warning and warning != warned:
                display.say(warning)
            warned = warning
            interrupts.sleep(_WATCH_S)
            try:
                look = look_now()
            except TransientError as err:
                display.trouble(err, since=look.situation.now)
    except KeyboardInterrupt:
        return look
    finally:
        display.close()


def _document(target: Target, look: _Look, statuses: Mapping[str, TrialStatus]) -> dict[str, object]:
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
        "trials": [_trial(target, situation, trial_id, status) for trial_id, status in statuses.items()],
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
