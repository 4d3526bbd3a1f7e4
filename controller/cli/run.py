"""`lorasweep run SPEC`: every trial to its result, then the report."""

from __future__ import annotations

import argparse
import logging
import os
import secrets
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from controller.backend import Submission
from controller.cli.limits import limits_of
from controller.cli.site import site_of
from controller.cli.target import naming_of
from controller.cli.wishes import want_running
from controller.interrupts import Interrupts
from controller.ledger_reader import LedgerReader
from controller.names import Naming
from controller.planning.pins import check_pins
from controller.planning.plan import open_plan
from controller.planning.request import request_of
from controller.planning.reuse import earlier_adapters
from controller.reconcile import Clock, Controller, Outcome, reconcile
from controller.site import Site
from controller.spec.file import LoadedSpec, load_spec
from controller.spec.model import SweepSpec
from controller.spec.warnings import slot_warnings
from controller.states import Situation, states
from controller.streams import deliver_failure, tell
from controller.terminal import Display, display_on_stderr
from controller.watchers import Watchers
from job.contract.config import Provenance, Request
from job.contract.documents import Group, Plan
from job.contract.errors import ExitCode, StoppedError
from job.store import Store, open_store
from job.store.preflight import check_store

logger = logging.getLogger(__name__)

__all__ = ["run_run", "run_sweep"]


def run_run(args: argparse.Namespace) -> int:
    """Run the sweep of a spec file; 0 when every trial succeeded, 1 when it finished otherwise."""
    loaded = load_spec(args.spec)
    naming = naming_of(loaded.spec, store=args.store, run=args.run)
    interrupts = Interrupts()
    site = site_of(args, naming, sleep=interrupts.sleep)
    return run_sweep(loaded, naming=naming, site=site, interrupts=interrupts, repin=args.repin, output=args.output)


def run_sweep(
    loaded: LoadedSpec,
    *,
    naming: Naming,
    site: Site,
    interrupts: Interrupts,
    repin: bool = False,
    output: str = "text",
) -> int:
    """As `lorasweep run`, on any site; takes the signals over."""
    interrupts.install()
    try:
        return _run(loaded, naming=naming, site=site, repin=repin, output=output, interrupts=interrupts)
    except KeyboardInterrupt as err:
        if interrupts.wish == "stop":
            raise StoppedError("stopped by SIGTERM; run it again to go on") from err
        raise


def provenance_of(folder: Path, environ: Mapping[str, str]) -> Provenance:
    """Which code this is: the commit of the checkout that the package runs from, and the image if there is one."""
    commit = environ.get("LORASWEEP_GIT_COMMIT") or _git_commit(folder)
    return Provenance(git_commit=commit, image=environ.get("LORASWEEP_IMAGE"))


def _run(loaded: LoadedSpec, *, naming: Naming, site: Site, repin: bool, output: str, interrupts: Interrupts) -> int:
    with site.led():
        store = open_store(naming.run_uri)
        check_store(store, nonce=secrets.token_hex(8))
        plan = open_plan(store, loaded, run=naming.run, repin=repin, now=_now)
        reader = LedgerReader(store, plan)
        if _is_open(loaded.spec, plan, reader):
            check_pins(plan, loaded)
        want_running(store, spec_sha256=plan.spec_sha256, now=_now())
        display = display_on_stderr()
        try:
            outcome = _reconcile(
                loaded.spec,
                plan,
                naming=naming,
                store=store,
                reader=reader,
                site=site,
                display=display,
                interrupts=interrupts,
            )
        finally:
            display.close()
        return _finish(outcome, loaded, naming=naming, store=store, plan=plan, output=output)


def _is_open(spec: SweepSpec, plan: Plan, reader: LedgerReader) -> bool:
    """Whether a trial has neither a result nor failed for good, so that a process may start."""
    limits = limits_of(spec.execution, capacity=1)
    statuses = states(Situation(plan, reader.read(live=()), observed=None, limits=limits, now=_now()))
    return any(status.state not in {"succeeded", "failed"} for status in statuses.values())


def _reconcile(
    spec: SweepSpec,
    plan: Plan,
    *,
    naming: Naming,
    store: Store,
    reader: LedgerReader,
    site: Site,
    display: Display,
    interrupts: Interrupts,
) -> Outcome:
    provenance = provenance_of(Path(__file__).resolve().parent, os.environ)
    earlier = earlier_adapters(store, plan)

    def make_request(trial_ids: tuple[str, ...], adapters: Mapping[str, str]) -> Request:
        group = Group(group_id="-".join(trial_ids[:1]), trial_ids=trial_ids)
        return request_of(spec, plan, group, provenance=provenance, adapters={**earlier, **adapters})

    with site.opened(_largest(plan, naming, make_request), gpus=spec.execution.gpus) as backend:
        limits = limits_of(spec.execution, capacity=backend.capacity, canary=site.canary)
        display.say(
            f"{plan.sweep}: {len(plan.trials)} trials, {limits.parallelism} at a time, kept in {naming.run_uri}"
        )
        for warning in (*slot_warnings(spec.execution, slots=backend.capacity), *plan.warnings):
            display.say(f"warning: {warning}")
        controller = Controller(
            plan=plan,
            naming=naming,
            store=store,
            reader=reader,
            backend=backend,
            limits=limits,
            make_request=make_request,
            watcher=Watchers((display, *site.watchers())),
            clock=Clock(now=_now, monotonic=time.monotonic, sleep=interrupts.sleep),
            wish=lambda: interrupts.wish,
        )
        with interrupts.held():
            try:
                return reconcile(controller)
            except KeyboardInterrupt:
                if not backend.outlives_controller:
                    for seen in backend.observe():
                        backend.kill(seen.name)
                raise


def _largest(plan: Plan, naming: Naming, make_request: Callable[..., Request]) -> Submission:
    """The submission that asks for most: one that trains, where there is one."""
    kinds = {trial.trial_id: trial.kind for trial in plan.trials}
    group = max(plan.groups, key=lambda group: any(kinds[trial_id] == "lora" for trial_id in group.trial_ids))
    return Submission(
        name=naming.submission(group.trial_ids, 1),
        number=1,
        group_id=group.group_id,
        request=make_request(group.trial_ids, {}),
    )


def _finish(outcome: Outcome, loaded: LoadedSpec, *, naming: Naming, store: Store, plan: Plan, output: str) -> int:
    if outcome.kind != "settled":
        from controller.cli.ending import interruption

        said = interruption(outcome, naming=naming, resume=shlex.join(["lorasweep", *sys.argv[1:]]))
        code = ExitCode.STOPPED if outcome.kind == "stop" else ExitCode.INTERRUPTED
        tell(said)
        if output == "json":
            deliver_failure(code, said)
        return int(code)
    # jinja2 and numpy cost a third of a second, which a person would wait for before the first line of progress.
    from controller.cli.ending import as_reported, write_outcome
    from controller.report.write import write_report

    report = write_report(store, plan=plan, spec_text=loaded.text)
    outcome = replace(outcome, statuses=as_reported(outcome.statuses, report))
    write_outcome(outcome, report, plan=plan, naming=naming, output=output)
    succeeded = all(status.state == "succeeded" for status in outcome.statuses.values())
    return int(ExitCode.DONE if succeeded else ExitCode.FINISHED_WITH_FAILURES)


def _git_commit(folder: Path) -> str | None:
    if not (folder.parent / ".git").exists():
        return None
    try:
        found = subprocess.run(
            ["git", "-C", str(folder), "rev-parse", "HEAD"],  # noqa: S607  (git is wherever the person has it)
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip()


def _now() -> datetime:
    return datetime.now(UTC)
