"""The packed engine gives what the reference engine gives, trial by trial."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny_lanes import Tiny, Trained, side_by_side, solo
from tiny_training import PAD, lora, options

from job.prompts import EncodedRow

WEIGHTS = 1e-7
LOSSES = 1e-8
OTHER_PROMPT = tuple(
    EncodedRow(
        example_id=f"row-{index}",
        prompt_ids=tuple(range(9 + index, 9 + index + 11 - index)),
        completion_ids=(*range(70 + index, 72 + index + index % 4), PAD),
    )
    for index in range(9)
)
STEPS = 32
TRIALS = (
    Tiny("a" * 12, lora(r=2, lora_alpha=4), options(max_steps=STEPS, learning_rate=5e-3)),
    Tiny(
        "b" * 12,
        lora(r=8, lora_alpha=32, use_rslora=True, lora_dropout=0.3),
        options(max_steps=STEPS, learning_rate=1e-3, weight_decay=0.1, lr_scheduler_type="cosine", warmup_steps=5),
        rows=OTHER_PROMPT,
        seed=1,
    ),
    Tiny(
        "c" * 12,
        lora(r=3, lora_alpha=1, lora_dropout=0.0),
        options(
            max_steps=STEPS, learning_rate=2e-3, max_grad_norm=0.05, adam_beta1=0.8, adam_beta2=0.95, adam_epsilon=1e-6,
            per_device_train_batch_size=3, gradient_accumulation_steps=1, lr_scheduler_type="constant",
        ),
        seed=2,
    ),
    Tiny("d" * 12, lora(r=5), options(max_steps=STEPS, max_grad_norm=0.0, gradient_accumulation_steps=3)),
)  # fmt: skip


@pytest.fixture(params=["gpt2", "llama"])
def folder(request: pytest.FixtureRequest, tiny_gpt2_folder: Path, tiny_llama_folder: Path) -> Path:
    return tiny_gpt2_folder if request.param == "gpt2" else tiny_llama_folder


def assert_equal(packed: Trained | None, alone: Trained) -> None:
    assert packed is not None
    assert (packed.flat() - alone.flat()).abs().max() <= WEIGHTS
    for ours, theirs in zip(packed.history, alone.history, strict=True):
        assert ours.loss == pytest.approx(theirs.loss, abs=LOSSES)
        assert ours.learning_rate == pytest.approx(theirs.learning_rate, rel=1e-12)
        assert (ours.step, ours.tokens) == (theirs.step, theirs.tokens)
        if theirs.grad_norm is not None:
            assert ours.grad_norm == pytest.approx(theirs.grad_norm, rel=1e-6)


def test_in_float64_each_lane_is_its_solo_run(folder: Path) -> None:
    packed = side_by_side(folder, TRIALS, dtype=torch.float64)
    for trial in TRIALS:
        assert_equal(packed[trial.name].trained, solo(folder, trial, dtype=torch.float64))
