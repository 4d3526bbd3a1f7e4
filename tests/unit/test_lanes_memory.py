"""The memory of K lanes against what torch really holds, on a CPU, with the lanes' layer written out."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, PreTrainedModel

from controller.planning.lanes_memory import LaneShape, lane_shape, lanes_memory
from controller.planning.memory import MemoryEstimate
from controller.planning.model_shape import ModelShape, model_shape
from job.contract.config import TrialConfig

DIGEST = f"sha256:{'0' * 64}"
TOKENS, WRITTEN, LAYERS = 96, 24, 6
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


@contextmanager
def lanes_on(model: PreTrainedModel, lane: LaneShape, *, lanes: int) -> Iterator[list[torch.Tensor]]:
    """y = base(x) + bmm(bmm(drop(x), A), B) * scale on every target, for as long as the block runs."""
    made: list[torch.Tensor] = []
    handles = []
    names = {linear.name for linear in lane.targets}
    for path, module in model.named_modules():
        if path.rpartition(".")[2] not in names:
            continue
        inputs, outputs = module.weight.shape if model.config.model_type == "gpt2" else reversed(module.weight.shape)
        down = torch.randn(lanes, inputs, lane.rank, requires_grad=True)
        up = torch.zeros(lanes, lane.rank, outputs, requires_grad=True)
        scale = torch.ones(lanes, 1, 1)

        def add(_: Any, args: Any, base: torch.Tensor, down: Any = down, up: Any = up, scale: Any = scale) -> Any:
            x = args[0].to(down.dtype)
            if lane.drops:
                x = x.masked_fill(torch.rand(x.shape) < 0.1, 0.0) * 1.1
            update = torch.bmm(torch.bmm(x.reshape(lanes, -1, x.shape[-1]), down), up)
            return (base + (update * scale.to(update.dtype)).view(base.shape)).to(base.dtype)

        handles.append(module.register_forward_hook(add))
        made += [down, up]
    yield made
    for handle in handles:
        handle.remove()


def measured(model: PreTrainedModel, lane: LaneShape, *, lanes: int) -> int:
    """The peak of one micro-batch: forward, loss on the completions, backward; with weights and optimizer."""
    ids = torch.randint(0, 2000, (lanes * lane.rows, TOKENS))
    mask = torch.ones_like(ids)
    mask[0, TOKENS - 10 :] = 0
    with lanes_on(model, lane, lanes=lanes) as adapters, Held([*model.parameters(), *adapters]) as held:
        for adapter in adapters:
            adapter.grad = torch.zeros_like(adapter)
        moments = [torch.zeros_like(adapter) for adapter in adapters for _ in range(2)]
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=lane.autocast):
            loss = _loss(model, ids, mask)
        torch.autograd.backward(loss)
        assert len(moments) == 2 * len(adapters)
    own: int = sum(part.numel() * part.element_size() for part in (*model.parameters(), *adapters))
    return int(held.peak + own)


def _loss(model: PreTrainedModel, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    logits = model(input_ids=ids, attention_mask=mask, logits_to_keep=WRITTEN, use_cache=False).logits
    flat = logits.float().reshape(-1, logits.shape[-1])
    return functional.cross_entropy(flat, ids[:, -WRITTEN:].reshape(-1), reduction="sum")


def estimated(config: TrialConfig, *, shape: ModelShape, lanes: int) -> MemoryEstimate:
    lane = lane_shape([config], shape=shape)
    return lanes_memory(lane, lanes=lanes, shape=shape, eval_rows=0, row_tokens=TOKENS)


@pytest.mark.parametrize(("lanes", "dropout"), [(1, 0.0), (4, 0.1)], ids=["1", "4 with dropout"])
@pytest.mark.parametrize(
    ("dtype", "autocast"), [("float32", False), ("bfloat16", False), ("float32", True)], ids=["32", "16", "autocast"]
)
@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_the_peak_of_so_many_lanes_is_within_15_percent(
    family: str, dtype: str, autocast: bool, dropout: float, lanes: int
) -> None:
    model = new_model(family, getattr(torch, dtype))
    shape = shape_of(model)
    config = trial(dtype=dtype, lora={"lora_dropout": dropout}, training={"bf16": autocast})
    lane = lane_shape([config], shape=shape)
    assert estimated(config, shape=shape, lanes=lanes).total == pytest.approx(
        measured(model, lane, lanes=lanes), rel=0.15
    )


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
