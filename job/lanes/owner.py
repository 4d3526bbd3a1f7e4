"""A trial whose adapter is trained in a lane: what it is asked, how it is scored, and what becomes of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from job.context import TrialContext
from job.contract.documents import ScoredSplit, StepRecord
from job.contract.errors import ConfigurationError
from job.device import describe_device
from job.evaluation.evaluate import check_rows, decoding_of
from job.lanes.adapters import NewAdapter
from job.lanes.course import Answers
from job.lanes.exam import Asked, can_examine
from job.measure import Loaded, Measured, final_splits, score_final, score_split, write_card
from job.trial import disk_full_is_transient

if TYPE_CHECKING:
    from job.lanes.stack import Factors

__all__ = ["TrialOwner", "asked_of", "measured_of"]


@dataclass(frozen=True)
class TrialOwner:
    """Scores one trial while its lane is trained, and publishes it at the end."""

    context: TrialContext
    loaded: Loaded
    adapter: NewAdapter
    publish: Callable[[Measured], None]
    """Told when all is measured."""
    failed: Callable[[Exception], None]

    def begin(self) -> None:
        """From here on, what the process dies of may be this trial's doing."""
        self.context.progress.stage("train")

    def asks(self, step: int, *, final: bool) -> Mapping[ScoredSplit, Asked]:
        """What may be asked together with other lanes."""
        splits: Sequence[ScoredSplit] = final_splits(self.context, steps=step) if final else ("validation",)
        return asked_of(self.context, self.loaded, splits=splits, step=step)

    def evaluate(self, step: int, answers: Answers) -> None:
        """Score the validation rows."""
        with disk_full_is_transient(self.context.work):
            score_split(
                self.context, self.loaded, model=self.loaded.base.model, split="validation", step=step,
                answers=answers.get("validation"),
            )  # fmt: skip

    def finish(self, history: Sequence[StepRecord], factors: Mapping[str, Factors], answers: Answers) -> None:
        """Score what has to be scored at the end, and publish."""
        context = self.context
        with disk_full_is_transient(context.work):
            score_final(context, self.loaded, model=self.loaded.base.model, steps=history[-1].step, answers=answers)
            folder = self.adapter.save(factors).parent
            self.publish(measured_of(context, self.loaded, folder=folder, history=history))

    def fail(self, error: Exception) -> None:
        """This trial has come to nothing."""
        self.failed(error)

    def on_step(self, record: StepRecord, *, seconds: float) -> None:
        """Take a step and this trial's share of its time."""
        self.context.clock.charge("train", seconds)
        self.context.on_step(record)

    def on_checkpoint(self, step: int) -> None:
        """A checkpoint is in the store."""
        self.context.progress.checkpointed(step)

    def save_extra(self) -> Mapping[str, bytes]:
        """What was measured so far."""
        return self.context.recording.dump()

    def load_extra(self, files: Mapping[str, bytes]) -> None:
        """Go on from that."""
        self.context.recording.load(files)


def asked_of(
    context: TrialContext, loaded: Loaded, *, splits: Sequence[ScoredSplit], step: int
) -> dict[ScoredSplit, Asked]:
    """The rows of these splits as questions; without those that have to be asked alone.

    Raises DataError for rows that cannot be asked.
    """
    asked = {split: _asked(context, loaded, split=split, step=step) for split in splits}
    return {split: one for split, one in asked.items() if can_examine(loaded.base.model, one)}


def _asked(context: TrialContext, loaded: Loaded, *, split: ScoredSplit, step: int) -> Asked:
    if context.config.generation is None:
        raise ConfigurationError(f"trial {context.trial.trial_id} has no generation settings")
    decoding = decoding_of(
        model=loaded.base.model,
        tokenizer=loaded.base.tokenizer,
        generation=context.config.generation,
        end_token_id=loaded.end_token_id,
        pad_id=loaded.pad_id,
    )
    rows = loaded.encoded[split].rows
    check_rows(rows, references={row.example_id: row.target for row in loaded.rows[split]}, decoding=decoding)

    def on_batch(done: int, total: int, seconds: float) -> None:
        context.clock.charge("evaluate", seconds)
        context.on_batch(done, total)

    return Asked(rows, decoding, f"{split}, step {step}", context.request.execution.eval_batch_size, on_batch)


def measured_of(context: TrialContext, loaded: Loaded, *, folder: Path, history: Sequence[StepRecord]) -> Measured:
    """What there is to publish of an adapter in `folder`/adapter; its card is written there."""
    steps = history[-1].step
    return Measured(
        folder=folder,
        engine="lanes",
        steps=steps,
        history=tuple(history),
        final=context.config.evaluation.final_splits,
        device=describe_device(loaded.base.device),
        dropped=loaded.left_out,
        adapter_bytes=write_card(context, loaded, folder=folder / "adapter", steps=steps),
    )
