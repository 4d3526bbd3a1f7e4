"""LoRA adapters: every option of peft that a spec may set, and files that are the same for the same weights."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from peft.tuners.lora import LoraLayer
from safetensors.torch import load_file
from tiny_training import Run, base_model, digest_of, lora

from job.adapter import add_adapter, load_adapter, save_adapter
from job.contract.errors import ConfigurationError, ResultError

IDS = torch.arange(5, 45)[None]


def trained_names(model: Any) -> set[str]:
    return {name for name, parameter in model.named_parameters() if parameter.requires_grad}


def lora_targets(model: Any) -> set[str]:
    return {name.rpartition(".")[2] for name, module in model.named_modules() if isinstance(module, LoraLayer)}


@pytest.mark.parametrize(
    ("fixture", "targets", "found"),
    [
        ("tiny_gpt2_folder", ("c_attn",), {"c_attn"}),
        ("tiny_gpt2_folder", None, {"c_attn"}),
        ("tiny_gpt2_folder", "all-linear", {"c_attn", "c_proj", "c_fc"}),
        ("tiny_llama_folder", ("q_proj", "v_proj"), {"q_proj", "v_proj"}),
        ("tiny_llama_folder", r".*\.mlp\.(up|down)_proj", {"up_proj", "down_proj"}),
        (
            "tiny_llama_folder",
            "all-linear",
            {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"},
        ),
    ],
)
def test_target_modules_are_those_asked_for(
    fixture: str, targets: object, found: set[str], request: pytest.FixtureRequest
) -> None:
    model = base_model(request.getfixturevalue(fixture))
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # GPT-2's Conv1D among them
        adapted = add_adapter(model, lora=lora(target_modules=targets), seed=0)
    assert lora_targets(adapted) == found


@pytest.mark.parametrize("targets", [("c_attn", "q_proj"), ("nothing",), r".*\.nothing", "(("])
def test_a_target_that_matches_nothing_lists_what_there_is(tiny_gpt2_folder: Path, targets: object) -> None:
    with pytest.raises(
        ConfigurationError, match=r"target_modules.*GPT2LMHeadModel are: c_attn, c_fc, c_proj.*all-linear"
    ):
        add_adapter(base_model(tiny_gpt2_folder), lora=lora(target_modules=targets), seed=0)


def test_a_module_to_save_that_is_not_there_lists_what_there_is(tiny_gpt2_folder: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"modules_to_save names 'score'.*are: c_attn"):
        add_adapter(base_model(tiny_gpt2_folder), lora=lora(modules_to_save=("score",)), seed=0)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_adapters_are_float32_whatever_the_base_is(tiny_llama_folder: Path, dtype: str) -> None:
    model = add_adapter(base_model(tiny_llama_folder, dtype=dtype), lora=lora(use_dora=True), seed=0)
    assert {p.dtype for p in model.parameters() if p.requires_grad} == {torch.float32}
    assert all("lora_" in name for name in trained_names(model))


@pytest.mark.parametrize("changes", [{"bias": "all"}, {"modules_to_save": ("lm_head",)}])
def test_parts_of_the_base_are_not_trained_in_less_than_float32(
    tiny_gpt2_folder: Path, changes: dict[str, object]
) -> None:
    with pytest.raises(ConfigurationError, match=r"would be trained in bfloat16.*set model.dtype to float32"):
        add_adapter(base_model(tiny_gpt2_folder, dtype="bfloat16"), lora=lora(**changes), seed=0)


def test_the_seed_alone_decides_the_first_weights(tiny_gpt2_folder: Path, tmp_path: Path) -> None:
    digests = []
    for index, seed in enumerate((5, 5, 6)):
        torch.rand(index)
        model = add_adapter(base_model(tiny_gpt2_folder), lora=lora(), seed=seed)
        digests.append(digest_of(model, tmp_path / str(index)))
    assert digests[0] == digests[1] != digests[2]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"use_rslora": True},
        {"use_dora": True},
        {"bias": "all"},
        {"bias": "lora_only"},
        {"modules_to_save": ("wpe",)},
        {"modules_to_save": ("lm_head",)},
        {"target_modules": ("c_attn", "wte")},
    ],
    ids=lambda changes: " ".join(changes) or "plain",
)
def test_a_trained_adapter_comes_back_from_its_files_with_the_same_output(
    tiny_gpt2_folder: Path, tmp_path: Path, changes: dict[str, object]
) -> None:
    run = Run(tiny_gpt2_folder, tmp_path, adapter=lora(**changes))
    run.attempt()
    save_adapter(run.model, tmp_path / "adapter", base_name="tiny")
    loaded = load_adapter(base_model(tiny_gpt2_folder), tmp_path / "adapter")
    with torch.no_grad():
        expected = run.model(IDS).logits
        assert torch.equal(loaded(IDS).logits, expected)
        assert not torch.equal(base_model(tiny_gpt2_folder)(IDS).logits, expected)
    assert not trained_names(loaded)
    assert not loaded.training


def test_rslora_scales_by_the_root_of_the_rank(tiny_gpt2_folder: Path) -> None:
    for use_rslora, scale in ((False, 8 / 4), (True, 8 / 4**0.5)):
        model = add_adapter(base_model(tiny_gpt2_folder), lora=lora(use_rslora=use_rslora), seed=0)
        scales = {m.scaling["default"] for m in model.modules() if isinstance(m, LoraLayer)}
        assert scales == {scale}


def test_published_files_name_the_base_and_no_local_path(tiny_gpt2_folder: Path, tmp_path: Path) -> None:
    model = add_adapter(base_model(tiny_gpt2_folder), lora=lora(lora_alpha=8.0), seed=0)
    save_adapter(model, tmp_path / "adapter", base_name="org/base")
    assert sorted(path.name for path in (tmp_path / "adapter").iterdir()) == [
        "adapter_config.json",
        "adapter_model.safetensors",
    ]
    text = (tmp_path / "adapter" / "adapter_config.json").read_text()
    config = json.loads(text)
    assert config["base_model_name_or_path"] == "org/base"
    assert (config["r"], config["lora_alpha"], config["lora_dropout"]) == (4, 8, 0.1)
    assert '"lora_alpha": 8,' in text
    # A set in peft, whose order would be another one in each process.
    assert config["target_modules"] == sorted(config["target_modules"])
    assert len(config["target_modules"]) == 8
    assert str(tiny_gpt2_folder) not in text
    tensors = load_file(tmp_path / "adapter" / "adapter_model.safetensors")
    assert all("lora_" in name for name in tensors)


def test_an_adapter_without_safetensors_is_refused(tiny_gpt2_folder: Path, tmp_path: Path) -> None:
    model = add_adapter(base_model(tiny_gpt2_folder), lora=lora(), seed=0)
    save_adapter(model, tmp_path / "adapter", base_name="tiny")
    (tmp_path / "adapter" / "adapter_model.safetensors").rename(tmp_path / "adapter" / "adapter_model.bin")
    with pytest.raises(ResultError, match=r"has no adapter_model\.safetensors; other formats are not read"):
        load_adapter(base_model(tiny_gpt2_folder), tmp_path / "adapter")


@pytest.mark.parametrize("damage", ["truncated", "absurd header", "other base"])
def test_a_damaged_adapter_is_refused(
    tiny_gpt2_folder: Path, tiny_llama_folder: Path, tmp_path: Path, damage: str
) -> None:
    model = add_adapter(base_model(tiny_gpt2_folder), lora=lora(), seed=0)
    save_adapter(model, tmp_path / "adapter", base_name="tiny")
    weights = tmp_path / "adapter" / "adapter_model.safetensors"
    if damage == "truncated":
        weights.write_bytes(weights.read_bytes()[:-9])
    elif damage == "absurd header":
        weights.write_bytes((2**62).to_bytes(8, "little") + weights.read_bytes()[8:])
    base = base_model(tiny_llama_folder if damage == "other base" else tiny_gpt2_folder)
    modules, logits = dict(base.named_modules()), base(IDS).logits
    with pytest.raises(ResultError, match="does not load on this base model"):
        load_adapter(base, tmp_path / "adapter")
    assert dict(base.named_modules()) == modules, "the base model is for other trials, too"
    assert torch.equal(base(IDS).logits, logits)


def test_memory_that_runs_out_while_an_adapter_is_loaded_leaves_the_base_as_it_was(
    tiny_gpt2_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_adapter(add_adapter(base_model(tiny_gpt2_folder), lora=lora(), seed=0), tmp_path / "a", base_name="tiny")
    base = base_model(tiny_gpt2_folder)
    modules = dict(base.named_modules())

    def no_memory(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr("peft.peft_model.set_peft_model_state_dict", no_memory)
    with pytest.raises(torch.OutOfMemoryError):
        load_adapter(base, tmp_path / "a")
    assert dict(base.named_modules()) == modules
