"""transformers' Trainer, held to our row order and our data path; its arithmetic is the definition of training."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence, Sized
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, Sampler
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments

from job.adapter import key_dropout
from job.contract.config import JobExecution, TrainingOptions
from job.dropout import DropoutPlace, RowPlace
from job.reference.collate import IGNORED, TokenRow, training_batch
from job.seeds import Streams, row_order

if TYPE_CHECKING:
    from peft import PeftModel

__all__ = ["ReferenceTrainer", "RowOrder", "new_trainer"]


class RowOrder(Sampler[int]):
    """The trial's own row order, one permutation per epoch. Draws nothing from the process's random state."""

    def __init__(self, rows: Sized, *, order_seed: int) -> None:
        self._rows = rows
        self._order_seed = order_seed
        self.epoch = 0
        """Which permutation the next pass takes."""

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[int]:
        return iter(row_order(len(self._rows), order_seed=self._order_seed, epoch=self.epoch))


class ReferenceTrainer(Trainer):  # type: ignore[misc]  # transformers is untyped to mypy here
    """Trainer with our row order and batches, and with the state of a resumed run left to its caller."""

    order: RowOrder
    dropout_seed: int
    _micro_batch: int = 0
    window_tokens: int
    """Non-padding tokens of the present accumulation window."""
    dropout: DropoutPlace
    """Told before each forward pass which rows it is about."""
    loss_is_scaled_for_ga = True  # Trainer's question: compute_loss divides by the targets of the whole window

    def get_train_dataloader(self) -> DataLoader[Any]:
        """Batches on the CPU. The loader's own generator keeps its seed draws out of the dropout stream."""
        return DataLoader(
            self.train_dataset,
            batch_size=self.args.per_device_train_batch_size,
            sampler=self.order,
            collate_fn=self.data_collator,
            num_workers=self.args.dataloader_num_workers,
            pin_memory=self.args.device.type == "cuda",
            generator=torch.Generator(),
        )

    def get_batch_samples(
        self, epoch_iterator: Iterator[Any], num_batches: int, device: torch.device
    ) -> tuple[list[Any], int]:
        """Trainer's own window and its number of targets; counted before they go to the device, as are its tokens."""
        batches, _ = super().get_batch_samples(epoch_iterator, num_batches, device)
        self._micro_batch = 0
        self.window_tokens = sum(int(batch["attention_mask"].sum()) for batch in batches)
        return batches, sum(int(batch["labels"].ne(IGNORED).sum()) for batch in batches)

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, torch.Tensor],
        return_outputs: bool = False,
        num_items_in_batch: int | None = None,
    ) -> torch.Tensor:
        """Cross-entropy in float32, summed over the batch and divided by the targets of the whole window.

        What transformers' causal models compute with labels, but the head is applied to the positions that have a
        target: with a vocabulary of 50,000, logits over a whole prompt would be most of the memory.
        """
        self._place_dropout(rows=len(inputs["input_ids"]))
        positions = inputs["positions"]
        arguments = {"input_ids": inputs["input_ids"], "attention_mask": inputs["attention_mask"]}
        if self._selects_positions:
            logits = model(**arguments, logits_to_keep=positions).logits
        else:
            logits = model(**arguments).logits[:, positions]
        targets = inputs["labels"][:, positions + 1]
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        summed = cross_entropy(
            logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORED, reduction="sum"
        )  # fmt: skip
        return summed / (num_items_in_batch or 1)

    def _place_dropout(self, *, rows: int) -> None:
        step = self.state.global_step
        self.dropout.rows = tuple(
            RowPlace(self.dropout_seed, step, self._micro_batch, row) for row in range(rows)
        )  # fmt: skip
        self._micro_batch += 1

    @cached_property
    def _selects_positions(self) -> bool:
        return "logits_to_keep" in inspect.signature(self.model.get_base_model().forward).parameters

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: torch.nn.Module | None = None) -> None:
        """Nothing: weights come back in on_train_begin, with optimizer, schedule and random state.

        Trainer reads the step from trainer_state.json in that folder, and finds no other file of its own there.
        """


def new_trainer(
    model: PeftModel,
    *,
    rows: Sequence[TokenRow],
    options: TrainingOptions,
    execution: JobExecution,
    seeds: Streams,
    pad_id: int,
    folder: Path,
    callback: TrainerCallback,
) -> ReferenceTrainer:
    """A trainer of `model` that reports to `callback` alone; nothing is printed, logged to a service or saved."""
    trainer = ReferenceTrainer(
        model=model,
        args=_arguments(options, execution=execution, seeds=seeds, folder=folder, device=model.device),
        data_collator=partial(training_batch, pad_id=pad_id),
        train_dataset=list(rows),
        callbacks=[callback],
    )
    trainer.remove_callback(PrinterCallback)
    trainer.order = RowOrder(rows, order_seed=seeds.order)
    trainer.window_tokens = 0
    trainer.dropout = key_dropout(model)
    trainer.dropout_seed = seeds.dropout
    return trainer


def _arguments(
    options: TrainingOptions, *, execution: JobExecution, seeds: Streams, folder: Path, device: torch.device
) -> TrainingArguments:
    return TrainingArguments(
        output_dir=str(folder),
        max_steps=-1 if options.max_steps is None else options.max_steps,
        num_train_epochs=1.0 if options.num_train_epochs is None else options.num_train_epochs,
        per_device_train_batch_size=options.per_device_train_batch_size,
        gradient_accumulation_steps=options.gradient_accumulation_steps,
        learning_rate=options.learning_rate,
        weight_decay=options.weight_decay,
        adam_beta1=options.adam_beta1,
        adam_beta2=options.adam_beta2,
        adam_epsilon=options.adam_epsilon,
        max_grad_norm=options.max_grad_norm,
        lr_scheduler_type=options.lr_scheduler_type,
        warmup_steps=options.warmup_steps,
        optim=options.optim,
        bf16=options.bf16,
        fp16=options.fp16,
        seed=seeds.dropout,
        data_seed=seeds.order,
        activation_checkpointing=execution.gradient_checkpointing,
        activation_checkpointing_kwargs={"use_reentrant": False} if execution.gradient_checkpointing else None,
        dataloader_num_workers=execution.dataloader_num_workers,
        remove_unused_columns=False,
        use_cpu=device.type == "cpu",
        logging_strategy="steps",
        logging_steps=1,  # the callback learns each step's loss and gradient norm from the log
        logging_nan_inf_filter=False,  # on, it would hide a divergence behind an average
        save_strategy="no",
        eval_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )
