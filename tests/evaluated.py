"""Evaluations of a few short prompts on a tiny model, for tests of what is measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import nn
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from job.contract.config import GenerationOptions
from job.evaluation.evaluate import SplitEvaluation, evaluate_split
from job.prompts import EncodedRow
from job.stopping import StopSignal

__all__ = [
    "ANSWERS",
    "NEW_TOKENS",
    "PROMPTS",
    "Loaded",
    "full_loss",
    "load_tiny",
    "score",
    "tiny_encoded",
    "with_adapter",
]

PROMPTS = [
    "Al",
    "Tom: hi there",
    "Anna: shall we meet?\nTom: yes, at five",
    "B: ok",
    "x" * 40,
    "Lea: no!",
    "hello\nyou",
]
ANSWERS = [" Tom greets.", " ok", " Anna and Tom will meet at five today.", " B agrees.", " x", " Lea says no", " hi"]
NEW_TOKENS = 12


class Loaded(NamedTuple):
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase


def load_tiny(folder: Path) -> Loaded:
    """The model in `folder` with its tokenizer."""
    return Loaded(AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder))


def tiny_encoded(tokenizer: PreTrainedTokenizerBase) -> list[EncodedRow]:
    return [
        EncodedRow(
            example_id=f"row{number}",
            prompt_ids=tuple(tokenizer.encode(prompt)),
            completion_ids=(*tokenizer.encode(answer), int(tokenizer.eos_token_id)),
        )
        for number, (prompt, answer) in enumerate(zip(PROMPTS, ANSWERS, strict=True))
    ]


def score(loaded: Loaded, **changed: Any) -> SplitEvaluation:
    arguments: dict[str, Any] = {
        "model": loaded.model,
        "tokenizer": loaded.tokenizer,
        "rows": tiny_encoded(loaded.tokenizer),
        "references": {f"row{number}": answer for number, answer in enumerate(ANSWERS)},
        "generation": GenerationOptions(max_new_tokens=NEW_TOKENS),
        "metrics": ("rouge",),
        "split": "validation",
        "step": 3,
        "batch_size": 4,
        "end_token_id": int(loaded.tokenizer.eos_token_id),
        "pad_id": int(loaded.tokenizer.eos_token_id),
        "seed": 0,
        "stop": StopSignal(),
    }
    return evaluate_split(**{**arguments, **changed})


def with_adapter(model: PreTrainedModel, *, scale: float = 0.5) -> PeftModel:
    """`model` with an adapter that changes its outputs visibly."""
    config = LoraConfig(r=4, target_modules="all-linear", lora_dropout=0.5, fan_in_fan_out=False)
    adapted = get_peft_model(model, config)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, weight in adapted.named_parameters():
            if "lora_B" in name:
                weight.copy_(torch.randn(weight.shape, generator=generator) * scale)
    return adapted


def full_loss(model: nn.Module, row: EncodedRow) -> float:
    """The plain definition: one row, no padding, all logits."""
    ids = torch.tensor([[*row.prompt_ids, *row.completion_ids]])
    with torch.no_grad():
        logits = model.eval()(input_ids=ids).logits
    log_probabilities = logits[0, :-1].float().log_softmax(-1)
    picked = log_probabilities.gather(1, ids[0, 1:, None])[:, 0]
    return -float(picked[len(row.prompt_ids) - 1 :].sum())
