"""A trial's adapter as peft makes and saves it, taken apart for a lane and put together again."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch
from peft.tuners.lora import Linear, LoraLayer
from safetensors.torch import save_file

from job.adapter import add_adapter, save_adapter
from job.contract.config import LoraOptions
from job.contract.errors import ConfigurationError
from job.lanes.stack import Factors, LaneAdapter
from job.store.whole_file import explained

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel

__all__ = ["NewAdapter", "factors_of", "new_adapter"]

_ADAPTER = "default"
_WEIGHTS = "adapter_model.safetensors"


class NewAdapter(NamedTuple):
    """An adapter at step 0, and the folder that peft wrote for it."""

    lane: LaneAdapter
    folder: Path

    def save(self, factors: Mapping[str, Factors]) -> Path:
        """The folder, now with these weights: the bytes that peft would write for them."""
        tensors = {}
        for name, (down, up) in factors.items():
            before = f"base_model.model.{name}"
            tensors[f"{before}.lora_A.weight"] = down.T.contiguous()
            tensors[f"{before}.lora_B.weight"] = up.T.contiguous()
        with explained(self.folder):
            save_file(tensors, self.folder / _WEIGHTS, metadata={"format": "pt"})
        return self.folder


def new_adapter(base: PreTrainedModel, *, lora: LoraOptions, seed: int, folder: Path, base_name: str) -> NewAdapter:
    """What the reference engine would begin with; `base` is as it was afterwards.

    Raises ConfigurationError as `add_adapter` does, and for an adapted layer that lanes cannot add to.
    """
    model = add_adapter(base, lora=lora, seed=seed)
    try:
        _check_head(base, model)
        lane = LaneAdapter(factors_of(model), scales=_scales(model), dropout=lora.lora_dropout)
        save_adapter(model, folder, base_name=base_name)
    finally:
        model.unload()
    return NewAdapter(lane, folder)


def factors_of(model: PeftModel) -> dict[str, Factors]:
    """The adapter's present weights, copied to the CPU."""
    return {
        name: Factors(_transposed(layer.lora_A[_ADAPTER].weight), _transposed(layer.lora_B[_ADAPTER].weight))
        for name, layer in _layers(model).items()
    }


def _scales(model: PeftModel) -> dict[str, float]:
    return {name: float(layer.scaling[_ADAPTER]) for name, layer in _layers(model).items()}


def _layers(model: PeftModel) -> dict[str, LoraLayer]:
    found = {}
    for name, layer in model.get_base_model().named_modules():
        if not isinstance(layer, LoraLayer):
            continue
        if not isinstance(layer, Linear):
            raise ConfigurationError(
                f"lora.target_modules names {name!r}, a {type(layer.get_base_layer()).__name__}: many adapters at once "
                "take linear layers alone; set execution.trials_per_job to 1"
            )
        found[name] = layer
    return found


def _check_head(base: PreTrainedModel, model: PeftModel) -> None:
    head = base.get_output_embeddings()
    for name, layer in _layers(model).items():
        if layer is head or layer.get_base_layer() is head:
            raise ConfigurationError(
                f"lora.target_modules names {name!r}, the model's head, which sees other positions when many adapters "
                "are trained at once; set execution.trials_per_job to 1"
            )


def _transposed(weight: torch.Tensor) -> torch.Tensor:
    return weight.detach().T.to("cpu", copy=True).contiguous()
