"""The widths of a decoder's blocks, read from its config.json in the words of transformers. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from job.contract.errors import ConfigurationError

__all__ = ["Linear", "ModelShape", "model_shape"]

_DTYPE_BYTES: Mapping[str, int] = {"float32": 4, "bfloat16": 2, "float16": 2}
# With `intermediate_size`, most families have a gate beside it; these do not (transformers 5, modeling_*.py).
_WITHOUT_GATE = frozenset({"gpt_neox", "nemotron", "opt", "persimmon", "phi", "stablelm_epoch", "starcoder2", "xglm"})


class Linear(NamedTuple):
    """One linear layer of a block."""

    name: str
    inputs: int
    outputs: int
    shares: str
    """Layers that share a word here have the same input; that of `attention` is kept by attention anyway."""

    @property
    def parameters(self) -> int:
        return self.inputs * self.outputs


@dataclass(frozen=True, slots=True)
class ModelShape:
    """What memory depends on."""

    parameters: int
    hidden: int
    layers: int
    heads: int
    query_width: int
    """All heads together."""
    key_width: int
    """All heads of keys; values are as wide."""
    inner: int
    """Of the MLP."""
    vocabulary: int
    context: int
    """Tokens at most."""
    is_fused: bool
    """Queries, keys and values come out of one layer, as in GPT-2."""
    is_gated: bool
    """The MLP multiplies two branches (Shazeer 2020); such models have RMSNorm."""

    @property
    def linears(self) -> tuple[Linear, ...]:
        """Of one block."""
        if self.is_fused:
            return (
                Linear("c_attn", self.hidden, self.query_width + 2 * self.key_width, "norm 1"),
                Linear("c_proj", self.query_width, self.hidden, "attention"),
                Linear("c_fc", self.hidden, self.inner, "norm 2"),
                Linear("c_proj", self.inner, self.hidden, "inner"),
            )
        first = ("gate_proj", "up_proj") if self.is_gated else ("fc1",)
        return (
            Linear("q_proj", self.hidden, self.query_width, "norm 1"),
            Linear("k_proj", self.hidden, self.key_width, "norm 1"),
            Linear("v_proj", self.hidden, self.key_width, "norm 1"),
            Linear("o_proj", self.query_width, self.hidden, "attention"),
            *(Linear(name, self.hidden, self.inner, "norm 2") for name in first),
            Linear("down_proj" if self.is_gated else "fc2", self.inner, self.hidden, "inner"),
        )


def model_shape(config: Mapping[str, Any], *, weight_bytes: int) -> ModelShape:
    """The shape of a model whose config.json is `config` and whose weights are so large.

    Raises ConfigurationError, naming the field, for a configuration without the words that are needed.
    """
    text = config.get("text_config")
    whole: Mapping[str, Any] = {**config, **text} if isinstance(text, dict) else config
    hidden = _number(whole, "hidden_size", "n_embd", "d_model")
    heads = _number(whole, "num_attention_heads", "n_head")
    width = _number(whole, "head_dim", default=hidden // max(heads, 1))
    stored = _DTYPE_BYTES.get(str(whole.get("dtype") or whole.get("torch_dtype") or "float32"))
    if stored is None:
        raise ConfigurationError("config.json: its weights are in none of float32, bfloat16 and float16")
    is_fused = "n_embd" in whole
    return ModelShape(
        parameters=weight_bytes // stored,
        hidden=hidden,
        layers=_number(whole, "num_hidden_layers", "n_layer"),
        heads=heads,
        query_width=heads * width,
        key_width=_number(whole, "num_key_value_heads", default=heads) * width,
        inner=_number(whole, "intermediate_size", "n_inner", "ffn_dim", default=4 * hidden),
        vocabulary=_number(whole, "vocab_size"),
        context=_number(whole, "max_position_embeddings", "n_positions", "n_ctx", default=2**31),
        is_fused=is_fused,
        is_gated=not is_fused and whole.get("model_type") not in _WITHOUT_GATE,
    )


def _number(config: Mapping[str, Any], *names: str, default: int | None = None) -> int:
    """The first of these fields that is there; null counts as absent."""
    for name in names:
        found = config.get(name)
        if isinstance(found, int) and not isinstance(found, bool) and found > 0:
            return found
    if default is None:
        raise ConfigurationError(f"config.json has no {' or '.join(repr(name) for name in names)} that is a number")
    return default
