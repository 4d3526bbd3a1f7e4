"""`lorasweep preflight SPEC`: whether a run would be taken where it is to run. Makes nothing that stays."""

from __future__ import annotations

import argparse
import os
import secrets
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from controller.cli.site import cluster_of, run_name_of
from controller.cli.target import naming_of
from controller.names import Naming
from controller.planning.largest import largest_submission
from controller.planning.memory import estimate_text, largest_estimate
from controller.planning.model_shape import model_shape
from controller.planning.plan import preview_plan
from controller.planning.request import execution_of
from controller.provenance import provenance_of
from controller.spec.file import LoadedSpec, load_spec
from controller.streams import deliver, deliver_json
from job.contract.checks import Check, failure, refused
from job.contract.documents import Plan
from job.contract.errors import ExitCode, SweepError
from job.sources.description import describe_model
from job.sources.hashes import default_cache
from job.store import open_store
from job.store.preflight import check_store

__all__ = ["run_preflight"]


def run_preflight(args: argparse.Namespace) -> int:
    """Look at store, sources and cluster; 0 when nothing failed, 75 when what failed may pass by itself, else 78."""
    loaded = load_spec(args.spec)
    naming = naming_of(loaded.spec, store=args.store, run=run_name_of(args))
    checks = list(_checks(args, loaded, naming))
    error = refused(checks)
    if args.output == "json":
        found = [{"name": check.name, "outcome": check.outcome, "text": check.text} for check in checks]
        deliver_json({"ok": error is None, "checks": found})
    else:
        deliver("".join(f"{check.outcome:<11}  {check.name}: {check.text}\n" for check in checks))
    return int(ExitCode.DONE if error is None else error.exit_code)


def _checks(args: argparse.Namespace, loaded: LoadedSpec, naming: Naming) -> Iterator[Check]:
    store = open_store(naming.run_uri)
    yield from check_store(store, nonce=secrets.token_hex(8), now=_now)
    try:
        plan = preview_plan(store, loaded, run=naming.run, repin=args.repin, now=_now).plan
    except SweepError as err:
        yield failure("sources", err)
        return
    yield Check("sources", "ok", f"model {plan.model.digest}, data {plan.data.digest}")
    yield _gpu_memory(loaded, plan)
    if args.backend == "kubernetes":
        yield from _cluster_checks(args, loaded, naming, plan=plan)


def _gpu_memory(loaded: LoadedSpec, plan: Plan) -> Check:
    name = "GPU memory"
    if not loaded.spec.execution.gpus:
        return Check(name, "not checked", "no GPU is asked for (execution.gpus)")
    try:
        described = describe_model(plan.model, cache=default_cache())
        shape = model_shape(described.config, weight_bytes=described.weight_bytes)
    except SweepError as err:
        return Check(name, "not checked", str(err))
    largest = largest_estimate(plan.trials, shape=shape, execution=execution_of(loaded.spec))
    if largest is None:
        return Check(name, "not checked", "no trial asks a model")
    return Check(name, "ok", estimate_text(largest))


def _cluster_checks(args: argparse.Namespace, loaded: LoadedSpec, naming: Naming, *, plan: Plan) -> Iterator[Check]:
    from controller.kube.site import cluster_checks

    address, settings = cluster_of(args)
    provenance = provenance_of(Path(__file__).resolve().parents[1], os.environ)
    sample = largest_submission(loaded.spec, plan, naming=naming, provenance=provenance)
    gpus = loaded.spec.execution.gpus
    yield from cluster_checks(naming, address=address, settings=settings, sample=sample, gpus=gpus, now=_now)


def _now() -> datetime:
    return datetime.now(UTC)
