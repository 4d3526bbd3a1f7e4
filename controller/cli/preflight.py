"""`lorasweep preflight SPEC`: whether a run would be taken where it is to run. Makes nothing that stays."""

from __future__ import annotations

import argparse
import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from controller.backend import Submission
from controller.cli.place import place_of
from controller.cli.site import cluster_of, run_name_of
from controller.cli.target import naming_of
from controller.interrupts import Interrupts
from controller.names import Naming
from controller.planning.largest import largest_submission
from controller.planning.memory import estimate_text, largest_estimate
from controller.planning.model_shape import model_shape
from controller.planning.plan import preview_plan
from controller.planning.request import execution_of
from controller.provenance import provenance_of
from controller.spec.file import LoadedSpec, load_spec
from controller.streams import deliver, deliver_json, tell
from job.contract.checks import Check, failure, refused
from job.contract.documents import Plan
from job.contract.errors import ExitCode, StoppedError, SweepError
from job.sources.description import describe_model
from job.sources.hashes import default_cache
from job.store import open_store
from job.store.preflight import check_store

__all__ = ["run_preflight"]


def run_preflight(args: argparse.Namespace) -> int:
    """Look at store, sources and cluster; 0 when nothing failed, 75 when what failed may pass by itself, else 78."""
    loaded = load_spec(args.spec)
    naming = naming_of(loaded.spec, store=args.store, run=run_name_of(args))
    interrupts = Interrupts()
    interrupts.install()  # a canary is taken away again, whatever ends this
    look = _Look(args, loaded, naming, interrupts)
    checks: list[Check] = []
    try:
        for check in look.checks():
            checks.append(check)
            if args.output != "json":
                deliver(f"{check.outcome:<11}  {check.name}: {check.text}\n")
    except KeyboardInterrupt as err:
        if interrupts.wish == "stop":
            raise StoppedError("stopped by SIGTERM; nothing was left behind") from err
        raise
    error = refused(checks)
    if args.output == "json":
        found = [{"name": check.name, "outcome": check.outcome, "text": check.text} for check in checks]
        deliver_json({"ok": error is None, "checks": found})
    return int(ExitCode.DONE if error is None else error.exit_code)


@dataclass(frozen=True)
class _Look:
    """One `lorasweep preflight`."""

    args: argparse.Namespace
    loaded: LoadedSpec
    naming: Naming
    interrupts: Interrupts

    def checks(self) -> Iterator[Check]:
        """One after the other. The canary comes last, where all else is well: it would fail by the same."""
        store = open_store(self.naming.run_uri)
        found = list(check_store(store, nonce=secrets.token_hex(8), now=_now))
        yield from found
        try:
            plan = preview_plan(
                store,
                self.loaded,
                run=self.naming.run,
                repin=self.args.repin,
                place=place_of(self.args.backend, gpus=self.loaded.spec.execution.gpus),
                now=_now,
            ).plan
        except SweepError as err:
            yield failure("sources", err)
            return
        yield Check("sources", "ok", f"model {plan.model.digest}, data {plan.data.digest}")
        yield _gpu_memory(self.loaded, plan)
        provenance = provenance_of(Path(__file__).resolve().parents[1], os.environ)
        sample = largest_submission(self.loaded.spec, plan, naming=self.naming, provenance=provenance)
        if self.args.backend == "kubernetes":
            for check in self._of_cluster(sample):
                found.append(check)
                yield check
        if not self.args.canary:
            return
        if refused(found) is not None:
            yield Check("canary", "not checked", "it would find the same; mend what failed above first")
        elif self.args.backend == "kubernetes":
            yield from self._pod(sample)
        else:
            yield from self._child(sample)

    def _of_cluster(self, sample: Submission) -> Iterator[Check]:
        from controller.kube.site import cluster_checks

        address, settings = cluster_of(self.args)
        gpus = self.loaded.spec.execution.gpus
        yield from cluster_checks(self.naming, address=address, settings=settings, sample=sample, gpus=gpus, now=_now)

    def _pod(self, sample: Submission) -> tuple[Check, ...]:
        from controller.kube.canary import Canary
        from controller.kube.manifest import canary_manifest
        from controller.kube.run_object import release_owner
        from controller.kube.site import open_api

        address, settings = cluster_of(self.args)
        api = open_api(address, settings.api)
        manifest = canary_manifest(
            sample,
            settings=settings,
            naming=self.naming,
            namespace=api.namespace,
            gpus=self.loaded.spec.execution.gpus,
            release=None if address.release is None else release_owner(api, address.release),
        )
        canary = Canary(api, sample, now=_now, sleep=self.interrupts.sleep, say=lambda text: tell(f"{text}\n"))
        return canary.checks(manifest)

    def _child(self, sample: Submission) -> tuple[Check, ...]:
        from controller.local.canary import local_canary

        gpus = self.loaded.spec.execution.gpus
        return local_canary(sample, run_uri=self.naming.run_uri, gpus=gpus, environ=os.environ)


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


def _now() -> datetime:
    return datetime.now(UTC)
