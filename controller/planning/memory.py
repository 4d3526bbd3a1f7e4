"""How much GPU memory a trial takes at its peak, from what its model says of itself. Pure; an estimate.

What autograd keeps was read off `torch.autograd.graph.saved_tensors_hooks` over transformers' Llama and GPT-2 with peft
adapters (tests/unit/test_memory_estimate.py measures it again); no GPU was at hand, so totals are not measured.

Limits
- Row lengths are not known before tokenizing: rows of ROW_TOKENS tokens are assumed, or of the context if that is less.
- Not counted: the CUDA context and cuBLAS' workspaces (some hundred MiB), fragmentation, bias vectors, DoRA's norms.
- Names of modules that are not known here count as all linear layers. Mixtures of experts are counted as if dense.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from controller.planning.model_shape import Linear, ModelShape
from job.contract.config import JobExecution, LoraOptions, PlannedTrial, TrialConfig

__all__ = [
    "DTYPE_BYTES",
    "ROW_TOKENS",
    "TRAINED_BYTES",
    "Largest",
    "MemoryEstimate",
    "adapter_bytes",
    "block_bytes",
    "estimate_memory",
    "estimate_text",
    "largest_estimate",
    "targets_of",
]

ROW_TOKENS = 1024
_FLOAT = 4
DTYPE_BYTES: Mapping[str, int] = {"float32": 4, "bfloat16": 2, "float16": 2}
# Parameter, gradient and AdamW's two means, all in float32 (job/adapter.py, optim: adamw_torch).
TRAINED_BYTES = 16
# NF4 with double quantization: 4 bits, and 0.127 for its constants (Dettmers et al. 2023, sec. 3).
_FOUR_BITS_BYTES = 4.127 / 8
# Keys and values of the prompts are kept for the loss and copied when a text grows (job/evaluation/prompt_cache.py).
_KV_COPIES = 2


@dataclass(frozen=True, slots=True)
class MemoryEstimate:
    """Bytes at the peak, by what they are for."""

    row_tokens: int
    """The length of row that was assumed."""
    weights: float
    """The frozen model."""
    adapter: float
    """Trained parameters with gradient and optimizer state."""
    activations: float
    """What the backward pass needs of the forward pass."""
    logits: float
    """Of the positions with a target, in the model's dtype and in float32, with log-softmax and gradient."""
    generation: float
    """Keys and values of all texts of a batch, and the logits of its references."""
    optimizer: float = 0.0
    """What an optimizer step holds for a moment besides."""

    @property
    def total(self) -> float:
        """Passes, optimizer steps and evaluation take turns."""
        return self.weights + self.adapter + max(self.activations + self.logits, self.optimizer, self.generation)


class Largest(NamedTuple):
    """The trial that takes most."""

    trial: PlannedTrial
    estimate: MemoryEstimate


def largest_estimate(trials: Iterable[PlannedTrial], *, shape: ModelShape, execution: JobExecution) -> Largest | None:
    """The trial with the highest peak; None when none asks a model. Seeds of a configuration are alike."""
    asking = {trial.config_id: trial for trial in trials if trial.kind != "lead"}
    found = [
        Largest(trial, estimate_memory(trial.config, shape=shape, execution=execution)) for trial in asking.values()
    ]
    return max(found, key=lambda one: one.estimate.total, default=None)


def estimate_text(largest: Largest) -> str:
    """The estimate in words, in GiB."""
    trial, found = largest
    parts = {
        "weights": found.weights,
        "adapter with its optimizer": found.adapter,
        "activations": found.activations,
        "logits": found.logits,
        "generation": found.generation,
    }
    listed = ", ".join(f"{name} {size / 2**30:.1f}" for name, size in parts.items() if size)
    return (
        f"about {found.total / 2**30:.1f} GiB for {trial.letter} ({trial.label}): {listed}. An estimate for rows of "
        f"{found.row_tokens:,} tokens, without what CUDA takes for itself; training and generation take turns"
    )


def estimate_memory(config: TrialConfig, *, shape: ModelShape, execution: JobExecution) -> MemoryEstimate:
    """The peak of one trial that asks a model."""
    tokens = min(ROW_TOKENS, shape.context)
    stored = DTYPE_BYTES[config.model.dtype]
    training, lora = config.training, config.lora
    weights = _weights(shape, stored=stored, four_bits=config.model.load_in_4bit)
    generation = _generation(config, shape=shape, rows=execution.eval_batch_size, tokens=tokens, stored=stored)
    if training is None or lora is None:
        return MemoryEstimate(tokens, weights, 0.0, 0.0, 0.0, generation)
    autocast = training.bf16 or training.fp16
    rows = training.per_device_train_batch_size
    computed = 2 if autocast else stored
    return MemoryEstimate(
        row_tokens=tokens,
        weights=weights,
        adapter=TRAINED_BYTES * _trained_parameters(lora, shape=shape),
        activations=_activations(
            _Pass(rows=rows, tokens=tokens, computed=computed, casts=autocast and stored != computed),
            lora=lora,
            shape=shape,
            checkpointing=execution.gradient_checkpointing,
        ),
        logits=_logits(
            min(tokens, rows * _target_tokens(config)) * rows, shape=shape, computed=computed, with_gradient=True
        ),
        generation=generation,
    )


