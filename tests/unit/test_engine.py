"""Which trials the packed engine takes: what is listed, and nothing that is not."""

from __future__ import annotations

from typing import Any

import pytest
from known_model import KNOWN, trial
from pydantic import BaseModel as PydanticModel
from pydantic import Field

from controller.planning.base_model import BaseModel
from controller.planning.engine import PACKED_MODELS, engine_of, model_refusal, packing_key
from job.contract.config import JobExecution, LoraOptions, ModelOptions, TrainingOptions, TrialConfig


def choice(config: TrialConfig, *, model: BaseModel = KNOWN, **execution: Any) -> tuple[str, str]:
    return engine_of(config, model=model, execution=JobExecution.model_validate(execution))


PACKED: dict[str, dict[str, Any]] = {
    "rank and scale": {"lora": {"r": 64, "lora_alpha": 3.5, "use_rslora": True}},
    "dropout of the adapter": {"lora": {"lora_dropout": 0.1}},
    "all layers": {"lora": {"target_modules": "all-linear"}},
    "named layers": {"lora": {"target_modules": ["q_proj", "layers.1.mlp.down_proj"]}},
    "optimizer": {"training": {"learning_rate": 1.0, "weight_decay": 0.1, "adam_beta1": 0.5, "max_grad_norm": 0}},
    "batches": {"training": {"per_device_train_batch_size": 3, "gradient_accumulation_steps": 7}},
    "epochs": {"training": {"max_steps": None, "num_train_epochs": 2}},
    "bfloat16": {"model": {"dtype": "bfloat16"}, "training": {"bf16": True}},
    "sampling": {"generation": {"do_sample": True, "top_k": 3}},
    "no dropout, as a whole number": {"model": {"dropout": 0}},
}


@pytest.mark.parametrize("parts", PACKED.values(), ids=PACKED)
def test_what_is_listed_is_packed_whatever_its_value(parts: dict[str, Any]) -> None:
    assert choice(trial(**parts)) == ("lanes", "")


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "dora": ({"lora": {"use_dora": True}}, "lora.use_dora is true"),
    "bias": ({"lora": {"bias": "all"}}, "lora.bias is 'all'"),
    "whole modules": ({"lora": {"modules_to_save": ["lm_head"]}}, "lora.modules_to_save is ('lm_head',)"),
    "4 bits": ({"model": {"load_in_4bit": True}}, "model.load_in_4bit is true"),
    "dropout kept": ({"model": {"dropout": "keep"}}, "model.dropout is 'keep'"),
    "dropout": ({"model": {"dropout": 0.1}}, "model.dropout is 0.1"),
    "float16": ({"model": {"dtype": "float16"}}, "model.dtype is 'float16'"),
    "fp16": ({"training": {"fp16": True}}, "training.fp16 is true"),
    "embeddings": ({"lora": {"target_modules": ["embed_tokens"]}}, "lora.target_modules names 'embed_tokens'"),
    "head": ({"lora": {"target_modules": ["q_proj", "lm_head"]}}, "lora.target_modules names 'lm_head'"),
    "expression": ({"lora": {"target_modules": ".*proj"}}, "lora.target_modules is the expression '.*proj'"),
}


@pytest.mark.parametrize(("parts", "why"), REFUSED.values(), ids=REFUSED)
def test_what_is_not_listed_selects_the_reference_engine_by_name_and_value(parts: dict[str, Any], why: str) -> None:
    engine, said = choice(trial(**parts))
    assert engine == "reference"
    assert said.startswith(why)


def test_checkpointing_is_named_as_the_spec_has_it() -> None:
    assert choice(trial(), gradient_checkpointing=True) == ("reference", "training.gradient_checkpointing is true")
    assert choice(trial(), eval_batch_size=3, trial_timeout_s=9)[0] == "lanes"


class _Lora(LoraOptions):
    invented: dict[str, int] = Field(default_factory=dict)


