"""`lorasweep evaluate RUN`: the adapters of a run scored by other metrics or a changed spec; nothing is trained."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from controller.cli.place import place_of
from controller.cli.run import SweepRun
from controller.cli.site import site_of
from controller.cli.target import is_spec_file, naming_of, open_target
from controller.clock import steady_clock
from controller.interrupts import Interrupts
from controller.names import Naming
from controller.planning.plan import earlier_plans, preview_plan
from controller.planning.reuse import without_adapter
from controller.site import Site
from controller.spec.file import LoadedSpec, load_spec
from controller.spec.scored_by import scored_by
from job.contract.errors import NotFoundError, SpecError
from job.contract.metric_names import names_of
from job.store import open_store

__all__ = ["run_evaluate"]


class _Asked(NamedTuple):
    """What to score, and where its adapters are."""

    loaded: LoadedSpec
    naming: Naming


def run_evaluate(args: argparse.Namespace) -> int:
    """Score what exists; 0 when every trial succeeded, 1 when it finished otherwise.

    Raises SpecError, before anything is written, for a metric that is not installed, and when a trial would have to be
    trained; NotFoundError where no run is.
    """
    if args.run_from_job is not None:
        raise SpecError("--run-from-job names a new run, and evaluate scores one that is there; name it with --run")
    asked = _asked(args)
    interrupts, now = Interrupts(), steady_clock()
    site = site_of(args, asked.naming, now=now, sleep=interrupts.sleep, count_request=None)
    _check_adapters(asked, site)
    return SweepRun(asked.loaded, asked.naming, site, interrupts, now=now, output=args.output).whole()


def _asked(args: argparse.Namespace) -> _Asked:
    names_of(args.metric or ())
    if is_spec_file(args.target):
        loaded = load_spec(Path(args.target))
        naming = naming_of(loaded.spec, store=args.store, run=args.run)
    else:
        target = open_target(args.target, store=args.store, run=args.run)
        loaded, naming = target.loaded, target.naming
    if args.metric:
        return _Asked(scored_by(loaded, args.metric), naming)
    if loaded.spec.regression is not None:
        raise SpecError(
            "regression: evaluate judges no night, and what later nights are compared with stays as it was; leave "
            "`regression` out of the spec"
        )
    return _Asked(loaded, naming)


def _check_adapters(asked: _Asked, site: Site) -> None:
    store, spec = open_store(asked.naming.run_uri), asked.loaded.spec
    if not earlier_plans(store):
        raise NotFoundError(f"{asked.naming.run_uri}: no run there, and so nothing to score; train it with `run` first")
    plan = preview_plan(
        store,
        asked.loaded,
        run=asked.naming.run,
        place=place_of(site.kind, gpus=spec.execution.gpus),
        now=lambda: datetime.now(UTC),
    ).plan
    if untrained := without_adapter(store, plan):
        first = untrained[0]
        others = f" and {len(untrained) - 1} more trials have" if len(untrained) > 1 else " has"
        raise SpecError(
            f"{first.letter} ({first.label}, seed {first.seed}){others} no adapter in {asked.naming.run_uri}, and "
            "evaluate trains nothing: change generation and evaluation alone, or train it with `lorasweep run`"
        )