def _weights(shape: ModelShape, *, stored: int, four_bits: bool) -> float:
    if not four_bits:
        return float(shape.parameters * stored)
    quantized = shape.layers * sum(linear.parameters for linear in shape.linears)
    # peft's prepare_model_for_kbit_training raises what is not quantized to float32.
    return quantized * _FOUR_BITS_BYTES + (shape.parameters - quantized) * _FLOAT


def _trained_parameters(lora: LoraOptions, *, shape: ModelShape) -> int:
    """A (r, in) and B (out, r) for each adapted layer (Hu et al. 2021, sec. 4.1), and modules trained in full."""
    adapted = sum(lora.r * (linear.inputs + linear.outputs) for linear in targets_of(lora, shape)) * shape.layers
    whole = {"embed_tokens", "wte", "lm_head"}.intersection(lora.modules_to_save or ())
    return adapted + len(whole) * shape.vocabulary * shape.hidden


def targets_of(lora: LoraOptions, shape: ModelShape) -> tuple[Linear, ...]:
    """The linear layers of a block that get an adapter."""
    wanted = lora.target_modules
    if wanted is None:  # for most families (TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING in peft.utils.constants)
        wanted = ("q_proj", "v_proj", "c_attn")
    if isinstance(wanted, str):  # all-linear, or an expression
        return shape.linears
    last = {name.rpartition(".")[2] for name in wanted}
    found = tuple(linear for linear in shape.linears if linear.name in last)
    known = {linear.name for linear in found}
    return found if found and (lora.target_modules is None or last == known) else shape.linears


class _Pass(NamedTuple):
    """One forward pass in training."""

    rows: int
    tokens: int
    computed: int
    """Bytes of a number in most of it."""
    casts: bool
    """Weights are cast to half precision as they are used, and the copies of frozen ones kept for the backward pass."""


def _activations(run: _Pass, *, lora: LoraOptions, shape: ModelShape, checkpointing: bool) -> float:
    each = block_bytes(shape, tokens=run.tokens, computed=run.computed) + adapter_bytes(
        targets_of(lora, shape),
        rank=lora.r,
        drops=lora.lora_dropout > 0,
        computed=run.computed,
        width=2 if run.computed == 2 and run.casts else _FLOAT,
    )
    block = run.rows * run.tokens * each
    block += 2.0 * sum(linear.parameters for linear in shape.linears) if run.casts else 0.0
    if not checkpointing:
        return block * shape.layers
    # Checkpointing keeps the input of each block, and computes one block after the other again (Chen et al. 2016).
    return block + shape.layers * run.rows * run.tokens * shape.hidden * run.computed


def block_bytes(shape: ModelShape, *, tokens: int, computed: int) -> float:
    """Of a token in one block without an adapter, in rows of `tokens`, numbers being of `computed` bytes.

    Frozen linear layers keep no input.
    """
    # RMSNorm computes in float32 and keeps its input so; LayerNorm keeps it as it comes.
    norms = 2 * shape.hidden * (_FLOAT if shape.is_gated else computed)
    # Scaled dot-product attention keeps queries, keys and values (repeated for grouped heads), its output, the
    # log-sum-exp of each head, and a row of the mask for each query.
    attention = (4 * shape.query_width + tokens) * computed + shape.heads * _FLOAT
    if shape.is_fused:  # the whole of queries, keys and values is kept besides, as keys and values are parts of it
        attention += shape.query_width * computed
    # gate, silu(gate) and up; or the four steps of GELU's approximation by tanh.
    mlp = (3 if shape.is_gated else 4) * shape.inner * computed
    return norms + attention + mlp


def adapter_bytes(targets: Collection[Linear], *, rank: int, drops: bool, computed: int, width: int) -> float:
    """Of a token in the adapters of one block: the input of A as A reads it, after dropout, and the output of A.

    Numbers are of `computed` bytes in the base model and of `width` in the adapters.
    """
    if computed == _FLOAT and not drops:
        inputs = sum({linear.shares: linear.inputs for linear in targets if linear.shares != "attention"}.values())
    else:  # cast or dropped for each layer by itself
        inputs = sum(linear.inputs for linear in targets)
    mask = sum(linear.inputs for linear in targets) if drops else 0  # one byte a number on CUDA
    return inputs * width + mask + len(targets) * rank * width


def _target_tokens(config: TrialConfig) -> int:
    """How many tokens of a row are targets: no more than the model is allowed to write."""
    return ROW_TOKENS if config.generation is None else config.generation.max_new_tokens


def _logits(positions: int, *, shape: ModelShape, computed: int, with_gradient: bool) -> float:
    """A copy in float32 where they are not, log-softmax, and for training the gradient of both."""
    cast = _FLOAT if computed < _FLOAT else 0
    each = computed + cast + _FLOAT + (_FLOAT + computed if with_gradient else 0)
    return float(positions * shape.vocabulary * each)


def _generation(config: TrialConfig, *, shape: ModelShape, rows: int, tokens: int, stored: int) -> float:
    if config.generation is None:
        return 0.0
    positions = min(tokens + config.generation.max_new_tokens, shape.context)
    beams = config.generation.num_beams
    kept = 2 * shape.layers * shape.key_width * positions * rows * beams * stored * _KV_COPIES
    scored = _logits(rows * min(tokens, _target_tokens(config)), shape=shape, computed=stored, with_gradient=False)
    return kept + scored
