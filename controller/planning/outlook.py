"""What a plan would do, in numbers: trials, what exists, and bounds on steps, hours and money."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Literal

from controller.names import Naming
from controller.planning.plan import Preview
from controller.spec.model import SweepSpec
from controller.spec.warnings import slot_warnings
from controller.verified import VerifiedResults
from job.contract.base import Count, Frozen, Number, Positive, Text
from job.contract.config import PlannedTrial, Source, TrialKind
from job.contract.documents import Plan
from job.contract.errors import ResultError
from job.store import Keys, Store

__all__ = ["Bounds", "Counts", "GroupOutlook", "Outlook", "TrialOutlook", "outlook_of"]

TrialOutlookState = Literal["done", "new", "damaged"]
# An object store answers in some ten milliseconds however many ask at once.
_ASKERS = 16


class TrialOutlook(Frozen):
    """One trial before the run."""

    letter: Text
    trial_id: Text
    label: Text
    kind: TrialKind
    seed: Count | None
    state: TrialOutlookState
    """`done`: a verified result exists; `damaged`: one that does not verify; `new`: none."""
    job: Text
    """The name of its first submission."""


class GroupOutlook(Frozen):
    """The trials of one Job."""

    job: Text
    """The name of its first submission."""
    engine: Literal["reference", "lanes"]
    lanes: Positive
    """Trials that it holds; of `reference` one after the other."""
    letters: tuple[Text, ...]
    """Of its trials."""
    why: Text
    """Why this engine and these trials; empty where an earlier release planned them."""


class Counts(Frozen):
    """Trials by kind and by what exists."""

    configurations: Count
    """Trained ones, without their seeds."""
    seeds: Count
    trained: Count
    baselines: Count
    jobs: Count
    """Groups of trials."""
    done: Count
    new: Count
    damaged: Count


class Bounds(Frozen):
    """The most that the trials without a result can take."""

    steps: tuple[Positive, Positive] | None
    """Smallest and largest number of optimizer steps; None where some trial counts epochs."""
    rows_per_step: tuple[Positive, Positive] | None
    """Batch x accumulation; None where nothing is trained."""
    parallelism: Positive
    """execution.parallelism, or the device slots of this machine where they are fewer."""
    trial_timeout_s: Number
    wall_s: Number
    """Rounds of `parallelism` jobs x timeout; without waiting for devices."""
    gpu_hours: Number
    cost: Number | None
    """GPU hours x price; None without a price."""


class Outlook(Frozen):
    """Everything that `lorasweep plan` says."""

    schema_version: Literal[1] = 1
    sweep: Text
    run: Text
    store: Text
    spec_sha256: Text
    stored: bool
    """Whether the run has this plan already."""
    model: Source
    data: Source
    engines: tuple[Literal["reference", "lanes"], ...]
    """Those in use."""
    counts: Counts
    bounds: Bounds
    duplicates: tuple[Text, ...]
    warnings: tuple[Text, ...]
    groups: tuple[GroupOutlook, ...]
    trials: tuple[TrialOutlook, ...]


def outlook_of(spec: SweepSpec, preview: Preview, *, store: Store, naming: Naming, slots: int) -> Outlook:
    """The outlook of a plan whose results, if there are any, are in `store`, with so many device slots."""
    plan = preview.plan
    states = _states(store, plan.trials)
    jobs = {trial: naming.submission(group.trial_ids, 1) for group in plan.groups for trial in group.trial_ids}
    trials = tuple(
        TrialOutlook(
            letter=trial.letter,
            trial_id=trial.trial_id,
            label=trial.label,
            kind=trial.kind,
            seed=trial.seed,
            state=state,
            job=jobs[trial.trial_id],
        )
        for trial, state in zip(plan.trials, states, strict=True)
    )
    return Outlook(
        sweep=plan.sweep,
        run=plan.run,
        store=store.uri,
        spec_sha256=plan.spec_sha256,
        stored=preview.stored,
        model=plan.model,
        data=plan.data,
        engines=tuple(sorted({group.engine for group in plan.groups})),
        counts=_counts(spec, plan, states),
        bounds=_bounds(spec, plan, states, slots=slots),
        duplicates=plan.duplicates,
        warnings=(*slot_warnings(spec.execution, slots=slots), *plan.warnings),
        groups=_groups(plan, naming),
        trials=trials,
    )


def _groups(plan: Plan, naming: Naming) -> tuple[GroupOutlook, ...]:
    letters = {trial.trial_id: trial.letter for trial in plan.trials}
    return tuple(
        GroupOutlook(
            job=naming.submission(group.trial_ids, 1),
            engine=group.engine,
            lanes=len(group.trial_ids),
            letters=tuple(letters[trial_id] for trial_id in group.trial_ids),
            why=group.why,
        )
        for group in plan.groups
    )


def _states(store: Store, trials: Sequence[PlannedTrial]) -> list[TrialOutlookState]:
    if next(iter(store.list(Keys.TRIALS)), None) is None:
        return ["new"] * len(trials)
    results = VerifiedResults(store)
    with ThreadPoolExecutor(_ASKERS) as pool:
        return list(pool.map(lambda trial: _state(results, trial), trials))


def _state(results: VerifiedResults, trial: PlannedTrial) -> TrialOutlookState:
    try:
        return "new" if results.read(trial) is None else "done"
    except ResultError:
        return "damaged"


def _counts(spec: SweepSpec, plan: Plan, states: Sequence[TrialOutlookState]) -> Counts:
    trained = [trial for trial in plan.trials if trial.kind == "lora"]
    return Counts(
        configurations=len({trial.config_id for trial in trained}),
        seeds=spec.vary.seed_count,
        trained=len(trained),
        baselines=len(plan.trials) - len(trained),
        jobs=len(plan.groups),
        done=states.count("done"),
        new=states.count("new"),
        damaged=states.count("damaged"),
    )


def _bounds(spec: SweepSpec, plan: Plan, states: Sequence[TrialOutlookState], *, slots: int) -> Bounds:
    execution, parallelism = spec.execution, min(spec.execution.parallelism, slots)
    missing = {trial.trial_id for trial, state in zip(plan.trials, states, strict=True) if state != "done"}
    jobs = [sum(trial in missing for trial in group.trial_ids) for group in plan.groups]
    longest = max(jobs, default=0) * execution.trial_timeout_s
    gpu_hours = len(missing) * execution.trial_timeout_s * execution.gpus / 3600
    return Bounds(
        steps=_span(_steps(plan)),
        rows_per_step=_span(_rows_per_step(plan)),
        parallelism=parallelism,
        trial_timeout_s=execution.trial_timeout_s,
        wall_s=math.ceil(sum(size > 0 for size in jobs) / parallelism) * longest,
        gpu_hours=gpu_hours,
        cost=None if execution.price_per_gpu_hour is None else gpu_hours * execution.price_per_gpu_hour,
    )


def _steps(plan: Plan) -> Iterator[int | None]:
    return (trial.config.training.max_steps for trial in plan.trials if trial.config.training)


def _rows_per_step(plan: Plan) -> Iterator[int | None]:
    trained = (trial.config.training for trial in plan.trials if trial.config.training)
    return (one.per_device_train_batch_size * one.gradient_accumulation_steps for one in trained)


def _span(values: Iterator[int | None]) -> tuple[int, int] | None:
    """Smallest and largest; None where there is none, or where one is open."""
    known = list(values)
    numbers = [value for value in known if value is not None]
    return (min(numbers), max(numbers)) if numbers and len(numbers) == len(known) else None
