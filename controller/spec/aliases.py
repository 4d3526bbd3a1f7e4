"""What fields are called elsewhere: words of papers and other trainers, for the hint that an unknown key gets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

__all__ = ["field_called"]

_CALLED: Mapping[str, str] = MappingProxyType(
    {
        "learning_rate": "lr rate step_size base_lr max_lr",
        "r": "rank lora_r lora_rank dim",
        "lora_alpha": "alpha",
        "alpha_ratio": "ratio alpha_over_r",
        "lora_dropout": "dropout",
        "target_modules": "targets modules target lora_target lora_target_modules",
        "per_device_train_batch_size": "batch_size batch bs bsz train_batch_size micro_batch_size",
        "gradient_accumulation_steps": "gradient_accumulation grad_accum grad_acc_steps accumulate_grad_batches",
        "num_train_epochs": "epochs epoch num_epochs n_epochs max_epochs",
        "max_steps": "steps num_steps n_steps iterations max_iters iters train_steps num_train_steps",
        "warmup_steps": "warmup num_warmup_steps",
        "lr_scheduler_type": "scheduler lr_scheduler schedule",
        "optim": "optimizer",
        "max_grad_norm": "clip grad_clip gradient_clipping clip_grad_norm max_norm",
        "weight_decay": "wd decay",
        "adam_beta1": "beta1",
        "adam_beta2": "beta2",
        "adam_epsilon": "eps epsilon",
        "eval_steps": "eval_every eval_interval",
        "max_new_tokens": "max_tokens max_length max_new",
        "num_beams": "beams beam_size",
        "temperature": "temp",
        "do_sample": "sample sampling",
        "metric": "metrics",
        "metrics": "metric",
        "id": "name path model_name model_name_or_path base_model",
        "source": "path dataset dataset_name name id",
        "completion": "response answer output",
        "prompt": "template instruction",
        "input": "text source document",
        "target": "label output reference summary",
        "parallelism": "workers jobs n_jobs max_parallel concurrency",
        "trial_timeout_s": "timeout time_limit",
        "max_attempts": "retries max_retries attempts",
        "eval_batch_size": "per_device_eval_batch_size",
        "gpus": "gpu num_gpus n_gpus",
        "root": "path folder uri bucket",
    }
)


def field_called(word: str, fields: Iterable[str]) -> str | None:
    """The one of `fields` that people also call `word`."""
    plain = word.lower().replace("-", "_")
    return next((field for field in fields if plain in _CALLED.get(field, "").split()), None)
