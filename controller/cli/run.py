"""`lorasweep run SPEC`: every trial to its result, then the report."""

from __future__ import annotations

import argparse
import os
import secrets
import shlex
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from controller.backend import PlaceEndingError
from controller.cli.limits import limits_of
from controller.cli.place import place_of
from controller.cli.site import run_name_of, site_of
from controller.cli.target import naming_of
from controller.cli.wishes import want_more, want_running
from controller.clock import steady_clock
from controller.interrupts import Interrupts
from controller.ledger_reader import LedgerReader
from controller.names import Naming
from controller.planning.group import part_of
from controller.planning.largest import largest_submission
from controller.planning.pins import check_pins
from controller.planning.plan import open_plan
from controller.planning.request import request_of
from controller.planning.reuse import earlier_adapters
from controller.program import program
from controller.provenance import provenance_of
from controller.reconcile import Clock, Controller, Outcome, Watcher, reconcile
from controller.regression.more import continued, note_widened, widened
from controller.regression.siblings import sibling
from controller.site import Site
from controller.spec.file import LoadedSpec, load_spec
from controller.spec.model import SweepSpec
from controller.spec.warnings import slot_warnings
from controller.states import Situation, states
from controller.stored import plan_keys
from controller.streams import deliver_failure, tell
from controller.terminal import Display, display_on_stderr
from controller.watchers import Watchers
from job.contract.checks import refused, warnings
from job.contract.config import Provenance, Request
from job.contract.documents import Plan
from job.contract.errors import ExitCode, SpecError, StoppedError
from job.store import Keys, Store, open_store
from job.store.preflight import check_store

if TYPE_CHECKING:
    from controller.metrics import Metrics

__all__ = ["SweepRun", "run_run"]

_IN_CLUSTER = "KUBERNETES_SERVICE_HOST"
# The chart names the controller's own Job here. Its pods come and go, and what a person wished for is to stay.
_JOB_UID = "LORASWEEP_JOB_UID"


def run_run(args: argparse.Namespace) -> int:
    """Run the sweep of a spec file; 0 when every trial succeeded, 1 when it finished otherwise or has regressed."""
    loaded = load_spec(args.spec)
    naming = naming_of(loaded.spec, store=args.store, run=run_name_of(args))
    interrupts, now = Interrupts(), steady_clock()
    with _metrics(args, naming, interrupts) as metrics:
        site = site_of(
            args,
            naming,
            now=now,
            sleep=interrupts.sleep,
            count_request=None if metrics is None else metrics.count_request,
        )
        watchers = () if metrics is None else (metrics,)
        run = SweepRun(loaded, naming, site, interrupts, watchers, now=now, repin=args.repin, output=args.output)
        return run.whole()


@contextmanager
def _metrics(args: argparse.Namespace, naming: Naming, interrupts: Interrupts) -> Iterator[Metrics | None]:
    """Inside, Prometheus can read; and for a while after the end, or it would not see how it ended.

    An error is told at once, and a signal ends the stay: the run is over, and its exit code is known.
    """
    if args.metrics_port is None:
        yield None
        return
    from controller.metrics import Metrics

    metrics = Metrics(sweep=naming.sweep, run=naming.run, git_commit=_provenance().git_commit)
    # In a pod, Prometheus comes from outside; on a machine of one's own, nobody should.
    address = "" if _IN_CLUSTER in os.environ else "127.0.0.1"
    with metrics.served(port=args.metrics_port, address=address):
        yield metrics
        if interrupts.wish is None:
            with suppress(KeyboardInterrupt):
                interrupts.sleep(args.metrics_linger_s)


@dataclass(frozen=True)
class SweepRun:
    """One `lorasweep run`."""

    loaded: LoadedSpec
    naming: Naming
    site: Site
    interrupts: Interrupts
    watchers: tuple[Watcher, ...] = ()
    now: Callable[[], datetime] = field(default_factory=steady_clock)
    repin: bool = False
    output: str = "text"

    def whole(self) -> int:
        """From lock to report, with the signals taken over; gives the exit code."""
        self.interrupts.install()
        try:
            return self._led()
        except KeyboardInterrupt as err:
            if self.interrupts.wish == "stop":
                raise StoppedError("stopped by SIGTERM; run it again to go on") from err
            raise

    def _led(self) -> int:
        with self.site.led():
            store = open_store(self.naming.run_uri)
            _check_store(store)
            _check_runs(store, self.loaded.spec, naming=self.naming)
            run = replace(self, loaded=continued(store, self.loaded))
            plan = run._planned(store)
            code = run._pursued(store, plan, again=False)
            if code is not None:
                return code
            wide = replace(run, loaded=widened(run.loaded, run=self.naming.run), repin=False)
            plan = wide._planned(store)
            note_widened(store, self.loaded, wide.loaded)
            tell(f"a regression is suspected: {len(plan.trials)} trials with more seeds will decide\n")
            return wide._pursued(store, plan, again=True) or int(ExitCode.DONE)

    def _planned(self, store: Store) -> Plan:
        return open_plan(
            store,
            self.loaded,
            run=self.naming.run,
            repin=self.repin,
            place=place_of(self.site.kind, gpus=self.loaded.spec.execution.gpus),
            now=_now,
        )

    def _wished(self, store: Store, plan: Plan, *, again: bool) -> bool:
        """Say in the store that this plan is to run; gives whether that ends a pause.

        A plan that follows by itself, `again`, leaves a pause or a stop as it is.
        """
        if again:
            want_more(store, spec_sha256=plan.spec_sha256)
            return False
        job = os.environ.get(_JOB_UID) or None
        return want_running(store, spec_sha256=plan.spec_sha256, now=_now(), begun_by=job)

    def _pursued(self, store: Store, plan: Plan, *, again: bool) -> int | None:
        """The exit code of the plan, once it is settled or left; None where a suspicion asks for more seeds."""
        reader = LedgerReader(store, plan)
        if self._is_open(plan, reader):
            check_pins(plan, self.loaded)
        resumed = self._wished(store, plan, again=again)
        display = display_on_stderr(self.naming.run_uri)
        if resumed:
            display.say("the run was paused; it goes on")
        watcher = Watchers((display, *self.watchers, *self.site.watchers(self.loaded.spec.objective)))
        try:
            outcome = self._reconcile(plan, store=store, reader=reader, display=display, watcher=watcher)
        except PlaceEndingError as err:
            raise self._part_reported(err, plan=plan, store=store) from err
        finally:
            display.close()
        return self._finish(outcome, plan=plan, store=store, watcher=watcher)

    def _is_open(self, plan: Plan, reader: LedgerReader) -> bool:
        """Whether a trial has neither a result nor failed for good, so that a process may start."""
        limits = limits_of(self.loaded.spec.execution, capacity=1)
        statuses = states(Situation(plan, reader.read(live=()), observed=None, limits=limits, now=_now()))
        return any(status.state not in {"succeeded", "failed"} for status in statuses.values())

    def _reconcile(
        self, plan: Plan, *, store: Store, reader: LedgerReader, display: Display, watcher: Watcher
    ) -> Outcome:
        make_request = self._requests(plan, store)
        execution = self.loaded.spec.execution
        largest = largest_submission(self.loaded.spec, plan, naming=self.naming, provenance=_provenance())
        with self.site.opened(largest, gpus=execution.gpus) as backend:
            limits = limits_of(execution, capacity=backend.capacity, canary=self.site.canary)
            many = f"{len(plan.trials)} trials, {limits.parallelism} at a time"
            display.say(f"{plan.sweep}: {many}, kept in {self.naming.run_uri}")
            for warning in (*slot_warnings(execution, slots=backend.capacity), *plan.warnings):
                display.say(f"warning: {warning}")
            controller = Controller(
                plan=plan,
                naming=self.naming,
                store=store,
                reader=reader,
                backend=backend,
                limits=limits,
                make_request=make_request,
                watcher=watcher,
                clock=Clock(now=self.now, monotonic=time.monotonic, sleep=self.interrupts.sleep),
                wish=lambda: self.interrupts.wish,
            )
            with self.interrupts.held():
                try:
                    return reconcile(controller)
                except KeyboardInterrupt:
                    if not backend.outlives_controller:
                        for seen in backend.observe():
                            backend.kill(seen.name)
                    raise

    def _requests(self, plan: Plan, store: Store) -> Callable[[tuple[str, ...], Mapping[str, str]], Request]:
        """What makes the request of some trials, given the adapters that exist among this run's own results."""
        provenance, earlier = _provenance(), earlier_adapters(store, plan)

        def make_request(trial_ids: tuple[str, ...], adapters: Mapping[str, str]) -> Request:
            found, group = {**earlier, **adapters}, part_of(plan, trial_ids)
            return request_of(self.loaded.spec, plan, group, provenance=provenance, adapters=found)

        return make_request

    def _finish(self, outcome: Outcome, *, plan: Plan, store: Store, watcher: Watcher) -> int | None:
        if outcome.kind != "settled":
            return self._leave(outcome)
        # jinja2 and numpy cost a third of a second, which a person would wait for before the first line of progress.
        from controller.cli.ending import as_reported, conclusion_of, write_outcome
        from controller.cli.paging import page
        from controller.report.write import write_report

        report = write_report(store, plan=plan, spec_text=self.loaded.text)
        if report.regression is not None and report.regression.status == "suspicion":
            return None
        outcome = replace(outcome, statuses=as_reported(outcome.statuses, report))
        watcher.concluded(conclusion_of(outcome, report, naming=self.naming))
        write_outcome(outcome, report, plan=plan, naming=self.naming, output=self.output)
        page(report.regression, spec=self.loaded.spec, store=store, sleep=self.interrupts.sleep)
        succeeded = all(status.state == "succeeded" for status in outcome.statuses.values())
        regressed = report.regression is not None and report.regression.status == "regression"
        return int(ExitCode.DONE if succeeded and not regressed else ExitCode.FINISHED_WITH_FAILURES)

    def _part_reported(self, err: PlaceEndingError, *, plan: Plan, store: Store) -> PlaceEndingError:
        """The same, with where the report of what is finished is."""
        from controller.report.write import write_report

        write_report(store, plan=plan, spec_text=self.loaded.text)
        return PlaceEndingError(f"{err}. Report of what is finished: {store.uri}/{Keys.report('report.html')}")

    def _leave(self, outcome: Outcome) -> int:
        from controller.cli.ending import interruption

        resume = shlex.join([*program(), *sys.argv[1:]])
        said = interruption(outcome, naming=self.naming, resume=resume, kind=self.site.kind)
        code = ExitCode.STOPPED if outcome.kind == "stop" else ExitCode.INTERRUPTED
        tell(said)
        if self.output == "json":
            deliver_failure(code, said)
        return int(code)


def _check_runs(store: Store, spec: SweepSpec, *, naming: Naming) -> None:
    """Raises SpecError where this run is half removed, or a run that it is to be compared with is not there."""
    if store.stat(Keys.REMOVING) is not None:
        raise SpecError(
            f"run {naming.run}: a clean was cut short while it removed this run; finish it with `lorasweep clean "
            f"{naming.run_uri} --keep-runs N`, or name another one with --run"
        )
    asked = spec.regression
    if asked is None:
        return
    for part, name in (("reference", asked.reference), ("anchor", asked.anchor)):
        named = isinstance(name, str) and name not in {"previous", naming.run}
        if named and not plan_keys(sibling(store, str(name))):
            raise SpecError(
                f"regression.{part}: no run {name!r} beside {naming.run_uri}, so that nothing would be compared with "
                "it; name one that is there, or leave the field out"
            )


def _check_store(store: Store) -> None:
    checks = check_store(store, nonce=secrets.token_hex(8), now=_now)
    if (error := refused(checks)) is not None:
        raise error
    for warning in warnings(checks):
        tell(f"warning: {warning}\n")


def _provenance() -> Provenance:
    return provenance_of(Path(__file__).resolve().parents[1], os.environ)


def _now() -> datetime:
    return datetime.now(UTC)
