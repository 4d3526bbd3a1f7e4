"""`lorasweep pause RUN` and `lorasweep resume RUN`: what has not begun waits until a person wants it to go on."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime

from controller.cli.errand import Errand
from controller.cli.presence import presence_on
from controller.cli.target import Target, open_target, situation_of
from controller.cli.wishes import change_state
from controller.remedies import pause_text
from controller.states import TrialStatus, states
from controller.streams import deliver_json, tell
from job.contract.documents import RunState
from job.contract.errors import ExitCode, SpecError

__all__ = ["run_pause", "run_resume"]


def run_pause(args: argparse.Namespace) -> int:
    """Let nothing new begin; what runs, and what already waits in a cluster, goes on to its end.

    Raises SpecError for a run that was stopped.
    """
    target, before = _changed(args, Errand("pause"), given="running", to="paused")
    presence = presence_on(target.naming.run_uri)
    situation = situation_of(target, observed=presence.observed)
    statuses = states(situation)
    if args.output == "json":
        deliver_json({"was": before, "now": "paused", "held": _ids(statuses, "pending"), "live": _ids(statuses)})
    text = pause_text(situation, statuses, run=target.naming.run_uri)
    tell((text or "every trial of this run is finished; there is nothing to hold back") + "\n")
    return ExitCode.DONE


def run_resume(args: argparse.Namespace) -> int:
    """Let a paused run go on: its controller takes it up within a second or two.

    Raises SpecError for a run that was stopped.
    """
    target, before = _changed(args, Errand("resume"), given="paused", to="running")
    controller = presence_on(target.naming.run_uri).controller
    if args.output == "json":
        deliver_json({"was": before, "now": "running", "controller": controller})
    tell(f"{_resumed(target, before)}; {_who_goes_on(target, controller=controller)}\n")
    return ExitCode.DONE


def _ids(statuses: dict[str, TrialStatus], *among: str) -> list[str]:
    wanted = among or ("running", "waiting")
    return [trial_id for trial_id, status in statuses.items() if status.state in wanted]


def _changed(args: argparse.Namespace, errand: Errand, *, given: RunState, to: RunState) -> tuple[Target, RunState]:
    """The run that `args` names, whose wish is now `to` if it was `given`; and what it was. Raises SpecError."""
    target = open_target(args.target, store=args.store, run=args.run, errand=errand)
    before = change_state(target.store, now=datetime.now(UTC), given=given, to=to)
    if before == "stopped":
        raise SpecError(f"{target.naming.run_uri} was stopped, not paused; `{target.begin}` goes on with it")
    return target, before


def _resumed(target: Target, before: RunState) -> str:
    run = f"{target.plan.sweep}/{target.plan.run}"
    return f"{run} goes on" if before == "paused" else f"{run} was not paused"


def _who_goes_on(target: Target, *, controller: bool | None) -> str:
    if controller is None:
        return f"a live controller takes it up at once; else `{target.begin}` does"
    return "its controller takes it up at once" if controller else f"no controller is running: `{target.begin}`"
