"""A training run of a tiny model in a fraction of a second, for the tests of the reference engine."""

from __future__ import annotations

import atexit
import gc
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from job.adapter import add_adapter, save_adapter
from job.checkpoint import Checkpoints
from job.contract.config import JobExecution, LoraOptions, ModelOptions, TrainingOptions
from job.contract.documents import StepRecord
from job.model import load_base
from job.prompts import EncodedRow
from job.reference.train import Trained, train
from job.seeds import streams
from job.stopping import StopSignal
from job.store.folder import FolderStore

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel

__all__ = ["PAD", "ROWS", "TRIAL", "Run", "base_model", "digest_of", "lora", "model_options", "options"]

atexit.register(gc.unfreeze)
gc.freeze()  # every new Trainer collects garbage, which takes longer than its training while torch is looked through

TRIAL = "0" * 12
PAD = 0  # the tiny tokenizers' end token, as GPT-2's users pad
CPU = torch.device("cpu")
ROWS = tuple(
    EncodedRow(
        example_id=f"row-{index}",
        prompt_ids=tuple(range(5 + index, 5 + index + 3 + index % 4)),
        completion_ids=(*range(60 + index, 64 + index + index % 3), PAD),
    )
    for index in range(7)
)
"""7 rows of differing lengths: batches of 2 in windows of 2 make epochs of 2 steps, the second one ragged."""


def model_options(**changes: Any) -> ModelOptions:
    return ModelOptions.model_validate({"digest": f"sha256:{'0' * 64}", **changes})


def lora(**changes: Any) -> LoraOptions:
    defaults = {"r": 4, "lora_alpha": 8, "lora_dropout": 0.1, "target_modules": "all-linear"}
    return LoraOptions.model_validate(defaults | changes)


def options(**changes: Any) -> TrainingOptions:
    """6 steps: three epochs of ROWS."""
    defaults: dict[str, Any] = {
        "max_steps": 6,
        "per_device_train_batch_size": 2,
        "gradient_accumulation_steps": 2,
        "learning_rate": 1e-2,
    }
    if "num_train_epochs" in changes:
        del defaults["max_steps"]
    return TrainingOptions.model_validate(defaults | changes)


def base_model(folder: Path, **changes: Any) -> PreTrainedModel:
    return load_base(folder, options=model_options(**changes), device=CPU)


def digest_of(model: PeftModel, folder: Path) -> str:
    """SHA-256 over the files that a trial would publish as its adapter."""
    save_adapter(model, folder, base_name="tiny")
    return hashlib.sha256(b"".join(path.read_bytes() for path in sorted(folder.iterdir()))).hexdigest()


def _none(_: Any) -> None:
    """A hook that does nothing."""


@dataclass
class Run:
    """One attempt after another at the same trial, in one store below `root`."""

    model_folder: Path
    root: Path
    training: TrainingOptions = field(default_factory=options)
    adapter: LoraOptions = field(default_factory=lora)
    base: Mapping[str, Any] = field(default_factory=dict)
    execution: JobExecution = field(default_factory=JobExecution)
    seed: int = 0
    rows: tuple[EncodedRow, ...] = ROWS
    attempts: int = 0
    model: Any = None
    """Of the latest attempt."""

    @property
    def store(self) -> FolderStore:
        return FolderStore(self.root / "store")

    def checkpoints(self, attempt: str = "reader") -> Checkpoints:
        return Checkpoints(self.store, trial_id=TRIAL, attempt=attempt, spool=self.root / f"spool-{attempt}")

    def attempt(
        self,
        *,
        evaluate: Callable[[int], None] = _none,
        on_step: Callable[[StepRecord], None] = _none,
        stop: StopSignal | None = None,
        **hooks: Any,
    ) -> Trained:
        """Start a fresh process's worth of objects on the same store, and train to the end or to an exception."""
        self.attempts += 1
        name = f"attempt-{self.attempts}"
        seeds = streams(self.seed)
        self.model = add_adapter(base_model(self.model_folder, **self.base), lora=self.adapter, seed=seeds.init)
        return train(
            model=self.model,
            rows=self.rows,
            options=self.training,
            execution=self.execution,
            seeds=seeds,
            pad_id=PAD,
            work=self.root / name,
            checkpoints=self.checkpoints(name),
            evaluate=evaluate,
            on_step=on_step,
            stop=stop or StopSignal(),
            patience_s=0.0,
            **hooks,
        )

    def digest(self) -> str:
        return digest_of(self.model, self.root / f"adapter-{self.attempts}")
