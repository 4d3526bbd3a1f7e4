"""What happens between two optimizer steps: record, evaluate, save, stop. None of it leaves a trace in training."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transformers import TrainerCallback

from job.checkpoint import Checkpoints
from job.contract.documents import StepRecord
from job.contract.errors import DivergedError, StoppedError, TransientError
from job.publishing.publish import with_patience
from job.random_state import restored_afterwards, seed_everything
from job.reference.collate import IGNORED, TokenRow, longest_rows, training_batch
from job.reference.state import Saved, TrainParts, write_state
from job.stopping import StopSignal
from job.windows import Cadence

if TYPE_CHECKING:
    from job.reference.trainer import ReferenceTrainer

__all__ = ["Hooks", "TrainCallback", "probe", "undisturbed"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Hooks:
    """What the caller of a training wants to do in it."""

    evaluate: Callable[[int], None]
    on_step: Callable[[StepRecord], None]
    save_extra: Callable[[], Mapping[str, bytes]]
    on_checkpoint: Callable[[int], None]
    stop: StopSignal


class TrainCallback(TrainerCallback):  # type: ignore[misc]  # transformers is untyped to mypy here
    """Trainer's hooks. `trainer` is set once it exists."""

    trainer: ReferenceTrainer

    def __init__(
        self,
        *,
        hooks: Hooks,
        cadence: Cadence,
        updates_per_epoch: int,
        checkpoints: Checkpoints,
        saved: Saved | None,
        dropout_seed: int,
        pad_id: int,
        patience_s: float,
    ) -> None:
        self._hooks = hooks
        self._cadence = cadence
        self._checkpoints = checkpoints
        self._saved = saved
        self._dropout_seed = dropout_seed
        self._pad_id = pad_id
        self._patience_s = patience_s
        self._next_epoch = 0 if saved is None else saved.step // updates_per_epoch
        self.history: list[StepRecord] = [] if saved is None else list(saved.history)

    # The signatures are Trainer's; what it passes beyond the first three goes by name.

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Optimizer and schedule exist by now: take the saved run up, or start the dropout stream."""
        if args.device.type == "cuda":
            probe(self.trainer, rows=self.trainer.train_dataset, pad_id=self._pad_id)
        if self._saved is None:
            seed_everything(self._dropout_seed)
        else:
            self._saved.restore_course(self._parts())

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Take the next permutation, before Trainer asks for the first row."""
        self.trainer.order.epoch = self._next_epoch
        self._next_epoch += 1

    def on_log(self, args: Any, state: Any, control: Any, logs: Mapping[str, float] | None = None, **_: Any) -> None:
        """After every optimizer step, once its loss and gradient norm are known."""
        if logs is None or "loss" not in logs:
            return  # the summary at the end
        record = self._record(step=state.global_step, logs=logs)
        self.history.append(record)
        self._hooks.on_step(record)
        if self._cadence.evaluates(record.step):
            self._evaluate(record.step)
        if self._cadence.saves(record.step) or self._hooks.stop.requested:
            self._save(record.step)
        self._hooks.stop.check()

    def _record(self, *, step: int, logs: Mapping[str, float]) -> StepRecord:
        """Raises DivergedError when the step's loss or gradient is not finite."""
        loss, rate, norm = logs["loss"], logs["learning_rate"], logs.get("grad_norm")
        skipped = self.trainer.accelerator.optimizer_step_was_skipped  # an overflowed float16 gradient
        if not math.isfinite(loss) or (norm is not None and not math.isfinite(norm) and not skipped):
            what = f"loss {loss}" if not math.isfinite(loss) else f"gradient norm {norm}"
            raise DivergedError(
                f"{what} at step {step} of {self._cadence.total} with learning rate {rate:g}; "
                "lower training.learning_rate or raise training.warmup_steps"
            )
        return StepRecord(
            step=step,
            loss=loss,
            learning_rate=rate,
            grad_norm=None if skipped else norm,
            tokens=self.trainer.window_tokens,
        )

    def _evaluate(self, step: int) -> None:
        try:
            with undisturbed(self.trainer.model):
                self._hooks.evaluate(step)
        except StoppedError:
            self._save_now(step, evaluated=False)
            raise

    def _save(self, step: int) -> None:
        """Save, waiting for a store that does not answer; a stop asked for meanwhile gets one last try."""
        folder = self._written(step, evaluated=True)
        try:
            with_patience(
                lambda: self._checkpoints.save(step, folder), stop=self._hooks.stop, patience_s=self._patience_s
            )
        except StoppedError:
            self._save_now(step, evaluated=True)
            raise
        self._hooks.on_checkpoint(step)

    def _save_now(self, step: int, *, evaluated: bool) -> None:
        try:
            self._checkpoints.save(step, self._written(step, evaluated=evaluated))
        except TransientError as err:
            logger.warning("stopping without a checkpoint of step %d: %s", step, err)

    def _written(self, step: int, *, evaluated: bool) -> Path:
        folder = self._checkpoints.new_folder()
        write_state(
            folder,
            parts=self._parts(),
            step=step,
            evaluated=evaluated,
            history=self.history,
            extra=self._hooks.save_extra(),
        )
        return folder

    def _parts(self) -> TrainParts:
        trainer = self.trainer
        return TrainParts(
            model=trainer.model,
            optimizer=trainer.optimizer,
            scheduler=trainer.lr_scheduler,
            scaler=trainer.accelerator.scaler,
        )


@contextmanager
def undisturbed(model: Any) -> Iterator[None]:
    """A block that uses `model` for inference in its own precision; then training goes on as if nothing had been."""
    training, use_cache = model.training, model.config.use_cache
    autocast = model.__dict__.pop("forward", None)  # accelerate's wrapper for mixed precision, if there is one
    model.eval()
    model.config.use_cache = True
    try:
        with restored_afterwards():
            yield
    finally:
        model.config.use_cache = use_cache
        model.train(training)
        if autocast is not None:
            model.forward = autocast


def probe(trainer: ReferenceTrainer, *, rows: Sequence[TokenRow], pad_id: int) -> None:
    """Run the longest batch forward and backward and forget it, so that memory fails in the first second if at all."""
    batch = training_batch(longest_rows(rows, count=trainer.args.per_device_train_batch_size), pad_id=pad_id)
    targets = int(batch["labels"].ne(IGNORED).sum())
    with restored_afterwards():
        trainer.training_step(trainer.model_wrapped, batch, targets)
    trainer.model.zero_grad()
