"""Which engine may run a trial, and which trials may share a pass over the base model. Pure.

The packed engine (`lanes`) takes what is listed here. Whatever is not listed and not at its default selects the
reference engine: a field that a later release adds is off the list until somebody puts it there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel as PydanticModel

from controller.planning.base_model import BaseModel
from job.contract.base import canonical_json
from job.contract.config import JobExecution, TrialConfig

__all__ = ["PACKED_MODELS", "EngineChoice", "engine_of", "model_refusal", "packing_key", "settings_refusal"]

_QKVO = frozenset({"q_proj", "k_proj", "v_proj", "o_proj"})
_GATED = frozenset({"gate_proj", "up_proj", "down_proj"})
# Dense decoders of transformers 5.23 whose modeling_*.py was read for this: each of these layers is nn.Linear or
# Conv1D, is called once in a forward pass, and gets the rows in the order of the batch. Gemma 2 and 3 are not here:
# they may cap the logits behind lm_head. OLMo is not: it clamps queries in place. Mixtures of experts never are.
PACKED_MODELS: Mapping[str, frozenset[str]] = {
    "gemma": _QKVO | _GATED,
    "gpt2": frozenset({"c_attn", "c_proj", "c_fc"}),
    "gpt_neox": frozenset({"query_key_value", "dense", "dense_h_to_4h", "dense_4h_to_h"}),
    "llama": _QKVO | _GATED,
    "mistral": _QKVO | _GATED,
    "olmo2": _QKVO | _GATED,
    "opt": frozenset({"q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2"}),
    "phi": frozenset({"q_proj", "k_proj", "v_proj", "dense", "fc1", "fc2"}),
    "phi3": frozenset({"qkv_proj", "o_proj", "gate_up_proj", "down_proj"}),
    "qwen2": _QKVO | _GATED,
    "qwen3": _QKVO | _GATED,
    "smollm3": _QKVO | _GATED,
}
"""Model type to the layers that may carry an adapter."""

# Others (dynamic, longrope) choose their frequencies by the longest row of a batch, which is then a neighbour's.
_ROPE_TYPES = frozenset({"default", "linear", "llama3", "yarn"})

_ANY_VALUE = frozenset(
    {
        "kind", "seed", "lead_k",
        "model.digest",
        "data.digest", "data.splits", "data.columns", "data.limits", "data.seed", "data.overflow",
        "prompt.prompt", "prompt.completion", "prompt.chat",
        "lora.r", "lora.lora_alpha", "lora.lora_dropout", "lora.target_modules", "lora.use_rslora",
        "training.max_steps", "training.num_train_epochs", "training.per_device_train_batch_size",
        "training.gradient_accumulation_steps", "training.learning_rate", "training.weight_decay",
        "training.adam_beta1", "training.adam_beta2", "training.adam_epsilon", "training.max_grad_norm",
        "training.lr_scheduler_type", "training.warmup_steps", "training.bf16", "training.eval_steps",
        "generation.max_new_tokens", "generation.min_new_tokens", "generation.do_sample", "generation.temperature",
        "generation.top_k", "generation.top_p", "generation.num_beams", "generation.length_penalty",
        "generation.repetition_penalty", "generation.no_repeat_ngram_size",
        "evaluation.metrics", "evaluation.final_splits",
        "execution.trial_timeout_s", "execution.checkpoint_every", "execution.eval_batch_size",
        "execution.dataloader_num_workers", "execution.logging_steps",
    }
)  # fmt: skip
"""Of these the packed engine takes every value."""
_SOME_VALUES: Mapping[str, frozenset[Any]] = {"model.dtype": frozenset({"float32", "bfloat16"})}
"""Of these it takes some beside the default; of all others the default alone."""
_WRITTEN_AS: Mapping[str, str] = {"execution.gradient_checkpointing": "training.gradient_checkpointing"}
"""Where a person finds the setting in the spec, if elsewhere."""


class EngineChoice(NamedTuple):
    """Which engine, and why not the other."""

    engine: Literal["reference", "lanes"]
    why: str
    """Of `reference` the setting that selects it, with its value; empty for `lanes`."""


def engine_of(config: TrialConfig, *, model: BaseModel, execution: JobExecution) -> EngineChoice:
    """`lanes` for a trial that may share its pass over the base model with others, else `reference`."""
    if config.kind == "lead":
        return EngineChoice("reference", "it asks no model")
    why = settings_refusal(config, execution=execution) or _model_refusal(model) or _target_refusal(config, model)
    return EngineChoice("reference", why) if why else EngineChoice("lanes", "")


def settings_refusal(config: TrialConfig, *, execution: JobExecution) -> str:
    """The first setting that the packed engine does not take, with its value; empty where it takes them all."""
    for path, value in (*_off_default(config, ""), *_off_default(execution, "execution.")):
        if path not in _ANY_VALUE and value not in _SOME_VALUES.get(path, ()):
            return f"{_WRITTEN_AS.get(path, path)} is {_written(value)}"
    return ""


def model_refusal(config: Mapping[str, Any]) -> str:
    """What in a config.json the packed engine does not take; empty where it takes the model."""
    kind = config.get("model_type")
    if kind not in PACKED_MODELS:
        return f"the model's model_type is {_written(kind)}, and only {', '.join(PACKED_MODELS)} are packed"
    if config.get("quantization_config") is not None:
        return "the model has a quantization_config"
    for name in ("rope_parameters", "rope_scaling"):
        other = next((found for found in _rope_types(config.get(name)) if found not in _ROPE_TYPES), None)
        if other is not None:
            return f"the model's {name} has the type {_written(other)}, which goes by the longest row of a batch"
    return ""


def _rope_types(scaling: object) -> Iterator[str]:
    """Of all layers alike, or by kind of layer."""
    if not isinstance(scaling, dict):
        return
    found = scaling.get("rope_type") or scaling.get("type")
    if found is not None:
        yield str(found)
    for inner in scaling.values():
        yield from _rope_types(inner)


def packing_key(config: TrialConfig) -> str:
    """Trials with the same key share bytes, dtype and precision, and so may be lanes of one group.

    One without training has no precision of its own: its key is the beginning of those that it fits.
    """
    shared = [config.model.model_dump(mode="json"), config.data.model_dump(mode="json")]
    precision = "" if config.training is None else f" bf16={config.training.bf16}"
    return canonical_json(shared).decode() + precision


def _off_default(owner: PydanticModel, prefix: str) -> Iterator[tuple[str, Any]]:
    for name, field in type(owner).model_fields.items():
        value = getattr(owner, name)
        if isinstance(value, PydanticModel):
            yield from _off_default(value, f"{prefix}{name}.")
        elif field.is_required() or value != field.get_default(call_default_factory=True):
            yield f"{prefix}{name}", value


def _model_refusal(model: BaseModel) -> str:
    if model.config is None:
        return f"the model's config.json could not be read: {model.unknown}"
    return model_refusal(model.config)


def _target_refusal(config: TrialConfig, model: BaseModel) -> str:
    wanted = None if config.lora is None else config.lora.target_modules
    if wanted in (None, "all-linear") or model.config is None:
        return ""
    if isinstance(wanted, str):
        return f"lora.target_modules is the expression {_written(wanted)}, and what it matches is not known yet"
    layers = PACKED_MODELS[model.config["model_type"]]
    other = next((name for name in wanted or () if name.rpartition(".")[2] not in layers), None)
    return "" if other is None else f"lora.target_modules names {_written(other)}, which is no layer of a block"


def _written(value: object) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return repr(value)
