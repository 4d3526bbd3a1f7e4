"""Store to verified tables: what a report is made from, and nothing that does not verify.

controller/verified.py says what verifies. Beyond it, the files that numbers come from are compared with their SHA-256
in every report.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from controller.attempt_files import read_records, read_scores
from controller.ledger import TrialRecord
from controller.ledger_reader import LedgerReader
from controller.spec.model import SweepSpec
from controller.states import Limits, Situation, TrialStatus, states
from controller.stored import DamagedError, plan_keys, read_stored
from controller.stumbles import stumbles
from controller.texts import TextSums, sums_of
from controller.verified import VerifiedResults
from job.contract.config import PlannedTrial, data_id
from job.contract.documents import (
    DATA_LIMIT_BYTES,
    EvaluationRecord,
    Example,
    Plan,
    Result,
    ScoredSplit,
    StepRecord,
    parse,
)
from job.contract.errors import FAILURE_REASONS, FailureReason, NotFoundError, ResultError, TrialState
from job.store import Keys, Store
from job.store.results import load_manifest, untrusted

__all__ = [
    "UNNAMED_STORE",
    "Collected",
    "LeftTrial",
    "Measured",
    "Point",
    "ScoreTable",
    "TrialData",
    "Trouble",
    "collect",
    "measured_of",
    "read_examples",
]

UNNAMED_STORE = "STORE"
"""Stands for a folder that only the machine at hand knows."""
_READERS = 8  # reading is waiting for the store
_NO_CLOCK = datetime.min.replace(tzinfo=UTC)


class Point(NamedTuple):
    """A value after an optimizer step."""

    step: int
    value: float


@dataclass(frozen=True, slots=True)
class ScoreTable:
    """Per-example scores of one split of one trial."""

    example_ids: tuple[str, ...]
    values: Mapping[str, NDArray[np.float64]]
    """Score name to values of shape (rows,), in the order of example_ids."""
    first_line: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    """The same of the texts cut at their first newline; of zero-shot trials, and none in earlier releases."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What a finished trial left, all of it verified."""

    result: Result
    scores: Mapping[ScoredSplit, ScoreTable]
    """By split."""
    losses: tuple[Point, ...]
    """Training loss by step."""
    evaluations: tuple[EvaluationRecord, ...]
    texts: Mapping[ScoredSplit, TextSums] = field(default_factory=dict)
    """What its outputs are like; no split of a result of an earlier release."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why a trial failed."""

    reason: FailureReason
    message: str
    attempts: int
    log_tail: str = ""


@dataclass(frozen=True, slots=True)
class TrialData:
    """One trial of the plan and everything that the store says about it."""

    planned: PlannedTrial
    state: TrialState
    """Final, or `pending`: what runs at this moment would make each report another one."""
    measured: Measured | None = None
    trouble: Trouble | None = None


class LeftTrial(NamedTuple):
    """A finished trial of an earlier spec that the present one no longer asks for."""

    trial_id: str
    label: str
    spec_sha256: str


@dataclass(frozen=True, slots=True)
class Collected:
    """A run as its store has it."""

    plan: Plan
    spec: SweepSpec
    place: str
    """The run as a command names it; UNNAMED_STORE in it is for the reader to fill in."""
    trials: tuple[TrialData, ...]
    """In plan order."""
    left: tuple[LeftTrial, ...] = ()
    data_until: datetime | None = None
    """The newest result or failure."""
    notes: tuple[str, ...] = field(default=())
    """What could not be read, and is not part of a result."""


def collect(store: Store, plan: Plan, spec: SweepSpec, *, results: VerifiedResults | None = None) -> Collected:
    """Every trial of the plan with its verified numbers, or with the reason why there are none.

    What `results` finds (by default, what it remembers) is remembered in the store.

    Raises TransientError and ConfigurationError as the store does; a damaged document becomes a failed trial.
    """
    results = results or VerifiedResults(store)
    ledger = LedgerReader(store, plan, results=results).read(live=())
    statuses = states(Situation(plan, ledger, observed=None, limits=_limits(spec), now=_NO_CLOCK))

    def read(trial: PlannedTrial) -> TrialData:
        record, status = ledger.record(trial.trial_id), statuses[trial.trial_id]
        return _read_trial(store, trial, record=record, status=status)

    with ThreadPoolExecutor(max_workers=_READERS) as pool:
        trials = tuple(pool.map(read, plan.trials))
    for trial in trials:
        if trial.trouble is not None and trial.trouble.reason == "result_corrupt":
            results.forget(trial.planned.trial_id)
    results.remember()
    records = [ledger.record(trial.trial_id) for trial in plan.trials]
    others, notes = _other_plans(store, plan)
    return Collected(
        plan=plan,
        spec=spec,
        place=_place(store, plan, spec),
        trials=trials,
        left=tuple(_left(store, plan, others)),
        data_until=max((moment for record in records for moment in _moments(record)), default=None),
        notes=(*notes, *stumbles(plan, ledger)),
    )


def read_examples(store: Store, plan: Plan) -> dict[tuple[str, str], Example]:
    """The scored rows by split and id; none before the first trial has loaded its data.

    Raises ResultError when the object does not parse.
    """
    if not plan.trials:
        return {}
    key = Keys.examples(data_id(plan.trials[0].config.data))
    try:
        body = store.read(key, limit_bytes=DATA_LIMIT_BYTES)
    except NotFoundError:
        return {}
    examples = (parse(Example, line, name=key) for line in body.splitlines() if line)
    return {(example.split, example.example_id): example for example in examples}


def measured_of(store: Store, result: Result) -> Measured:
    """What the attempt behind a result measured. Raises ResultError when its files are not what the manifest says."""
    manifest = load_manifest(store, result.manifest)
    scores, records = read_scores(store, manifest), read_records(store, manifest)
    tables = {
        split: ScoreTable(table.example_ids, _arrays(table.metrics), _arrays(table.first_line))
        for split, table in scores.splits.items()
    }
    return Measured(
        result=result,
        scores=tables,
        losses=tuple(Point(record.step, record.loss) for record in records if isinstance(record, StepRecord)),
        evaluations=tuple(record for record in records if isinstance(record, EvaluationRecord)),
        texts={
            split: sums
            for split, table in scores.splits.items()
            if (sums := sums_of(table.example_ids, table.diagnostics)) is not None
        },
    )


def _arrays(columns: Mapping[str, tuple[float, ...]]) -> dict[str, NDArray[np.float64]]:
    return {name: np.asarray(column) for name, column in columns.items()}


def _limits(spec: SweepSpec) -> Limits:
    execution = spec.execution
    return Limits(
        max_attempts=execution.max_attempts,
        max_disruptions=execution.max_disruptions,
        max_failed_trials=execution.max_failed_trials,
    )


def _read_trial(store: Store, trial: PlannedTrial, *, record: TrialRecord, status: TrialStatus) -> TrialData:
    if status.state == "failed":
        return TrialData(trial, "failed", trouble=_trouble(record, status))
    if record.result is None:
        return TrialData(trial, "stopped" if status.state == "stopped" else "pending")
    try:
        return TrialData(trial, "succeeded", measured=measured_of(store, record.result))
    except ResultError as err:
        # Damaged since it was last read in full, without a new tag.
        return TrialData(
            trial, "failed", trouble=Trouble("result_corrupt", str(untrusted(trial, err)), status.attempts)
        )


def _trouble(record: TrialRecord, status: TrialStatus) -> Trouble:
    """Reason and message as the status has them, with the log of the failure that they are of."""
    reason: FailureReason = next((known for known in FAILURE_REASONS if known == status.reason), "bug")
    meant = [
        failure
        for failure in record.counted_failures
        if failure.reason == reason and status.text.startswith(failure.message)
    ]
    return Trouble(reason, status.text, status.attempts, meant[-1].log_tail if meant else "")


def _other_plans(store: Store, plan: Plan) -> tuple[list[Plan], tuple[str, ...]]:
    """The plans of the run's other specs, and a note for each that cannot be read."""
    plans, notes = [], []
    for key in plan_keys(store):
        if key != Keys.plan(plan.spec_sha256):
            try:
                plans.append(read_stored(store, Plan, key))
            except DamagedError:
                notes.append(f"{key} is damaged: finished trials that it alone names are not listed.")
    return plans, tuple(notes)


def _left(store: Store, plan: Plan, others: Iterable[Plan]) -> Iterator[LeftTrial]:
    wanted = {trial.trial_id for trial in plan.trials}
    for other in others:
        for trial in other.trials:
            if trial.trial_id not in wanted and store.stat(Keys.result(trial.trial_id)) is not None:
                wanted.add(trial.trial_id)
                yield LeftTrial(trial.trial_id, trial.label, other.spec_sha256)


def _moments(record: TrialRecord) -> Iterator[datetime]:
    if record.result is not None:
        yield record.result.finished_at
    yield from (failure.at for failure in record.failures)


def _place(store: Store, plan: Plan, spec: SweepSpec) -> str:
    """What a person types for this run: the address of a bucket, the folder as the spec has it, or UNNAMED_STORE.

    A report is published, so no folder of the machine that wrote it is named.
    """
    run = f"{plan.sweep}/{plan.run}"
    relative = f"{spec.store.root.rstrip('/').removeprefix('./')}/{run}"
    if store.uri.startswith("s3://"):
        return store.uri
    same_end = store.uri.endswith(f"/{relative}") and not relative.startswith(("/", ".", "~"))
    return relative if same_end else f"{UNNAMED_STORE}/{run}"