class _Model(ModelOptions):
    invented: dict[str, int] = Field(default_factory=dict)


class _Training(TrainingOptions):
    invented: dict[str, int] = Field(default_factory=dict)


@pytest.mark.parametrize(("part", "later"), [("lora", _Lora), ("model", _Model), ("training", _Training)])
def test_a_field_of_a_later_release_does_not_slip_through(part: str, later: type[PydanticModel]) -> None:
    config = trial()
    fields = getattr(config, part).model_dump()
    at_default = config.model_copy(update={part: later.model_validate(fields)})
    assert choice(at_default)[0] == "lanes"
    changed = config.model_copy(update={part: later.model_validate({**fields, "invented": {"q_proj": 2}})})
    assert choice(changed) == ("reference", f"{part}.invented is {{'q_proj': 2}}")


# The fields that the packed engine knows to be at their default alone; a field in neither list has to be judged.
DEFAULT_ALONE = {
    "lora": {"use_dora", "bias", "modules_to_save"},
    "model": {"dropout", "load_in_4bit"},
    "training": {"optim", "fp16"},
}


@pytest.mark.parametrize("part", DEFAULT_ALONE)
def test_every_field_of_today_is_in_one_of_two_lists(part: str) -> None:
    from controller.planning.engine import _ANY_VALUE, _SOME_VALUES

    fields = set(type(getattr(trial(), part)).model_fields)
    listed = {path.partition(".")[2] for path in (*_ANY_VALUE, *_SOME_VALUES) if path.startswith(f"{part}.")}
    assert listed | DEFAULT_ALONE[part] == fields
    assert not listed & DEFAULT_ALONE[part]


@pytest.mark.parametrize("kind", PACKED_MODELS)
def test_known_decoders_are_packed(kind: str) -> None:
    assert model_refusal({"model_type": kind}) == ""


MODELS: dict[str, tuple[dict[str, Any], str]] = {
    "experts": ({"model_type": "mixtral"}, "the model's model_type is 'mixtral', and only"),
    "capped logits": ({"model_type": "gemma2"}, "the model's model_type is 'gemma2'"),
    "no type": ({}, "the model's model_type is null"),
    "quantized": ({"model_type": "llama", "quantization_config": {"bits": 4}}, "the model has a quantization_config"),
    "long": (
        {"model_type": "phi3", "rope_scaling": {"type": "longrope"}},
        "the model's rope_scaling has the type 'longrope'",
    ),
    "by kind of layer": (
        {"model_type": "qwen3", "rope_parameters": {"full_attention": {"rope_type": "dynamic"}}},
        "the model's rope_parameters has the type 'dynamic'",
    ),
}


@pytest.mark.parametrize(("config", "why"), MODELS.values(), ids=MODELS)
def test_a_model_that_is_not_known_to_be_plain_is_refused(config: dict[str, Any], why: str) -> None:
    assert model_refusal(config).startswith(why)


def test_frequencies_that_stay_what_they_are_are_packed() -> None:
    assert model_refusal({"model_type": "llama", "rope_scaling": {"rope_type": "llama3", "factor": 8.0}}) == ""


def test_a_model_that_cannot_be_read_selects_the_reference_engine() -> None:
    nowhere = BaseModel(unknown="/models/tiny is not on this machine")
    why = "the model's config.json could not be read: /models/tiny is not on this machine"
    assert choice(trial(), model=nowhere) == ("reference", why)


def test_trials_that_share_model_data_and_precision_have_one_key() -> None:
    other_lane = trial(lora={"r": 2}, training={"learning_rate": 1.0}, prompt={"prompt": "Hm. {a}"})
    assert packing_key(trial()) == packing_key(other_lane)
    for parts in ({"training": {"bf16": True}}, {"model": {"dtype": "bfloat16"}}, {"data": {"seed": 3}}):
        assert packing_key(trial(**parts)) != packing_key(trial())
    assert packing_key(trial()).startswith(packing_key(trial("zero-shot")))
