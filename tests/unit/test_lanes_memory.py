"""The memory of K lanes against what torch really holds, on a CPU."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_lanes import Owner
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, PreTrainedModel

from controller.planning.lanes_memory import lane_shape, lanes_memory
from controller.planning.memory import MemoryEstimate
from controller.planning.model_shape import ModelShape, model_shape
from job.checkpoint import Checkpoints
from job.contract.config import TrialConfig
from job.evaluation.generation import Decoding
from job.lanes.adapters import new_adapter
from job.lanes.course import Course, Lane
from job.lanes.exam import Asked
from job.lanes.pack import Pack
from job.prompts import EncodedRow
from job.seeds import streams
from job.stopping import StopSignal
from job.store.folder import FolderStore
from job.windows import Cadence

DIGEST = f"sha256:{'0' * 64}"
TOKENS, WRITTEN, LAYERS = 96, 24, 6
ROWS = tuple(
    EncodedRow(
        example_id=str(row),
        prompt_ids=tuple(range(1, TOKENS - WRITTEN + 1)),
        completion_ids=tuple(range(100, 100 + WRITTEN)),
    )
    for row in range(2)
)
LLAMA = {
    "vocab_size": 2000, "hidden_size": 96, "intermediate_size": 256, "num_attention_heads": 6,
    "num_key_value_heads": 2, "max_position_embeddings": 256, "num_hidden_layers": LAYERS,
}  # fmt: skip
GPT2 = {
    "vocab_size": 2000, "n_embd": 96, "n_head": 6, "n_positions": 256, "resid_pdrop": 0.0, "embd_pdrop": 0.0,
    "attn_pdrop": 0.0, "bos_token_id": 0, "eos_token_id": 0, "n_layer": LAYERS,
}  # fmt: skip


def new_model(family: str, dtype: torch.dtype = torch.float32) -> PreTrainedModel:
    torch.manual_seed(0)
    model: PreTrainedModel = (
        LlamaForCausalLM(LlamaConfig(**LLAMA)) if family == "llama" else GPT2LMHeadModel(GPT2Config(**GPT2))
    )
    return model.to(dtype).requires_grad_(False)


def shape_of(model: PreTrainedModel) -> ModelShape:
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return model_shape({**model.config.to_dict(), "dtype": "float32"}, weight_bytes=4 * parameters)


def trial(*, dtype: str = "float32", **changes: Any) -> TrialConfig:
    lora = {"r": 8, "lora_alpha": 8, "target_modules": "all-linear", **changes.pop("lora", {})}
    training = {"max_steps": 1, "per_device_train_batch_size": 2, **changes.pop("training", {})}
    return TrialConfig.model_validate(
        {
            "model": {"digest": DIGEST, "dtype": dtype},
            "data": {"digest": DIGEST, "splits": {"train": "a"}, "columns": {"input": "a", "target": "b"}},
            "prompt": {"prompt": "{a}", "completion": "{b}"},
            "generation": {"max_new_tokens": WRITTEN},
            "lora": lora,
            "training": training,
            "seed": 1,
            **changes,
        }
    )


class Held(TorchDispatchMode):
    """Bytes in tensors that an operation made and somebody still holds; their peak."""

    bytes: int
    peak: int

    def __init__(self, given: Iterable[torch.Tensor]) -> None:
        """`given` is there before; views of it count for nothing."""
        super().__init__()  # type: ignore[no-untyped-call]  # torch says nothing of its types
        self._alive = {part.untyped_storage()._cdata for part in given}
        self.bytes = self.peak = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for found in tree_flatten(result)[0]:
            if isinstance(found, torch.Tensor):
                self._hold(found.untyped_storage())
        self.peak = max(self.peak, self.bytes)
        return result

    def _hold(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()  # the C++ object, which lives as long as its bytes
        if key not in self._alive:
            self._alive.add(key)
            self.bytes += size
            weakref.finalize(storage, self._free, key, size)

    def _free(self, key: int, size: int) -> None:
        self._alive.discard(key)
        self.bytes -= size


def measured(model: PreTrainedModel, config: TrialConfig, *, lanes: int, folder: Path) -> int:
    """The peak of an optimizer step of so many lanes, of passes and optimizer, with the weights."""
    assert config.training is not None
    courses = [_course(model, config, seed=seed, folder=folder) for seed in range(lanes)]
    with Held(model.parameters()) as held:
        pack = Pack(model, courses, pad_id=0, bf16=config.training.bf16)
        pack.step()
    pack.close()
    own: int = sum(part.numel() * part.element_size() for part in model.parameters())
    return int(held.peak + own)


def _course(model: PreTrainedModel, config: TrialConfig, *, seed: int, folder: Path) -> Course:
    assert config.lora is not None and config.training is not None
    adapter = new_adapter(model, lora=config.lora, seed=seed, folder=folder / "adapter", base_name="tiny")
    lane = Lane(
        trial_id=str(seed),
        adapter=adapter.lane,
        rows=ROWS,
        options=config.training,
        seeds=streams(seed),
        cadence=Cadence(2, None, None),
        rate=lambda step: 1e-3,
        checkpoints=Checkpoints(FolderStore(folder), trial_id="0" * 12, attempt="one", spool=folder / "spool"),
        owner=Owner(),
    )
    return Course.begin(lane)


def estimated(config: TrialConfig, *, shape: ModelShape, lanes: int) -> MemoryEstimate:
    lane = lane_shape([config], shape=shape)
    return lanes_memory(lane, lanes=lanes, shape=shape, eval_rows=0, row_tokens=TOKENS)


@pytest.mark.parametrize(("lanes", "dropout"), [(1, 0.0), (4, 0.1)], ids=["1", "4 with dropout"])
@pytest.mark.parametrize(
    ("dtype", "autocast"), [("float32", False), ("bfloat16", False), ("float32", True)], ids=["32", "16", "autocast"]
)
@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_the_peak_of_so_many_lanes_is_within_15_percent(
    family: str, dtype: str, autocast: bool, dropout: float, lanes: int, tmp_path: Path
) -> None:
    model = new_model(family, getattr(torch, dtype))
    config = trial(dtype=dtype, lora={"lora_dropout": dropout}, training={"bf16": autocast})
    expected = estimated(config, shape=shape_of(model), lanes=lanes).total
    assert expected == pytest.approx(measured(model, config, lanes=lanes, folder=tmp_path), rel=0.15)


@pytest.mark.parametrize("lanes", [1, 8])
@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_with_large_ranks_the_peak_is_that_of_the_optimizer_and_within_15_percent(
    family: str, lanes: int, tmp_path: Path
) -> None:
    model = new_model(family)
    config = trial(lora={"r": 256}, training={"per_device_train_batch_size": 1})
    found = estimated(config, shape=shape_of(model), lanes=lanes)
    assert found.optimizer > found.activations + found.logits
    assert found.total == pytest.approx(measured(model, config, lanes=lanes, folder=tmp_path), rel=0.15)


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_writing_the_rows_of_all_lanes_together_is_within_15_percent(family: str, tmp_path: Path) -> None:
    model, rows, lanes = new_model(family), ROWS * 8, 4
    shape, config = shape_of(model), trial()
    assert config.generation is not None
    lane = lane_shape([config], shape=shape)
    found = lanes_memory(lane, lanes=lanes, shape=shape, eval_rows=len(rows), row_tokens=TOKENS - WRITTEN)
    asked = Asked(rows, Decoding(config.generation, (1999,), 0, 256), "test", len(rows), lambda *told: None)
    pack = Pack(
        model, [_course(model, config, seed=seed, folder=tmp_path) for seed in range(lanes)], pad_id=0, bf16=False
    )  # fmt: skip
    with Held([*model.parameters(), *pack._stack.values]) as held:
        pack.answers(dict.fromkeys(range(lanes), asked), stop=StopSignal())
    pack.close()
    assert found.generation == pytest.approx(held.peak, rel=0.15)


def test_the_longest_padding_counts_for_every_lane() -> None:
    shape = shape_of(new_model("llama"))
    few = trial(lora={"r": 2, "target_modules": ["q_proj"]}, training={"per_device_train_batch_size": 1})
    many = trial(lora={"r": 16, "target_modules": ["down_proj"], "lora_dropout": 0.1}, generation={"num_beams": 3})
    lane = lane_shape([few, many], shape=shape)
    assert (lane.rank, lane.rows, lane.drops, lane.beams, lane.new_tokens) == (16, 2, True, 3, 64)
    assert [linear.name for linear in lane.targets] == ["q_proj", "down_proj"]
    alone = lanes_memory(lane_shape([few], shape=shape), lanes=2, shape=shape, eval_rows=4)
    both = lanes_memory(lane, lanes=2, shape=shape, eval_rows=4)
    assert both.adapter == 16 * 2 * 16 * LAYERS * (96 + 96 + 256 + 96)
    assert both.activations > 2 * alone.activations
    assert both.generation > alone.generation
    assert both.weights == alone.weights


def test_every_lane_takes_as_much_again() -> None:
    shape = shape_of(new_model("gpt2"))
    lane = lane_shape([trial()], shape=shape)
    one, two, three = (lanes_memory(lane, lanes=lanes, shape=shape, eval_rows=4).total for lanes in (1, 2, 3))
    assert one < two
    assert three - two == pytest.approx(two - one)


def test_baselines_alone_keep_nothing_for_training() -> None:
    shape = shape_of(new_model("llama"))
    baseline = trial().model_copy(update={"kind": "zero-shot", "lora": None, "training": None, "seed": None})
    found = lanes_memory(lane_shape([baseline], shape=shape), lanes=2, shape=shape, eval_rows=4)
    assert (found.adapter, found.activations, found.logits) == (0, 0, 0)
    assert found.total == found.weights + found.generation
