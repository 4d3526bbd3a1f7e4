"""TRL's trainer for one trial; apart from packed.trl_trial, as a baseline is scored without these imports."""

from __future__ import annotations

from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig
from transformers import TrainerCallback
from transformers.pytorch_utils import Conv1D
from trl import SFTConfig, SFTTrainer

from job.contract.config import LoraOptions, TrainingOptions
from packed.trl_task import TrlTask

__all__ = ["new_trainer"]


def new_trainer(
    task: TrlTask, model: Any, tokenizer: Any, rows: list[dict[str, str]], *, callback: TrainerCallback
) -> Any:
    """With an adapter on `model`."""
    options, lora = task.config.training, task.config.lora
    if options is None or lora is None:
        raise ValueError("a trial without training or lora has nothing to train")
    return SFTTrainer(
        model=model,
        args=_arguments(options, seed=task.seed, output=task.output),
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
        peft_config=_lora(lora, model),
        callbacks=[callback],
    )


def _lora(lora: LoraOptions, model: Any) -> LoraConfig:
    return LoraConfig(
        task_type="CAUSAL_LM",
        r=lora.r,
        lora_alpha=lora.lora_alpha,
        lora_dropout=lora.lora_dropout,
        target_modules=lora.target_modules,
        fan_in_fan_out=any(isinstance(module, Conv1D) for module in model.modules()),
    )


def _arguments(options: TrainingOptions, *, seed: int, output: str) -> SFTConfig:
    return SFTConfig(
        output_dir=f"{output}/trainer",
        completion_only_loss=True,
        max_length=None,
        max_steps=options.max_steps,
        per_device_train_batch_size=options.per_device_train_batch_size,
        gradient_accumulation_steps=options.gradient_accumulation_steps,
        learning_rate=options.learning_rate,
        lr_scheduler_type=options.lr_scheduler_type,
        weight_decay=options.weight_decay,
        max_grad_norm=options.max_grad_norm,
        bf16=options.bf16,
        seed=seed,
        train_sampling_strategy="sequential",  # the rows come in the order of training
        gradient_checkpointing=False,
        use_cpu=not torch.cuda.is_available(),
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )
