"""Trials of a tiny model, trained solo by the reference engine and side by side by the packed one."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from tiny_training import PAD, ROWS, base_model, lora, options

from job.adapter import add_adapter
from job.checkpoint import Checkpoints
from job.contract.config import JobExecution, LoraOptions, TrainingOptions
from job.contract.documents import ScoredSplit, StepRecord
from job.lanes.adapters import factors_of, new_adapter
from job.lanes.course import Answers, Guest, Lane
from job.lanes.exam import Asked
from job.lanes.schedule import schedule
from job.lanes.stack import Factors
from job.lanes.train import train_lanes
from job.prompts import EncodedRow
from job.reference.train import train
from job.seeds import streams
from job.stopping import StopSignal
from job.store.folder import FolderStore
from job.windows import Cadence, planned_steps

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["Owner", "Tiny", "Trained", "side_by_side", "solo"]


@dataclass(frozen=True)
class Tiny:
    """What one trial trains."""

    name: str
    adapter: LoraOptions = field(default_factory=lora)
    training: TrainingOptions = field(default_factory=options)
    rows: tuple[EncodedRow, ...] = ROWS
    seed: int = 0


@dataclass(frozen=True)
class Trained:
    """What came of it."""

    factors: Mapping[str, Factors]
    history: tuple[StepRecord, ...]

    def flat(self) -> torch.Tensor:
        """All weights as one vector."""
        return torch.cat([part.flatten() for name in sorted(self.factors) for part in self.factors[name]])


def solo(folder: Path, trial: Tiny, *, dtype: torch.dtype) -> Trained:
    """By the reference engine, alone."""
    seeds = streams(trial.seed)
    model = add_adapter(base_model(folder), lora=trial.adapter, seed=seeds.init).to(dtype)
    with tempfile.TemporaryDirectory() as scratch, _sums_in(dtype):
        trained = train(
            model=model,
            rows=trial.rows,
            options=trial.training,
            execution=JobExecution(),
            seeds=seeds,
            pad_id=PAD,
            work=Path(scratch) / "work",
            checkpoints=_checkpoints(Path(scratch), trial),
            evaluate=lambda step: None,
            on_step=lambda record: None,
            stop=StopSignal(),
        )
    return Trained(factors_of(model), trained.history)


@contextmanager
def _sums_in(dtype: torch.dtype) -> Iterator[None]:
    """Trainer adds up a step's losses in torch's default dtype."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@dataclass
class Owner:
    """Remembers what a lane tells it, and does what a test puts in the place of its hooks."""

    told: list[tuple[str, int]] = field(default_factory=list)
    trained: Trained | None = None
    error: Exception | None = None
    at_step: Callable[[StepRecord], None] = lambda record: None
    at_evaluation: Callable[[int], None] = lambda step: None
    questions: Callable[[int, bool], Mapping[ScoredSplit, Asked]] = lambda step, final: {}
    answers: list[Answers] = field(default_factory=list)
    seconds: float = 0.0
    extra: bytes = b""

    def asks(self, step: int, *, final: bool) -> Mapping[ScoredSplit, Asked]:
        return self.questions(step, final)

    def evaluate(self, step: int, answers: Answers) -> None:
        self.answers.append(answers)
        self.at_evaluation(step)
        self.told.append(("evaluate", step))

    def finish(self, history: Sequence[StepRecord], factors: Mapping[str, Factors], answers: Answers) -> None:
        self.answers.append(answers)
        self.told.append(("finish", len(history)))
        self.trained = Trained(factors, tuple(history))

    def fail(self, error: Exception) -> None:
        self.told.append(("fail", 0))
        self.error = error

    def on_step(self, record: StepRecord, *, seconds: float) -> None:
        self.seconds += seconds
        self.at_step(record)

    def on_checkpoint(self, step: int) -> None:
        self.told.append(("checkpoint", step))

    def begin(self) -> None:
        """Nothing to tell."""

    def save_extra(self) -> Mapping[str, bytes]:
        return {"told.txt": repr(self.told).encode()}

    def load_extra(self, files: Mapping[str, bytes]) -> None:
        self.extra = files["told.txt"]


def side_by_side(
    folder: Path,
    trials: Sequence[Tiny],
    *,
    dtype: torch.dtype = torch.float32,
    width: int = 99,
    scored_together: bool = False,
    owners: Mapping[str, Owner] | None = None,
    guests: Callable[[PreTrainedModel], list[Guest]] = lambda base: [],
    unasked: list[Guest] | None = None,
    root: Path | None = None,
    attempt: str = "one",
    execution: JobExecution | None = None,
    stop: StopSignal | None = None,
) -> dict[str, Owner]:
    """By the packed engine, all in one call; their owners by name. With `root` the checkpoints stay there.

    The `guests` are told the model; those whom nobody asked are put into `unasked`.
    """
    base = base_model(folder)
    found = dict(owners or {trial.name: Owner() for trial in trials})
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch) if root is None else root
        lanes = [
            _lane(base, trial, owner=found[trial.name], root=place, attempt=attempt, execution=execution, dtype=dtype)
            for trial in trials
        ]
        base.to(dtype)
        left = train_lanes(
            base,
            lanes,
            guests=guests(base),
            width=width,
            scored_together=scored_together,
            pad_id=PAD,
            bf16=trials[0].training.bf16,
            stop=stop or StopSignal(),
            patience_s=0.0,
        )
    if unasked is not None:
        unasked += left
    return found


def _lane(
    base: PreTrainedModel,
    trial: Tiny,
    *,
    owner: Owner,
    root: Path,
    attempt: str,
    execution: JobExecution | None,
    dtype: torch.dtype,
) -> Lane:
    seeds = streams(trial.seed)
    made = new_adapter(
        base, lora=trial.adapter, seed=seeds.init, folder=root / attempt / trial.name, base_name="tiny"
    )  # fmt: skip
    factors = {name: Factors(down.to(dtype), up.to(dtype)) for name, (down, up) in made.lane.factors.items()}
    total = planned_steps(len(trial.rows), trial.training)
    return Lane(
        trial_id=trial.name,
        adapter=type(made.lane)(factors, made.lane.scales, made.lane.dropout),
        rows=trial.rows,
        options=trial.training,
        seeds=seeds,
        cadence=Cadence(total, trial.training.eval_steps, (execution or JobExecution()).checkpoint_every),
        rate=schedule(trial.training, steps=total),
        checkpoints=_checkpoints(root, trial, attempt=attempt),
        owner=owner,
    )


def _checkpoints(root: Path, trial: Tiny, *, attempt: str = "solo") -> Checkpoints:
    spool = root / f"spool-{attempt}-{trial.name}"
    return Checkpoints(FolderStore(root / "store"), trial_id=trial.name, attempt=attempt, spool=spool)
