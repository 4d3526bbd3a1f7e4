"""validate, plan, schema: what a spec asks for, before anything is created."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from controller.planning.configurations import count
from controller.planning.expand import Pins
from controller.planning.plan import make_plan
from controller.spec.file import LoadedSpec, load_spec
from controller.spec.model import SweepSpec
from controller.spec.warnings import warnings_of
from controller.streams import deliver, deliver_json, tell
from job.contract.config import Source
from job.contract.documents import Plan
from job.contract.errors import ExitCode

__all__ = ["run_plan", "run_schema", "run_validate"]

# Beyond, requests are sized by `plan` alone: `validate` is to answer at once.
_SIZED_TRIALS = 2_000
_NAMED_DUPLICATES = 5


def run_validate(args: argparse.Namespace) -> int:
    """Check the spec; a summary on stdout, warnings on stderr. Raises SpecError with every mistake in it."""
    loaded = load_spec(args.spec)
    plan = _sized(loaded)
    warnings = [*warnings_of(loaded.spec), *_missing_places(loaded)]
    if args.output == "json":
        counts = _counts(loaded.spec, plan)
        deliver_json({"ok": True, **counts, "sha256": loaded.sha256, "warnings": warnings})
    else:
        deliver(f"ok: {_counted(loaded.spec, plan)}\n")
    _warn(warnings)
    return ExitCode.DONE


def run_plan(args: argparse.Namespace) -> int:
    """Say what `lorasweep run` with the same arguments would do; writes nothing."""
    from controller.cli.place import place_of
    from controller.cli.target import naming_of
    from controller.planning.outlook import outlook_of
    from controller.planning.outlook_text import outlook_text
    from controller.planning.pins import check_pins
    from controller.planning.plan import preview_plan
    from job.store import open_store

    loaded = load_spec(args.spec)
    naming = naming_of(loaded.spec, store=args.store, run=args.run)
    store = open_store(naming.run_uri)
    preview = preview_plan(
        store,
        loaded,
        run=naming.run,
        repin=args.repin,
        place=place_of(args.backend, gpus=loaded.spec.execution.gpus),
        now=lambda: datetime.now(UTC),
    )
    outlook = outlook_of(
        loaded.spec, preview, store=store, naming=naming, slots=_slots(loaded.spec, backend=args.backend)
    )
    if preview.stored and outlook.counts.new:
        check_pins(preview.plan, loaded)
    if args.output == "json":
        deliver_json(outlook.model_dump(mode="json"))
    else:
        deliver(outlook_text(outlook))
    _warn(outlook.warnings)
    return ExitCode.DONE


def run_schema(args: argparse.Namespace) -> int:
    """Print the JSON Schema of a spec, or of report.json; `args.output` makes no difference."""
    from controller.report.schema import report_schema_text
    from controller.spec.schema import schema_text

    deliver(report_schema_text() if args.report else schema_text())
    return ExitCode.DONE


def _slots(spec: SweepSpec, *, backend: str) -> int:
    """How many trials can run at a time; in a cluster, as many as are asked for."""
    from controller.local.slots import find_slots

    wanted = spec.execution.parallelism
    if wanted == 1 or backend != "local":  # for the sake of one, a driver that sleeps is not woken
        return wanted
    return len(find_slots(os.environ, gpus=spec.execution.gpus))


def _sized(loaded: LoadedSpec) -> Plan | None:
    """The plan with placeholders for digests, as sources stay unread; None for very many trials.

    Raises SpecError for a trial whose request would be too large.
    """
    if count(loaded.spec) > _SIZED_TRIALS:
        return None
    nowhere = Source(kind="path", location="/", digest="sha256:" + "0" * 64)
    return make_plan(loaded, pins=Pins(nowhere, nowhere), earlier=[], run="main", now=datetime.now(UTC))


def _counts(spec: SweepSpec, plan: Plan | None) -> dict[str, object]:
    """Trials that would run, and configurations that are listed once more; of very many only how many are listed."""
    if plan is None:
        return {"trials": count(spec), "duplicates": None}
    return {"trials": len(plan.trials), "duplicates": list(plan.duplicates)}


def _counted(spec: SweepSpec, plan: Plan | None) -> str:
    total = count(spec) if plan is None else len(plan.trials)
    most = "at most " if plan is None else ""
    trials = f"{most}{total:,} trial{'' if total == 1 else 's'}, {spec.vary.seed_count:,} of each trained configuration"
    if plan is None or not plan.duplicates:
        return trials
    more = len(plan.duplicates) - _NAMED_DUPLICATES
    rest = f" and {more:,} more" if more > 0 else ""
    return f"{trials}; listed again and run once: {'; '.join(plan.duplicates[:_NAMED_DUPLICATES])}{rest}"


def _missing_places(loaded: LoadedSpec) -> list[str]:
    """A warning for each local place of the spec that is not there yet; hub ids and s3:// are not looked up."""
    places = {"model.id": loaded.spec.model.id, "data.source": loaded.spec.data.source}
    return [
        f"{field}: {place} does not exist; `plan` and `run` need it"
        for field, place in places.items()
        if place.startswith(("./", "../", "/", "~")) and not _exists(place, folder=loaded.folder)
    ]


def _exists(place: str, *, folder: Path) -> bool:
    try:
        return (folder / Path(place).expanduser()).exists()
    except (OSError, RuntimeError):  # no rights, a name too long, ~ of nobody
        return False


def _warn(warnings: Sequence[str]) -> None:
    for warning in warnings:
        tell(f"warning: {warning}\n")
