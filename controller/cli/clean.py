"""`lorasweep clean RUN`: remove what a run no longer needs, or with --all the whole run."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from controller.cli.target import Target, open_target, situation_of
from controller.leftovers import Leftover, leftovers
from controller.local.backend import state_folder
from controller.local.family import families_folder, living
from controller.lock import lock_path, run_lock
from controller.streams import deliver, deliver_json, tell
from job.contract.errors import ExitCode, SpecError, TransientError
from job.store import Keys

__all__ = ["run_clean"]

# A writer that has not finished within a day was killed.
_UNFINISHED_AFTER = timedelta(days=1)


def run_clean(args: argparse.Namespace) -> int:
    """List what can go, ask, remove it. Raises TransientError while a controller or a process works on the run."""
    target = open_target(args.target, store=args.store, run=args.run)
    uri = target.naming.run_uri
    state = state_folder(os.environ, uri)
    with run_lock(lock_path(uri, environ=os.environ), run_uri=uri, now=datetime.now(UTC)):
        for launch in living(families_folder(uri, state=state)):
            raise TransientError(f"{uri}: a process of {launch.name} is still ending; try again in a minute")
        found = _whole_run(target) if args.all else _leftovers(target)
        removed = bool(found) and (args.yes or _agreed(found, whole=args.all, uri=uri))
        if removed:
            for leftover in found:
                for key in leftover.keys:
                    target.store.delete(key)
            target.store.discard_unfinished("", before=datetime.now(UTC) - _UNFINISHED_AFTER)
            if args.all:
                shutil.rmtree(state, ignore_errors=True)
    _say(found, removed=removed, output=args.output)
    return ExitCode.DONE


def _leftovers(target: Target) -> tuple[Leftover, ...]:
    return leftovers(target.plan, situation_of(target).ledger, target.store.list(Keys.TRIALS))


def _whole_run(target: Target) -> tuple[Leftover, ...]:
    """Everything, results first and plans last: a clean that is cut short can be started again."""
    found = list(target.store.list(""))
    found.sort(key=lambda one: (one.key.startswith((Keys.PLANS, Keys.SPECS, Keys.CONTROL)), one.key))
    if not found:
        return ()
    return (Leftover("", "the whole run", tuple(one.key for one in found), sum(one.size_bytes for one in found)),)


def _agreed(found: Sequence[Leftover], *, whole: bool, uri: str) -> bool:
    tell(_listing(found))
    question = f"remove the whole run {uri}, results and all?" if whole else f"remove this from {uri}?"
    tell(f"{question} [y/N] ")
    answer = sys.stdin.readline()
    if not answer:
        raise SpecError("nobody is there to answer; say --yes to remove without a question")
    return answer.strip().lower() in {"y", "yes"}


def _listing(found: Sequence[Leftover]) -> str:
    lines = [
        f"{leftover.size_bytes / 2**20:10.1f} MiB  {len(leftover.keys):6,} objects  "
        f"{leftover.prefix or '.'}  ({leftover.why})"
        for leftover in found
    ]
    return "".join(line + "\n" for line in lines)


def _say(found: Sequence[Leftover], *, removed: bool, output: str) -> None:
    if output == "json":
        listed = [
            {"prefix": one.prefix, "why": one.why, "objects": len(one.keys), "size_bytes": one.size_bytes}
            for one in found
        ]
        deliver_json({"removed": removed, "leftovers": listed})
        return
    size_mib = sum(one.size_bytes for one in found) / 2**20
    count = sum(len(one.keys) for one in found)
    if removed:
        deliver(f"removed {count:,} objects, {size_mib:.1f} MiB\n")
    else:
        deliver("nothing was removed\n" if found else "there is nothing to remove\n")
