"""The estimate of GPU memory against what torch, transformers and peft really keep, on a CPU."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from specs import expanded
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, PreTrainedModel

from controller.planning.memory import ROW_TOKENS, MemoryEstimate, estimate_memory, estimate_text, largest_estimate
from controller.planning.model_shape import ModelShape, model_shape
from job.contract.config import JobExecution, LoraOptions, TrialConfig
from job.contract.errors import ConfigurationError

DIGEST = f"sha256:{'0' * 64}"
ROWS, TOKENS = 2, 192
LLAMA = {
    "vocab_size": 300, "hidden_size": 256, "intermediate_size": 704, "num_attention_heads": 8,
    "num_key_value_heads": 2, "max_position_embeddings": TOKENS, "tie_word_embeddings": True,
}  # fmt: skip
GPT2 = {
    "vocab_size": 300, "n_embd": 256, "n_head": 8, "n_positions": TOKENS, "resid_pdrop": 0.0, "embd_pdrop": 0.0,
    "attn_pdrop": 0.0, "bos_token_id": 0, "eos_token_id": 0,
}  # fmt: skip
SMOLLM2: dict[str, Any] = {
    "model_type": "llama", "hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30,
    "num_attention_heads": 9, "num_key_value_heads": 3, "vocab_size": 49152, "max_position_embeddings": 8192,
    "torch_dtype": "bfloat16",
}  # fmt: skip


def new_model(family: str, *, layers: int, dtype: torch.dtype = torch.float32) -> PreTrainedModel:
    torch.manual_seed(0)
    if family == "llama":
        model: PreTrainedModel = LlamaForCausalLM(LlamaConfig(num_hidden_layers=layers, **LLAMA))
    else:
        model = GPT2LMHeadModel(GPT2Config(n_layer=layers, **GPT2))
    return model.to(dtype).requires_grad_(False)


def shape_of(model: PreTrainedModel) -> ModelShape:
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return model_shape({**model.config.to_dict(), "dtype": "float32"}, weight_bytes=4 * parameters)


def adapted(model: PreTrainedModel, lora: LoraOptions) -> torch.nn.Module:
    targets = list(lora.target_modules) if isinstance(lora.target_modules, tuple) else lora.target_modules
    options = LoraConfig(
        task_type="CAUSAL_LM",
        r=lora.r,
        lora_alpha=8,
        target_modules=targets,
        modules_to_save=None if lora.modules_to_save is None else list(lora.modules_to_save),
        fan_in_fan_out=isinstance(model, GPT2LMHeadModel),
    )
    made: torch.nn.Module = get_peft_model(model, options)
    return made.train()


def trial(lora: LoraOptions, *, dtype: str = "float32", **training: Any) -> TrialConfig:
    return TrialConfig.model_validate(
        {
            "model": {"digest": DIGEST, "dtype": dtype},
            "data": {"digest": DIGEST, "splits": {"train": "a"}, "columns": {"input": "a", "target": "b"}},
            "prompt": {"prompt": "{a}", "completion": "{b}"},
            "generation": {"max_new_tokens": 32},
            "lora": lora.model_dump(),
            "training": {"max_steps": 1, "per_device_train_batch_size": ROWS, **training},
            "seed": 1,
        }
    )


def saved_bytes(model: torch.nn.Module, *, autocast: bool) -> int:
    """What autograd keeps for the backward pass, besides the parameters; each storage once."""
    own = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    kept: dict[int, torch.Tensor] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        if (place := tensor.untyped_storage().data_ptr()) not in own:
            kept[place] = tensor
        return tensor

    ids = torch.randint(0, 300, (ROWS, TOKENS))
    mask = torch.ones_like(ids)
    mask[1, TOKENS - 60 :] = 0
    with (
        torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor),
        torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast),
    ):
        loss = model(input_ids=ids, attention_mask=mask, logits_to_keep=1).logits.float().sum()
    assert loss.requires_grad
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


ALL = LoraOptions(r=8, lora_alpha=8, target_modules="all-linear")
FEW = {
    "llama": LoraOptions(r=8, lora_alpha=8, target_modules=("q_proj", "v_proj")),
    "gpt2": LoraOptions(r=8, lora_alpha=8, target_modules=("c_attn",)),
}


@pytest.mark.parametrize("everywhere", [True, False], ids=["all-linear", "few"])
@pytest.mark.parametrize(
    ("dtype", "autocast"), [("float32", False), ("bfloat16", False), ("float32", True)], ids=["32", "16", "autocast"]
)
@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_what_a_block_keeps_for_the_backward_pass_is_within_a_tenth(
    family: str, dtype: str, autocast: bool, everywhere: bool
) -> None:
    lora = ALL if everywhere else FEW[family]
    measured, estimated = [], []
    for layers in (2, 3):
        model = new_model(family, layers=layers, dtype=getattr(torch, dtype))
        shape = shape_of(model)
        config = trial(lora, dtype=dtype, bf16=autocast)
        estimated.append(estimate_memory(config, shape=shape, execution=JobExecution()).activations)
        measured.append(saved_bytes(adapted(model, lora), autocast=autocast))
    assert estimated[1] - estimated[0] == pytest.approx(measured[1] - measured[0], rel=0.10)


@pytest.mark.parametrize("family", ["llama", "gpt2"])
@pytest.mark.parametrize("whole", [None, ("lm_head",)])
def test_an_adapter_has_as_many_parameters_as_peft_makes(family: str, whole: tuple[str, ...] | None) -> None:
    for lora in (ALL, FEW[family], LoraOptions(r=8, lora_alpha=8)):
        wanted = lora.model_copy(update={"modules_to_save": whole})
        model = new_model(family, layers=2)
        shape = shape_of(model)
        made = adapted(model, wanted)
        trained = sum(parameter.numel() for parameter in made.parameters() if parameter.requires_grad)
        estimate = estimate_memory(trial(wanted), shape=shape, execution=JobExecution())
        assert estimate.adapter == 16 * trained


def smollm2(config: TrialConfig, **execution: Any) -> MemoryEstimate:
    shape = model_shape(SMOLLM2, weight_bytes=2 * 134_515_008)
    return estimate_memory(config, shape=shape, execution=JobExecution.model_validate(execution))


def test_a_known_model_has_the_sizes_that_it_is_known_for() -> None:
    config = trial(FEW["llama"], dtype="bfloat16")
    estimate = smollm2(config, eval_batch_size=16)
    assert estimate.row_tokens == ROW_TOKENS
    assert estimate.weights == 2 * 134_515_008  # the model's card: 135M parameters
    assert estimate.adapter == 16 * 30 * 8 * ((576 + 576) + (576 + 192))
    # 2 x 30 layers x 192 wide x 2 bytes for each token (23 KB), kept twice.
    assert estimate.generation > 2 * 16 * (1024 + 32) * 2 * 30 * 192 * 2
    assert estimate.total == pytest.approx(
        estimate.weights + estimate.adapter + max(estimate.activations + estimate.logits, estimate.generation)
    )


@pytest.mark.parametrize(
    ("more", "term"),
    [
        ({"per_device_train_batch_size": 4 * ROWS}, "activations"),
        ({"per_device_train_batch_size": 4 * ROWS}, "logits"),
    ],
)
def test_a_larger_batch_takes_more_in_proportion(more: dict[str, Any], term: str) -> None:
    few, many = smollm2(trial(ALL)), smollm2(trial(ALL, **more))
    assert getattr(many, term) >= 4 * getattr(few, term)


def test_checkpointing_keeps_little_more_than_one_block() -> None:
    whole = smollm2(trial(ALL, dtype="bfloat16")).activations
    assert smollm2(trial(ALL, dtype="bfloat16"), gradient_checkpointing=True).activations < whole / 10


def test_a_trial_without_training_holds_weights_and_what_it_writes() -> None:
    config = trial(ALL).model_copy(update={"kind": "zero-shot", "lora": None, "training": None, "seed": None})
    estimate = smollm2(config)
    assert (estimate.adapter, estimate.activations, estimate.logits) == (0, 0, 0)
    assert estimate.total == estimate.weights + estimate.generation


def test_four_bits_make_the_blocks_an_eighth_and_the_rest_float32() -> None:
    config = trial(ALL, dtype="bfloat16")
    four = config.model_copy(update={"model": config.model.model_copy(update={"load_in_4bit": True})})
    blocks = 30 * (2 * 576 * 576 + 2 * 576 * 192 + 3 * 576 * 1536)
    assert smollm2(four).weights == pytest.approx(blocks * 4.127 / 8 + (134_515_008 - blocks) * 4)


def test_module_names_that_are_not_known_count_as_all_of_them() -> None:
    odd = LoraOptions(r=8, lora_alpha=8, target_modules=("q_proj", "experts"))
    assert smollm2(trial(odd)).adapter == smollm2(trial(ALL)).adapter


def test_the_largest_configuration_is_the_one_that_is_shown_with_its_parts() -> None:
    plan = expanded("grid: {prompt: [v1], lora.r: [4, 64, 16]}")
    shape = model_shape(SMOLLM2, weight_bytes=2 * 134_515_008)
    largest = largest_estimate(plan.trials, shape=shape, execution=JobExecution())
    assert largest is not None
    assert largest.trial.label == "prompt=v1, lora.r=64"
    text = estimate_text(largest)
    assert text.startswith(
        f"about {largest.estimate.total / 2**30:.1f} GiB for B (prompt=v1, lora.r=64): weights 0.5, "
    )
    assert "rows of 1,024 tokens" in text
    assert largest_estimate([], shape=shape, execution=JobExecution()) is None


@pytest.mark.parametrize("field", ["hidden_size", "num_hidden_layers", "num_attention_heads", "vocab_size"])
def test_a_configuration_without_a_width_is_refused_by_its_field(field: str) -> None:
    config = {name: value for name, value in SMOLLM2.items() if name != field}
    with pytest.raises(ConfigurationError, match=field):
        model_shape(config, weight_bytes=1)


def test_the_text_part_of_a_model_for_more_than_text_counts_and_weights_of_another_kind_are_refused() -> None:
    inside = {"model_type": "idefics", "text_config": SMOLLM2}
    assert model_shape(inside, weight_bytes=4) == model_shape(SMOLLM2, weight_bytes=4)
    with pytest.raises(ConfigurationError, match="float32, bfloat16 and float16"):
        model_shape({**SMOLLM2, "torch_dtype": "float8_e4m3fn"}, weight_bytes=1)
