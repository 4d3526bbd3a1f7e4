"""The reference engine: one adapter trained by transformers' Trainer, from wherever an earlier attempt left it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from transformers import TrainerState

from job.checkpoint import Checkpoints
from job.contract.config import JobExecution, TrainingOptions
from job.contract.documents import StepRecord
from job.contract.errors import ConfigurationError, ResultError
from job.device import peak_bytes
from job.memory import memory_is_ours
from job.publishing.publish import STORE_PATIENCE_S
from job.reference.callback import Hooks, TrainCallback, undisturbed
from job.reference.collate import TokenRow, longest_rows
from job.reference.state import Saved, read_saved
from job.reference.trainer import ReferenceTrainer, new_trainer
from job.seeds import Streams
from job.stopping import StopSignal
from job.windows import Cadence, planned_steps, updates_per_epoch

if TYPE_CHECKING:
    from peft import PeftModel

__all__ = ["Trained", "train"]

logger = logging.getLogger(__name__)


class Trained(NamedTuple):
    """What a finished training leaves beside the weights in the model."""

    steps: int
    tokens: int
    """Non-padding tokens that went through the model."""
    history: tuple[StepRecord, ...]
    """Every step, those of the attempts before this one included."""


def _nothing_extra() -> Mapping[str, bytes]:
    return {}


def _ignore(_: object) -> None:
    """For a caller that does not want to know."""


def train(
    *,
    model: PeftModel,
    rows: Sequence[TokenRow],
    options: TrainingOptions,
    execution: JobExecution,
    seeds: Streams,
    pad_id: int,
    work: Path,
    checkpoints: Checkpoints,
    evaluate: Callable[[int], None],
    on_step: Callable[[StepRecord], None],
    stop: StopSignal,
    save_extra: Callable[[], Mapping[str, bytes]] = _nothing_extra,
    load_extra: Callable[[Mapping[str, bytes]], None] = _ignore,
    on_checkpoint: Callable[[int], None] = _ignore,
    patience_s: float = STORE_PATIENCE_S,
) -> Trained:
    """Train the adapter of `model` in place, going on from the newest usable checkpoint; leaves it in eval mode.

    `evaluate(step)` is called at every multiple of eval_steps and leaves no trace in training: random state, mode and
    precision are put back. `save_extra` gives the caller's own files for each checkpoint, `load_extra` gets them back.
    On a CPU the same arguments give the same bytes, interrupted or not.

    Raises DivergedError, GpuMemoryError, StoppedError (with a checkpoint behind it), TransientError when a checkpoint
    cannot be stored for `patience_s`, and whatever the callbacks raise.
    """
    if options.fp16 and model.device.type != "cuda":
        raise ConfigurationError("training.fp16 needs a CUDA device; set it to false, or use training.bf16")
    cadence = Cadence(
        total=planned_steps(len(rows), options),
        eval_steps=options.eval_steps,
        checkpoint_every=execution.checkpoint_every,
    )
    saved = _resumed(model, checkpoints=checkpoints)
    if saved is not None:
        load_extra(saved.extra)
        if not saved.evaluated:
            with undisturbed(model):
                evaluate(saved.step)
        if saved.step >= cadence.total:
            return _trained(saved.history)
    callback = TrainCallback(
        hooks=Hooks(
            evaluate=evaluate, on_step=on_step, save_extra=save_extra, on_checkpoint=on_checkpoint, stop=stop
        ),
        cadence=cadence,
        updates_per_epoch=updates_per_epoch(len(rows), options),
        checkpoints=checkpoints,
        saved=saved,
        dropout_seed=seeds.dropout,
        pad_id=pad_id,
        patience_s=patience_s,
    )  # fmt: skip
    with _back_to_inference(model), memory_is_ours(partial(_out_of_memory, model, rows=rows, options=options)):
        trainer = callback.trainer = new_trainer(
            model, rows=rows, options=options, execution=execution, seeds=seeds, pad_id=pad_id, folder=work,
            callback=callback,
        )  # fmt: skip
        position = None if saved is None else _position(trainer, step=saved.step, folder=work / "resume")
        trainer.train(resume_from_checkpoint=position)
    return _trained(callback.history)


def _resumed(model: PeftModel, *, checkpoints: Checkpoints) -> Saved | None:
    """The newest state that this engine can go on from, its weights already in `model`; None to begin at step 0."""
    for checkpoint in checkpoints.verified():
        try:
            saved = read_saved(checkpoint.folder)
            saved.restore_weights(model)
        except ResultError as err:
            logger.warning("checkpoint of step %d passed over: %s", checkpoint.step, err)
            checkpoints.discard(checkpoint)
        else:
            logger.info("resuming after step %d, written by attempt %s", saved.step, checkpoint.attempt)
            return saved
    return None


def _position(trainer: ReferenceTrainer, *, step: int, folder: Path) -> str:
    """A folder that tells Trainer how many batches to pass over, and nothing else."""
    folder.mkdir(parents=True, exist_ok=True)
    state = TrainerState(
        global_step=step,
        train_batch_size=trainer.args.per_device_train_batch_size,
        logging_steps=trainer.args.logging_steps,
        eval_steps=trainer.args.eval_steps,
        save_steps=trainer.args.save_steps,
    )  # whatever Trainer compares with its arguments is theirs
    state.save_to_json(str(folder / "trainer_state.json"))
    return str(folder)


@contextmanager
def _back_to_inference(model: PeftModel) -> Iterator[None]:
    """Undo what Trainer does to a model beyond its weights: no key-value cache, autocast around `forward`."""
    use_cache = model.config.use_cache
    try:
        yield
    finally:
        model.config.use_cache = use_cache
        model.__dict__.pop("forward", None)
        model.eval()


def _out_of_memory(model: PeftModel, said: str, *, rows: Sequence[TokenRow], options: TrainingOptions) -> str:
    longest = longest_rows(rows, count=1)[0]
    return (
        f"training ran out of memory at a peak of {peak_bytes(model.device):,} bytes: "
        f"{options.per_device_train_batch_size} rows of up to "
        f"{len(longest.prompt_ids) + len(longest.completion_ids)} tokens at once ({said}); lower "
        "training.per_device_train_batch_size and raise gradient_accumulation_steps by as much, "
        "or set training.gradient_checkpointing"
    )


def _trained(history: Sequence[StepRecord]) -> Trained:
    return Trained(
        steps=history[-1].step if history else 0,
        tokens=sum(record.tokens for record in history),
        history=tuple(history),
    )
