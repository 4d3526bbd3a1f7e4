"""A spec to the plan that every restart reads: pinned sources, trials, groups."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from controller.planning.base_model import BaseModel, look_at_model
from controller.planning.expand import Pins, expand
from controller.planning.group import Packing, group
from controller.planning.place import CLUSTER, Place
from controller.planning.request import TRIALS_LIMIT_BYTES, execution_of, request_of
from controller.spec.file import LoadedSpec, parse_spec
from controller.spec.model import SweepSpec
from controller.stored import plan_keys, read_stored, read_stored_plan
from job.contract.config import IDENTITY_VERSION
from job.contract.documents import DATA_LIMIT_BYTES, Group, Plan, to_json
from job.contract.errors import ConflictError, SpecError
from job.store import Keys, Store

if TYPE_CHECKING:
    from controller.planning.pins import Earlier

__all__ = ["Preview", "earlier_plans", "make_plan", "open_plan", "preview_plan"]

_UNSEEN = BaseModel()


def make_plan(
    loaded: LoadedSpec,
    *,
    pins: Pins,
    earlier: Sequence[Plan],
    run: str,
    now: datetime,
    model: BaseModel = _UNSEEN,
    place: Place = CLUSTER,
) -> Plan:
    """The plan of `loaded` with these pins; groups of `earlier` plans are kept where their trials are still wanted.

    `place` is where its Jobs will run.

    Raises SpecError for too many trials, and for one whose request is too large.
    """
    spec = loaded.spec
    expansion = expand(spec, pins, run=run)
    packing = Packing(
        trials_per_job=spec.execution.trials_per_job or place.trials_per_job,
        packed=_packs(spec),
        model=model,
        execution=execution_of(spec),
        at_a_time=min(spec.execution.parallelism, place.at_a_time or spec.execution.parallelism),
        has_gpu=place.has_gpus and spec.execution.gpus > 0,
    )
    groups = group(expansion.trials, packing=packing, earlier=_groups(earlier), limit_bytes=TRIALS_LIMIT_BYTES)
    plan = Plan(
        identity_version=IDENTITY_VERSION,
        spec_sha256=loaded.sha256,
        sweep=spec.name,
        run=run,
        model=pins.model,
        data=pins.data,
        groups=groups,
        trials=expansion.trials,
        duplicates=expansion.duplicates,
        warnings=expansion.warnings,
        created_at=now,
    )
    _check_largest_request(loaded, plan)
    return plan


def _packs(spec: SweepSpec) -> bool:
    """By the spec alone: wherever it runs, a trial has the same engine, and so the same numbers."""
    return spec.execution.trials_per_job != 1


def open_plan(
    store: Store,
    loaded: LoadedSpec,
    *,
    run: str,
    repin: bool = False,
    place: Place = CLUSTER,
    now: Callable[[], datetime],
) -> Plan:
    """The run's plan for this spec: the stored one, or the one of `preview_plan`, which is now stored.

    Raises as `preview_plan` does.
    """
    preview = preview_plan(store, loaded, run=run, repin=repin, place=place, now=now)
    if preview.stored:
        return preview.plan
    store.put_once(Keys.spec(loaded.sha256), loaded.text)
    key, body = Keys.plan(loaded.sha256), to_json(preview.plan)
    if repin:
        store.put(key, body)
        return preview.plan
    if store.put_once(key, body):
        return preview.plan
    winner = read_stored_plan(store, loaded.sha256)
    if winner is None:
        raise ConflictError(f"{key} was taken and then removed by someone else; look at {store.uri} and run again")
    return _checked(winner)


def _with_spec(store: Store, plan: Plan) -> Earlier:
    """The plan with its spec, as the run stored both."""
    from controller.planning.pins import Earlier

    key = Keys.spec(plan.spec_sha256)
    text = store.read(key, limit_bytes=DATA_LIMIT_BYTES)
    try:
        return Earlier(plan, parse_spec(text, name=f"{store.uri}/{key}", folder=Path.cwd()).spec)
    except SpecError as err:
        raise SpecError(
            f"this run was begun with a spec that this release does not read, so its pins cannot be compared; choose "
            f"another --run, or --repin to look up model and data again.\n{err}"
        ) from err


class Preview(NamedTuple):
    """A plan, and whether the store has it."""

    plan: Plan
    stored: bool


def preview_plan(
    store: Store,
    loaded: LoadedSpec,
    *,
    run: str,
    repin: bool = False,
    place: Place = CLUSTER,
    now: Callable[[], datetime],
) -> Preview:
    """The plan that `open_plan` would give; writes nothing.

    A new plan keeps the pins of the run's newest plan where the spec names the same places, so that a widened sweep
    trains on the same bytes; `repin` looks again, and the plan is new if anything changed. `place` is where its Jobs
    will run.
    Raises SpecError for a place that cannot be pinned, an unknown column or a trial too large,
    DamagedError for a stored plan that is
    damaged.
    """
    from controller.planning.columns import check_columns
    from controller.planning.pins import pin_sources, relocated  # `validate` uses this module and looks nothing up

    stored = read_stored_plan(store, loaded.sha256)
    if stored and not repin:
        return Preview(relocated(_checked(stored), loaded), stored=True)
    earlier = [plan for plan in earlier_plans(store) if plan.identity_version == IDENTITY_VERSION]
    pins = pin_sources(loaded, earlier=None if repin or not earlier else _with_spec(store, earlier[0]))
    if stored and stored.identity_version == IDENTITY_VERSION and Pins(stored.model, stored.data) == pins:
        return Preview(stored, stored=True)
    check_columns(loaded.spec, pins.data)
    plan = make_plan(
        loaded,
        pins=pins,
        earlier=earlier,
        run=run,
        now=now(),
        model=look_at_model(pins.model) if _packs(loaded.spec) else _UNSEEN,
        place=place,
    )
    return Preview(plan, stored=False)


def earlier_plans(store: Store) -> list[Plan]:
    """Every plan of the run, the newest first. Raises DamagedError when one is damaged."""
    plans = [read_stored(store, Plan, key) for key in plan_keys(store)]
    return sorted(plans, key=lambda plan: (plan.created_at, plan.spec_sha256), reverse=True)


def _checked(plan: Plan) -> Plan:
    if plan.identity_version != IDENTITY_VERSION:
        raise SpecError(
            f"the stored plan has identity version {plan.identity_version}, this release has {IDENTITY_VERSION}; "
            "use another --run, or --repin to plan anew (trials get new ids and run again)"
        )
    return plan


def _groups(plans: Sequence[Plan]) -> list[Group]:
    """Of all plans, the oldest first: the first plan that names a trial fixed its group."""
    return [found for plan in reversed(plans) for found in plan.groups]


def _check_largest_request(loaded: LoadedSpec, plan: Plan) -> None:
    sizes = {trial.trial_id: len(trial.model_dump_json(indent=1)) for trial in plan.trials}
    if sizes:
        request_of(loaded.spec, plan, max(plan.groups, key=lambda one: sum(sizes[trial] for trial in one.trial_ids)))
