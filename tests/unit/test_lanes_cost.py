"""How many trials `auto` puts into a Job: many of a small model, one of a large one, and never an empty place."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from known_model import KNOWN, trial

from controller.planning.lanes_cost import CPU, GPU, ROWS, Device, Sharing, group_seconds, share_of, work_of
from controller.planning.lanes_memory import lane_shape, lanes_memory
from controller.planning.model_shape import ModelShape, model_shape
from job.contract.config import JobExecution, TrialConfig

GPT2: dict[str, Any] = {
    "model_type": "gpt2", "n_embd": 768, "n_layer": 12, "n_head": 12, "n_positions": 1024, "vocab_size": 50257,
}  # fmt: skip


def llama(*, hidden: int, inner: int, layers: int, heads: int, keys: int, vocabulary: int, millions: int) -> ModelShape:
    config = {
        "model_type": "llama", "hidden_size": hidden, "intermediate_size": inner, "num_hidden_layers": layers,
        "num_attention_heads": heads, "num_key_value_heads": keys, "vocab_size": vocabulary,
        "max_position_embeddings": 8192,
    }  # fmt: skip
    return model_shape(config, weight_bytes=4 * millions * 10**6)


SMALL = KNOWN.shape
assert SMALL is not None
SHAPES = {
    "a toy": SMALL,
    "GPT-2": model_shape(GPT2, weight_bytes=4 * 124_000_000),
    "SmolLM2 135M": llama(hidden=576, inner=1536, layers=30, heads=9, keys=3, vocabulary=49152, millions=135),
    "Llama 3.2 1B": llama(hidden=2048, inner=8192, layers=16, heads=32, keys=8, vocabulary=128256, millions=1236),
    "SmolLM2 1.7B": llama(hidden=2048, inner=8192, layers=24, heads=32, keys=32, vocabulary=49152, millions=1711),
    "Llama 3.2 3B": llama(hidden=3072, inner=8192, layers=28, heads=24, keys=8, vocabulary=128256, millions=3213),
}


def short(**changes: Any) -> TrialConfig:
    """32 steps of 4 rows, evaluated every 4 on 10 rows: the shape of the first experiment."""
    training = {"max_steps": 32, "per_device_train_batch_size": 4, "eval_steps": 4, **changes.pop("training", {})}
    return trial(
        training=training,
        lora={"target_modules": ["q_proj", "v_proj", "c_attn"]},
        data={
            "splits": {"train": "a", "validation": "b", "test": "c"},
            "limits": {"train": 128, "validation": 10, "test": 819},
        },
        **changes,
    )


def shared(
    name: str, *configs: TrialConfig, parallelism: int = 1, device: Device = GPU, execution: JobExecution | None = None
) -> Sharing:
    return share_of(
        configs or (short(),) * 8,
        shape=SHAPES[name],
        execution=execution or JobExecution(),
        at_a_time=parallelism,
        device=device,
    )


@pytest.mark.parametrize("name", ["a toy", "GPT-2", "SmolLM2 135M"])
def test_small_models_share_a_gpu(name: str) -> None:
    found = shared(name)
    assert found.lanes > 1
    assert "instead of" in found.why


@pytest.mark.parametrize("name", ["Llama 3.2 1B", "SmolLM2 1.7B", "Llama 3.2 3B"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_large_models_at_a_usual_batch_have_a_gpu_each(name: str, dtype: str) -> None:
    usual = short(
        model={"dtype": dtype}, training={"max_steps": 500, "per_device_train_batch_size": 8, "eval_steps": 100}
    )
    assert shared(name, *[usual] * 8).lanes == 1


def test_on_a_cpu_lanes_come_in_turn_so_all_share_and_memory_is_that_of_one() -> None:
    assert shared("GPT-2", device=CPU).lanes == 8
    assert shared("GPT-2", parallelism=3, device=CPU).lanes == 3
    assert shared("Llama 3.2 3B", device=CPU).lanes == 8


@given(count=st.integers(1, 40), parallelism=st.integers(1, 12), name=st.sampled_from(["a toy", "GPT-2"]))
def test_no_place_is_left_empty_and_the_memory_holds_the_lanes(count: int, parallelism: int, name: str) -> None:
    configs, shape = [short()] * count, SHAPES[name]
    lanes = shared(name, *configs, parallelism=parallelism).lanes
    assert -(-count // lanes) >= min(parallelism, count)
    estimate = lanes_memory(lane_shape(configs, shape=shape), lanes=lanes, shape=shape, eval_rows=16)
    assert lanes == 1 or estimate.total <= GPU.memory_bytes


def test_the_largest_batch_decides_what_fits() -> None:
    few, many = (
        shared("GPT-2", *[short()] * 8),
        shared("GPT-2", *[short()] * 7, short(training={"per_device_train_batch_size": 64})),
    )
    assert many.lanes < few.lanes
    assert many == Sharing(1, "two of them are estimated at more than 16 GiB")


def test_what_a_trial_computes_is_read_off_its_configuration() -> None:
    work = work_of(short(training={"gradient_accumulation_steps": 3}), execution=JobExecution(eval_batch_size=5))
    assert work == (32 * 3, 4, 10 + 819 + 8 * 10, 64, 5)
    epochs = trial(training={"max_steps": None, "num_train_epochs": 2.5, "gradient_accumulation_steps": 2})
    assert ROWS == 1000  # 63 windows of 2 x 8 rows an epoch
    assert work_of(epochs, execution=JobExecution()).passes == 158 * 2
    baseline = work_of(trial("zero-shot"), execution=JobExecution())
    assert (baseline.passes, baseline.rows, baseline.scored) == (0, 0, 2 * ROWS)


def test_launches_are_shared_until_the_device_is_busy() -> None:
    work, shape = work_of(short(), execution=JobExecution()), SHAPES["GPT-2"]
    seconds = [group_seconds(work, lanes=lanes, shape=shape, device=GPU) for lanes in (1, 2, 4, 8, 16)]
    assert seconds == sorted(seconds)
    assert all(later < 2 * sooner for sooner, later in pairwise(seconds))
