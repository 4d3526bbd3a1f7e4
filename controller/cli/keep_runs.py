"""`lorasweep clean RUN --keep-runs N`: older runs of the sweep go, whole.

A run goes in an order that a stop at any instruction leaves sound: first a mark, then its verdict, so that no night is
compared with what is half there, then everything else, and the mark at the end. The next clean goes on where it finds
a mark.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from controller.cli.errand import Errand
from controller.cli.target import Found, find_run, naming_of, open_found, situation_of
from controller.leftovers import whole_run
from controller.local.backend import state_folder
from controller.local.family import families_folder, living_families
from controller.lock import lock_path, run_lock
from controller.names import Naming
from controller.regression.judge import stored_verdict
from controller.regression.retention import Sorted, StoredRun, sort_runs
from controller.regression.siblings import run_names
from controller.spec.file import load_spec
from controller.spec.model import Regression as Asked
from controller.states import states
from controller.stored import plan_keys
from controller.streams import deliver, deliver_json, tell
from controller.terminal import harmless
from job.contract.documents import DATA_LIMIT_BYTES
from job.contract.errors import ExitCode, NotFoundError, SpecError, SweepError, TransientError
from job.store import Keys, Store, open_store

__all__ = ["run_keep_runs"]


def run_keep_runs(args: argparse.Namespace) -> int:
    """Remove all but the newest runs of the sweep and what later nights need.

    Raises SpecError for fewer than one run, and where nobody is there to be asked.
    """
    if args.keep_runs < 1:
        raise SpecError(f"--keep-runs {args.keep_runs}: must be at least 1; `clean RUN --all` removes a run whole")
    if args.all:
        raise SpecError("--keep-runs and --all are two commands; give one of them")
    naming, asked = _sweep(args)
    runs = [_stored_run(one) for one in _runs(naming)]
    found = sort_runs(runs, keep=args.keep_runs, asked=asked)
    removed = list(_removed(found, naming)) if found.going and (args.yes or _agreed(found, naming)) else []
    _say(found, removed, output=args.output)
    return int(ExitCode.DONE)


def _sweep(args: argparse.Namespace) -> tuple[Naming, Asked | None]:
    """Which sweep is meant; a spec file names it also after it was edited."""
    path = Path(args.target)
    if path.suffix in (".yaml", ".yml") or path.is_file():
        spec = load_spec(path).spec
        return naming_of(spec, store=args.store, run=args.run), spec.regression
    errand = Errand("clean", ("--keep-runs", str(args.keep_runs)))
    run = find_run(args.target, store=args.store, run=args.run, errand=errand)
    return run.naming, open_found(run).spec.regression


def _runs(naming: Naming) -> Iterator[Naming]:
    place = f"{naming.root.rstrip('/')}/{naming.sweep}"
    for name in run_names(place):
        one = replace(naming, run=name)
        store = open_store(one.run_uri)
        if store.stat(Keys.REMOVING) is not None or plan_keys(store):
            yield one


def _stored_run(naming: Naming) -> StoredRun:
    store = open_store(naming.run_uri)
    removing = store.stat(Keys.REMOVING) is not None
    moment, complete = _reported(store)
    return StoredRun(
        run=naming.run,
        over=moment is not None and not removing and (complete or _rests(naming, store)),
        removing=removing,
        data_until=moment,
        judged=stored_verdict(store),
        named=() if removing else _named(naming, store),
    )


def _reported(store: Store) -> tuple[datetime | None, bool]:
    """When the newest result of a run came, by its report, and whether that is of all trials; None without a report."""
    try:
        report = json.loads(store.read(Keys.report("report.json"), limit_bytes=DATA_LIMIT_BYTES))
        return datetime.fromisoformat(report["data_until"]), report["state"] == "complete"
    except (NotFoundError, ValueError, KeyError, TypeError):
        return None, False


def _named(naming: Naming, store: Store) -> tuple[str, ...]:
    """Runs that the newest spec of this one is compared with by name."""
    try:
        asked = open_found(Found(naming, store, None, "lorasweep run SPEC")).spec.regression
    except SweepError:
        return ()  # a run that cannot be read is compared with nothing
    named = () if asked is None else (asked.reference, asked.anchor)
    return tuple(name for name in named if isinstance(name, str) and name != "previous")


def _rests(naming: Naming, store: Store) -> bool:
    """As `_is_over`; a run that cannot be read is none that may go."""
    try:
        return _is_over(naming, store)
    except SweepError:
        return False


def _is_over(naming: Naming, store: Store) -> bool:
    """Whether no trial is left to run: those that somebody stopped, or too many failures did, are not."""
    target = open_found(Found(naming, store, None, "lorasweep run SPEC"))
    return all(status.final for status in states(situation_of(target)).values())


def _removed(found: Sorted, naming: Naming) -> Iterator[str]:
    """The names of the runs that are gone, one by one; what is at work, or cannot be removed now, is told and stays."""
    for run in found.going:
        one = replace(naming, run=run)
        try:
            _remove(one)
        except SweepError as err:
            tell(f"{harmless(run)} stays: {harmless(str(err))}\n")
        else:
            yield run


def _remove(naming: Naming) -> None:
    uri = naming.run_uri
    store, state = open_store(uri), state_folder(os.environ, uri)
    families = families_folder(uri, state=state)
    with run_lock(lock_path(uri, environ=os.environ), run_uri=uri, now=datetime.now(UTC)):
        for family in living_families(families):
            raise TransientError(f"a process of {family.path.name} is still ending; try again in a minute")
        if store.stat(Keys.REMOVING) is None:
            _check_over(naming, store)
            store.put(Keys.REMOVING, b"{}\n")
        store.delete(Keys.report("regression.json"))
        for leftover in whole_run(store.list("")):
            for key in leftover.keys:
                if key != Keys.REMOVING:
                    store.delete(key)
        store.discard_unfinished("", before=datetime.now(UTC) + timedelta(minutes=1))
        store.delete(Keys.REMOVING)
        shutil.rmtree(state, ignore_errors=True)
        shutil.rmtree(families, ignore_errors=True)


def _check_over(naming: Naming, store: Store) -> None:
    """Raises TransientError when a trial of it is open again, as after a retry since its report."""
    if not _is_over(naming, store):
        raise TransientError("it is not finished: a trial was retried since its report")


def _agreed(found: Sorted, naming: Naming) -> bool:
    tell("".join(f"{harmless(run)}\n" for run in found.going))
    tell(f"remove these {len(found.going)} runs of {naming.sweep}, results and all? [y/N] ")
    answer = sys.stdin.readline()
    if not answer:
        raise SpecError("nobody is there to answer; say --yes to remove without a question")
    return answer.strip().lower() in {"y", "yes"}


def _say(found: Sorted, removed: list[str], *, output: str) -> None:
    if output == "json":
        kept = [{"run": one.run, "why": one.why} for one in found.kept]
        deliver_json({"removed": removed, "due": list(found.going), "kept": kept})
        return
    for one in found.kept:
        tell(f"{harmless(one.run)} stays: {one.why}\n")
    if removed:
        deliver(f"removed {len(removed)} runs: {harmless(', '.join(removed))}\n")
    else:
        deliver("nothing was removed\n" if found.going else "there is nothing to remove\n")
