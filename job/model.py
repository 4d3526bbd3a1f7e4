"""The frozen base model and its tokenizer, from a folder. No code of the folder runs, and no pickle is read."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from peft import prepare_model_for_kbit_training
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig
from transformers.utils import logging as transformers_logging

from job.contract.config import ModelOptions
from job.contract.errors import ConfigurationError
from job.memory import memory_ran_out

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

__all__ = ["context_length", "load_base", "load_tokenizer"]

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
# What configurations call the longest sequence; transformers maps most others to the first.
_CONTEXT_NAMES = ("max_position_embeddings", "n_positions", "n_ctx", "seq_length", "max_seq_len", "max_sequence_length")


class _Found(NamedTuple):
    model: PreTrainedModel
    report: dict[str, Any]
    """What the files had too much or too little."""


def load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """The folder's tokenizer. Raises ConfigurationError when there is none, or only one that needs its own code."""
    remedy = "the model needs a tokenizer.json, or the vocabulary files of a tokenizer that transformers knows"
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError, KeyError, ImportError) as err:
        raise ConfigurationError(
            f"cannot load the tokenizer of model {folder.name!r}: {_first_line(err)}; {remedy}"
        ) from err
    # transformers 5 makes some tokenizers out of nothing when the files are missing.
    if len(tokenizer.get_vocab()) <= len(tokenizer.all_special_tokens):
        raise ConfigurationError(f"cannot load the tokenizer of model {folder.name!r}: it knows no text; {remedy}")
    return tokenizer


def load_base(folder: Path, *, options: ModelOptions, device: torch.device) -> PreTrainedModel:
    """The model on `device` in eval mode: frozen, in the dtype and with the dropout of `options`.

    Attention is torch's own scaled_dot_product_attention where the architecture has it: exact, without a matrix of
    (seq, seq); eager otherwise. Raises ConfigurationError when the folder cannot be loaded safely.
    """
    config = _load_config(folder)
    if options.dropout != "keep":
        _set_config_dropout(config, options.dropout)
    bar = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        model = _load_weights(folder, config=config, options=options, device=device)
    finally:
        if bar:
            transformers_logging.enable_progress_bar()
    if options.dropout != "keep":
        _set_module_dropout(model, options.dropout)
    if options.load_in_4bit:
        # For baselines as well: it raises the norms to float32, and that alone moves the outputs.
        model = prepare_model_for_kbit_training(model, use_gradient_checkpointing=False)
    model.requires_grad_(False)
    return model.eval()


def context_length(model_config: PretrainedConfig) -> int:
    """How many tokens the model can see at once, prompt and completion together.

    Raises ConfigurationError when the configuration does not say.
    """
    text_config = model_config.get_text_config()
    for name in _CONTEXT_NAMES:
        value = getattr(text_config, name, None)
        if isinstance(value, int) and value > 0:
            return value
    raise ConfigurationError(
        f"the configuration of this {model_config.model_type!r} model names no context length "
        f"(looked for {', '.join(_CONTEXT_NAMES)}); add max_position_embeddings to its config.json"
    )


def _load_config(folder: Path) -> PretrainedConfig:
    _refuse_pickled_weights(folder)
    try:
        return AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError, KeyError, json.JSONDecodeError) as err:
        raise ConfigurationError(
            f"cannot read the configuration of model {folder.name!r}: {_first_line(err)}; "
            "it has to be an architecture of the installed transformers (code in a model folder never runs)"
        ) from err


def _refuse_pickled_weights(folder: Path) -> None:
    if any(folder.glob("*.safetensors")):
        return
    found = sorted(
        path.name for pattern in ("*.bin", "*.pt", "*.pth", "*.pkl", "*.h5") for path in folder.glob(pattern)
    )
    raise ConfigurationError(
        f"model {folder.name!r} has no weights in safetensors{f', only {found}' if found else ''}; "
        "convert it: AutoModelForCausalLM.from_pretrained(...).save_pretrained(folder) on a machine that trusts it"
    )


def _load_weights(
    folder: Path, *, config: PretrainedConfig, options: ModelOptions, device: torch.device
) -> PreTrainedModel:
    arguments: dict[str, Any] = {
        "config": config,
        "dtype": _DTYPES[options.dtype],
        "local_files_only": True,
        "trust_remote_code": False,
        "use_safetensors": True,
        "output_loading_info": True,
    }
    if options.load_in_4bit:
        arguments |= {"quantization_config": _four_bits(options, device=device), "device_map": {"": device}}
    try:
        model, report = _from_pretrained(folder, arguments)
    except (OSError, ValueError, KeyError, RuntimeError, ImportError, SafetensorError) as err:
        if memory_ran_out(err):
            raise
        raise ConfigurationError(
            f"cannot load the weights of model {folder.name!r}: {_first_line(err)}; "
            "it has to be a causal language model whose safetensors files are whole"
        ) from err
    missing = report["missing_keys"]
    if missing:  # transformers would draw them at random and go on
        raise ConfigurationError(
            f"model {folder.name!r} lacks {len(missing)} of its weights, {min(missing)} among them; "
            "its safetensors files do not belong to its config.json"
        )
    return model if options.load_in_4bit else model.to(device)


def _from_pretrained(folder: Path, arguments: dict[str, Any]) -> _Found:
    """The model with the first attention that it has; named, so that the folder's config cannot ask for another."""
    try:
        return _Found(*AutoModelForCausalLM.from_pretrained(folder, attn_implementation="sdpa", **arguments))
    except ValueError as err:
        if "scaled_dot_product_attention" not in str(err):
            raise
    return _Found(*AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager", **arguments))


def _four_bits(options: ModelOptions, *, device: torch.device) -> BitsAndBytesConfig:
    """NF4 with double quantization, as in QLoRA (Dettmers et al. 2023, sec. 3)."""
    if device.type != "cuda" or importlib.util.find_spec("bitsandbytes") is None:
        raise ConfigurationError(
            "model.load_in_4bit needs a CUDA device and the package bitsandbytes in the job's image; "
            "set it to false, with model.dtype bfloat16 if memory is short"
        )
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=_DTYPES[options.dtype],
    )


def _set_config_dropout(config: PretrainedConfig, ratio: float) -> None:
    """Architectures call it attention_dropout, resid_pdrop, hidden_dropout_prob, layerdrop ...; null stays null."""
    for part in {id(part): part for part in (config, config.get_text_config())}.values():
        for name, value in list(vars(part).items()):
            if _is_dropout(name, value):
                setattr(part, name, ratio)


def _set_module_dropout(model: PreTrainedModel, ratio: float) -> None:
    """What an architecture fixes in its code instead of reading it from the configuration."""
    for module in model.modules():
        for name, value in list(vars(module).items()):
            is_module_rate = isinstance(module, torch.nn.modules.dropout._DropoutNd) and name == "p"
            if is_module_rate or _is_dropout(name, value):
                setattr(module, name, ratio)


def _is_dropout(name: str, value: object) -> bool:
    return "drop" in name and isinstance(value, int | float) and not isinstance(value, bool)


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__
