"""`lorasweep clean RUN`: remove what a run no longer needs, or with --all the whole run."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from controller.cli.errand import Errand
from controller.cli.keep_runs import run_keep_runs
from controller.cli.target import Target, find_run, open_found, situation_of
from controller.foreign import foreign_names
from controller.leftovers import Leftover, leftovers, whole_run
from controller.local.backend import state_folder
from controller.local.family import families_folder, living_families
from controller.lock import lock_path, run_lock
from controller.streams import deliver, deliver_json, tell
from controller.terminal import harmless
from job.contract.errors import ExitCode, SpecError, TransientError
from job.store import Keys, Store

__all__ = ["run_clean"]

_UNFINISHED = timedelta(days=1)  # a writer that has not finished within a day was killed
_LISTED = 20


def run_clean(args: argparse.Namespace) -> int:
    """List what can go, ask, remove it. Raises TransientError while a controller or a process works on the run."""
    if args.keep_runs is not None:
        return run_keep_runs(args)
    errand = Errand("clean", ("--all" if args.all else None,))
    run = find_run(args.target, store=args.store, run=args.run, errand=errand)
    uri = run.naming.run_uri
    state = state_folder(os.environ, uri)
    families = families_folder(uri, state=state)
    with run_lock(lock_path(uri, environ=os.environ), run_uri=uri, now=datetime.now(UTC)):
        for family in living_families(families):
            raise TransientError(f"{uri}: a process of {family.path.name} is still ending; try again in a minute")
        found = whole_run(run.store.list("")) if args.all else _leftovers(open_found(run))
        foreign = foreign_names(run.store) if args.all else ()
        removed = bool(found) and (args.yes or _agreed(found, whole=args.all, uri=uri))
        if removed:
            _remove(run.store, found, unfinished_before=datetime.now(UTC) - (timedelta() if args.all else _UNFINISHED))
            if args.all:
                shutil.rmtree(state, ignore_errors=True)
                shutil.rmtree(families, ignore_errors=True)
    _say(found, foreign, removed=removed, output=args.output)
    return ExitCode.DONE


def _leftovers(target: Target) -> tuple[Leftover, ...]:
    return leftovers(target.plan, situation_of(target).ledger, target.store.list(Keys.TRIALS))


def _remove(store: Store, found: Sequence[Leftover], *, unfinished_before: datetime) -> None:
    for leftover in found:
        for key in leftover.keys:
            store.delete(key)
    store.discard_unfinished("", before=unfinished_before)


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


def _say(found: Sequence[Leftover], foreign: Sequence[str], *, removed: bool, output: str) -> None:
    if output == "json":
        listed = [
            {"prefix": one.prefix, "why": one.why, "objects": len(one.keys), "size_bytes": one.size_bytes}
            for one in found
        ]
        deliver_json({"removed": removed, "leftovers": listed, "foreign": list(foreign)})
        return
    size_mib = sum(one.size_bytes for one in found) / 2**20
    count = sum(len(one.keys) for one in found)
    if removed:
        deliver(f"removed {count:,} objects, {size_mib:.1f} MiB\n")
    else:
        deliver("nothing was removed\n" if found else "there is nothing to remove\n")
    if foreign:
        more = f" and {len(foreign) - _LISTED:,} more" if len(foreign) > _LISTED else ""
        tell(f"left alone, as lorasweep did not write it: {harmless(', '.join(foreign[:_LISTED]))}{more}\n")
