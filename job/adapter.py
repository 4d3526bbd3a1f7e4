"""LoRA adapters on a base model: made, loaded and saved by peft."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.tuners.lora import LoraLayer
from safetensors import SafetensorError
from torch import nn
from transformers.pytorch_utils import Conv1D

from job.contract.config import LoraOptions
from job.contract.errors import ConfigurationError, ResultError
from job.dropout import DropoutPlace, KeyedDropout
from job.memory import memory_ran_out
from job.random_state import seed_everything

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["add_adapter", "key_dropout", "load_adapter", "save_adapter"]

_WEIGHTS = "adapter_model.safetensors"
_CONFIG = "adapter_config.json"
_NAMES_SHOWN = 30


def add_adapter(base: PreTrainedModel, *, lora: LoraOptions, seed: int) -> PeftModel:
    """`base` with a new adapter in float32, whose first weights `seed` decides; the only part with gradients.

    Raises ConfigurationError when a module is named that the model does not have, or when something would be trained
    in less than float32.
    """
    _check_names(base, names=lora.target_modules, field="target_modules")
    _check_names(base, names=lora.modules_to_save, field="modules_to_save")
    seed_everything(seed)
    try:
        with _without_known_warnings():
            model = get_peft_model(base, _lora_config(base, lora), autocast_adapter_dtype=True)
    except (ValueError, re.error) as err:
        raise _no_target(base, f"target_modules {lora.target_modules!r}: {err}") from err
    _check_float32(model)
    return model


def key_dropout(model: PeftModel) -> DropoutPlace:
    """The place that the masks of `model`'s adapter depend on from now on; its owner says which rows come next."""
    place = DropoutPlace()
    for name, layer in model.get_base_model().named_modules():
        if not isinstance(layer, LoraLayer):
            continue
        for adapter, dropout in layer.lora_dropout.items():
            if isinstance(dropout, nn.Dropout):
                layer.lora_dropout[adapter] = KeyedDropout(dropout.p, layer=name, place=place)
    return place


def load_adapter(base: PreTrainedModel, folder: Path) -> PeftModel:
    """`base` with the frozen adapter of `folder`, in eval mode.

    Raises ResultError when its files are damaged. Whatever is raised, `base` is as it was: others may go on with it.
    """
    if not (folder / _WEIGHTS).is_file():
        raise ResultError(f"adapter {folder.name!r} has no {_WEIGHTS}; other formats are not read")
    try:
        with _without_known_warnings():
            model = PeftModel.from_pretrained(base, folder, is_trainable=False, local_files_only=True)
    except Exception as err:
        _take_layers_out(base)
        damage = (OSError, ValueError, TypeError, KeyError, RuntimeError, SafetensorError)
        if memory_ran_out(err) or not isinstance(err, damage):
            raise
        raise ResultError(f"adapter {folder.name!r} does not load on this base model: {err}") from err
    model.requires_grad_(False)  # peft leaves trained biases open
    return model.eval()


def _take_layers_out(base: PreTrainedModel) -> None:
    """peft puts its layers in before it reads an adapter's weights, and leaves them there when that fails."""
    for name, module in list(base.named_modules()):
        if isinstance(module, LoraLayer):
            place, _, leaf = name.rpartition(".")
            setattr(base.get_submodule(place), leaf, module.get_base_layer())


def save_adapter(model: PeftModel, folder: Path, *, base_name: str) -> None:
    """Write the adapter in peft's safetensors format, the same bytes for the same weights.

    `base_name` is what a stranger will load as the base; the local path never leaves the machine.
    """
    # The base is frozen, so its embeddings are never part of an adapter; "auto" would ask a hub about them.
    model.save_pretrained(folder, save_embedding_layers=False)
    (folder / "README.md").unlink(missing_ok=True)  # peft's card, which names the local path
    path = folder / _CONFIG
    config = json.loads(path.read_bytes())
    config["base_model_name_or_path"] = base_name
    # peft keeps these as sets, whose order changes from process to process.
    config |= {name: sorted(value) for name, value in config.items() if _is_list_of_names(value)}
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")


@contextmanager
def _without_known_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        # peft says so for every layer where a model mixes Linear and Conv1D, and then does the right thing.
        warnings.filterwarnings("ignore", message="fan_in_fan_out is set to")
        # peft 0.21 asks transformers 5.23 by an older name.
        warnings.filterwarnings("ignore", message="`is_gradient_checkpointing` is deprecated")
        yield


def _lora_config(base: PreTrainedModel, lora: LoraOptions) -> LoraConfig:
    targets = lora.target_modules
    alpha = lora.lora_alpha
    return LoraConfig(
        task_type="CAUSAL_LM",
        r=lora.r,
        lora_alpha=int(alpha) if float(alpha).is_integer() else alpha,
        lora_dropout=lora.lora_dropout,
        target_modules=list(targets) if isinstance(targets, tuple) else targets,
        fan_in_fan_out=any(isinstance(module, Conv1D) for module in base.modules()),  # GPT-2 stores (in, out)
        use_rslora=lora.use_rslora,
        use_dora=lora.use_dora,
        bias=lora.bias,
        modules_to_save=None if lora.modules_to_save is None else list(lora.modules_to_save),
    )


def _check_names(base: PreTrainedModel, *, names: str | Sequence[str] | None, field: str) -> None:
    """Every name of a list matches a module, as peft matches: whole, or as the end of a dotted path."""
    if names is None or isinstance(names, str):
        return
    paths = [path for path, _ in base.named_modules()]
    for name in names:
        if not any(path == name or path.endswith(f".{name}") for path in paths):
            raise _no_target(base, f"{field} names {name!r}, which this model does not have")


def _no_target(base: PreTrainedModel, message: str) -> ConfigurationError:
    adaptable = nn.Linear | nn.Embedding | nn.Conv1d | nn.Conv2d | Conv1D
    found = sorted({path.rpartition(".")[2] for path, module in base.named_modules() if isinstance(module, adaptable)})
    shown = ", ".join(found[:_NAMES_SHOWN]) + (", ..." if len(found) > _NAMES_SHOWN else "")
    return ConfigurationError(f"lora.{message}; the modules of {type(base).__name__} are: {shown}, or all-linear")


def _check_float32(model: PeftModel) -> None:
    for name, parameter in model.named_parameters():
        if parameter.requires_grad and parameter.dtype != torch.float32:
            raise ConfigurationError(
                f"{name} would be trained in {str(parameter.dtype).removeprefix('torch.')}: lora.bias and "
                "lora.modules_to_save train parts of the base model; set model.dtype to float32 "
                "(with training.bf16 for speed)"
            )


def _is_list_of_names(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)
