"""The packed engine gives what the reference engine gives, trial by trial."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import fmean, stdev

import pytest
import torch
from tiny_lanes import Owner, Tiny, Trained, side_by_side, solo
from tiny_training import PAD, lora, options

from job.contract.config import TrainingOptions
from job.contract.documents import StepRecord
from job.contract.errors import DivergedError
from job.prompts import EncodedRow

WEIGHTS = 1e-7
LOSSES = 1e-8
T_19 = 1.729  # 95th percentile of Student's t with 19 degrees of freedom
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


def test_in_float64_a_lane_is_the_same_whoever_is_beside_it(folder: Path) -> None:
    crowded = side_by_side(folder, TRIALS, dtype=torch.float64)
    for trial in TRIALS:
        alone = side_by_side(folder, [trial], dtype=torch.float64)[trial.name].trained
        assert alone is not None
        assert_equal(crowded[trial.name].trained, alone)


def test_in_float32_what_is_learned_differs_by_rounding(
    folder: Path, record_property: Callable[[str, object], None]
) -> None:
    """AdamW divides by the root of tiny squares, so that a rounding in the gradient is not one in the weight."""
    packed = side_by_side(folder, TRIALS)
    for trial in TRIALS:
        ours, theirs = packed[trial.name].trained, solo(folder, trial, dtype=torch.float32)
        start = solo(folder, replace(trial, training=_unmoved(trial.training)), dtype=torch.float32)
        assert ours is not None
        distance = (ours.flat() - theirs.flat()).norm() / (theirs.flat() - start.flat()).norm()
        record_property(trial.name, float(distance))
        assert distance <= 1e-3


def _unmoved(training: TrainingOptions) -> TrainingOptions:
    """One step at next to no rate: the weights as they were drawn."""
    return training.model_copy(update={"max_steps": 1, "learning_rate": 1e-30, "weight_decay": 0.0})


def test_the_order_in_which_lanes_are_given_changes_no_bit(folder: Path) -> None:
    packed, turned = side_by_side(folder, TRIALS), side_by_side(folder, TRIALS[::-1])
    for trial in TRIALS:
        ours, theirs = packed[trial.name].trained, turned[trial.name].trained
        assert ours is not None
        assert theirs is not None
        assert torch.equal(ours.flat(), theirs.flat())
        assert ours.history == theirs.history


@pytest.mark.parametrize("step", [1, 3, 31])
def test_a_neighbour_that_diverges_changes_no_bit(folder: Path, step: int) -> None:
    calm = side_by_side(folder, TRIALS)
    wild = {trial.name: Owner() for trial in TRIALS}
    wild[TRIALS[1].name].at_step = _diverging(at=step)
    side_by_side(folder, TRIALS, owners=wild)
    assert isinstance(wild[TRIALS[1].name].error, DivergedError)
    assert wild[TRIALS[1].name].trained is None
    for trial in (TRIALS[0], *TRIALS[2:]):
        ours, theirs = wild[trial.name].trained, calm[trial.name].trained
        assert ours is not None
        assert theirs is not None
        assert torch.equal(ours.flat(), theirs.flat())
        assert ours.history == theirs.history


def _diverging(*, at: int) -> Callable[[StepRecord], None]:
    def told(record: StepRecord) -> None:
        if record.step == at:
            raise DivergedError("loss nan")

    return told


@pytest.mark.parametrize("rate", [1e18, 1e38])
def test_a_rate_that_blows_up_ends_its_lane_alone(folder: Path, rate: float) -> None:
    wild = replace(TRIALS[1], training=TRIALS[1].training.model_copy(update={"learning_rate": rate, "warmup_steps": 0}))
    owners = side_by_side(folder, [TRIALS[0], wild, TRIALS[2]])
    calm = side_by_side(folder, TRIALS[:3])
    error = owners[wild.name].error
    assert isinstance(error, DivergedError)
    assert "lower training.learning_rate" in str(error)
    for trial in (TRIALS[0], TRIALS[2]):
        ours, theirs = owners[trial.name].trained, calm[trial.name].trained
        assert ours is not None
        assert theirs is not None
        assert torch.equal(ours.flat(), theirs.flat())


def test_in_bfloat16_the_final_losses_of_both_engines_are_equivalent_over_20_seeds(folder: Path) -> None:
    """Two one-sided tests at 5 %: the 90 % interval of the mean difference lies within 0.01 nats."""
    training = options(max_steps=6, bf16=True, learning_rate=2e-3)
    trials = [Tiny(f"{seed:012x}", training=training, seed=seed) for seed in range(20)]
    packed = side_by_side(folder, trials)
    differences = []
    for trial in trials:
        ours, theirs = packed[trial.name].trained, solo(folder, trial, dtype=torch.float32)
        assert ours is not None
        differences.append(ours.history[-1].loss - theirs.history[-1].loss)
    half = T_19 * stdev(differences) / len(differences) ** 0.5
    assert fmean(differences) - half > -0.01
    assert fmean(differences) + half < 0.01
