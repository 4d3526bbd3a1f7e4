"""The base model: loaded safely, in the dtype and with the dropout that the spec says."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from tiny_training import base_model
from transformers import GPT2Config, LlamaConfig, MambaConfig

from job.contract.errors import ConfigurationError
from job.device import choose_device, describe_device, peak_bytes
from job.model import context_length, load_tokenizer

IDS = torch.arange(5, 45)[None]


@pytest.fixture
def folder(tiny_gpt2_folder: Path, tmp_path: Path) -> Path:
    """A copy to spoil."""
    return Path(shutil.copytree(tiny_gpt2_folder, tmp_path / "model"))


def change_config(folder: Path, **changes: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_without_dropout_training_mode_computes_what_inference_does(tiny_gpt2_folder: Path) -> None:
    model = base_model(tiny_gpt2_folder, dropout=0.0)
    with torch.no_grad():
        assert torch.equal(model.train()(IDS).logits, model.eval()(IDS).logits)


def test_kept_dropout_is_the_checkpoints_own(tiny_gpt2_folder: Path) -> None:
    model = base_model(tiny_gpt2_folder, dropout="keep")
    assert model.config.resid_pdrop == 0.1
    with torch.no_grad():
        assert not torch.equal(model.train()(IDS).logits, model.eval()(IDS).logits)


@pytest.mark.parametrize("ratio", [0.0, 0.25])
def test_dropout_reaches_every_module_and_every_name_in_the_configuration(tiny_gpt2_folder: Path, ratio: float) -> None:
    model = base_model(tiny_gpt2_folder, dropout=ratio)
    rates = {module.p for module in model.modules() if isinstance(module, torch.nn.Dropout)}
    assert rates == {ratio}
    assert {model.config.resid_pdrop, model.config.attn_pdrop, model.config.embd_pdrop} == {ratio}


def test_dropout_of_attention_reaches_a_llama_as_well(tiny_llama_folder: Path) -> None:
    model = base_model(tiny_llama_folder, dropout=0.5)
    assert model.model.layers[0].self_attn.attention_dropout == 0.5
    with torch.no_grad():
        assert not torch.equal(model.train()(IDS).logits, model.eval()(IDS).logits)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_weights_are_frozen_in_the_dtype_of_the_spec_and_not_of_the_checkpoint(folder: Path, dtype: str) -> None:
    change_config(folder, dtype="bfloat16", torch_dtype="bfloat16")
    model = base_model(folder, dtype=dtype)
    assert {parameter.dtype for parameter in model.parameters()} == {getattr(torch, dtype)}
    assert not any(parameter.requires_grad for parameter in model.parameters())
    assert not model.training


def test_the_folder_cannot_choose_the_attention(folder: Path) -> None:
    change_config(folder, attn_implementation="eager", _attn_implementation="eager")
    assert base_model(folder).config._attn_implementation == "sdpa"


@pytest.mark.parametrize("fixture", ["tiny_gpt2_folder", "tiny_llama_folder"])
def test_padding_on_either_side_changes_no_logit_that_counts(fixture: str, request: pytest.FixtureRequest) -> None:
    model = base_model(request.getfixturevalue(fixture))
    padding = torch.zeros((1, 9), dtype=torch.long)
    with torch.no_grad():
        alone = model(IDS).logits
        right = model(
            torch.cat([IDS, padding], 1), attention_mask=torch.cat([torch.ones_like(IDS), padding], 1)
        ).logits[:, : IDS.shape[1]]
        mask = torch.cat([padding, torch.ones_like(IDS)], 1)
        left = model(
            torch.cat([padding, IDS], 1), attention_mask=mask, position_ids=(mask.cumsum(1) - 1).clamp(min=0)
        ).logits[:, -IDS.shape[1] :]
    torch.testing.assert_close(right, alone, rtol=0, atol=1e-5)
    torch.testing.assert_close(left, alone, rtol=0, atol=1e-5)


def test_pickled_weights_are_refused(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(ConfigurationError, match=r"no weights in safetensors, only \['pytorch_model.bin'\]"):
        base_model(folder)


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="has no weights in safetensors"):
        base_model(tmp_path)


def test_code_in_a_model_folder_never_runs(folder: Path, tmp_path: Path) -> None:
    witness = tmp_path / "witness"
    (folder / "modeling_evil.py").write_text(f"open({str(witness)!r}, 'w').close()\n")
    change_config(
        folder,
        model_type="evil",
        auto_map={"AutoConfig": "modeling_evil.Config", "AutoModelForCausalLM": "modeling_evil.Model"},
    )
    with pytest.raises(ConfigurationError, match="code in a model folder never runs"):
        base_model(folder)
    assert not witness.exists()


@pytest.mark.parametrize("keep", [0, 7, 100])
def test_truncated_weights_are_refused(folder: Path, keep: int) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ConfigurationError, match="cannot load the weights of model 'model'"):
        base_model(folder)


def test_an_absurd_header_length_is_refused(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes((2**62).to_bytes(8, "little") + path.read_bytes()[8:])
    with pytest.raises(ConfigurationError, match="cannot load the weights"):
        base_model(folder)


def test_weights_of_another_architecture_are_refused(tiny_llama_folder: Path, folder: Path) -> None:
    shutil.copyfile(tiny_llama_folder / "model.safetensors", folder / "model.safetensors")
    with pytest.raises(ConfigurationError, match=r"lacks \d+ of its weights"):
        base_model(folder)


def test_a_missing_tokenizer_is_a_configuration_error(folder: Path) -> None:
    for path in folder.glob("tokenizer*"):
        path.unlink()
    with pytest.raises(ConfigurationError, match="cannot load the tokenizer of model 'model'"):
        load_tokenizer(folder)


def test_the_tokenizer_of_the_folder_is_loaded(tiny_llama_folder: Path) -> None:
    tokenizer = load_tokenizer(tiny_llama_folder)
    assert tokenizer.decode(tokenizer("Grüße, 3 €").input_ids) == "Grüße, 3 €"


def test_four_bits_without_a_gpu_say_what_to_change(tiny_llama_folder: Path) -> None:
    with pytest.raises(ConfigurationError, match="load_in_4bit needs a CUDA device and the package bitsandbytes"):
        base_model(tiny_llama_folder, load_in_4bit=True)


def test_context_length_is_the_configurations_under_any_of_its_names() -> None:
    assert context_length(GPT2Config(n_positions=77)) == 77
    assert context_length(LlamaConfig(max_position_embeddings=99)) == 99


def test_a_model_without_a_context_length_is_a_configuration_error() -> None:
    with pytest.raises(ConfigurationError, match="'mamba' model names no context length"):
        context_length(MambaConfig())


def test_two_visible_devices_are_refused_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)  # no test machine has two
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(ConfigurationError, match=r"2 CUDA devices are visible.*CUDA_VISIBLE_DEVICES=0"):
        choose_device()


def test_a_machine_without_a_gpu_computes_on_its_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    device = describe_device(choose_device())
    assert device.name
    assert device.count == 1
    assert 10 * 2**20 < device.peak_bytes <= peak_bytes(torch.device("cpu"))
