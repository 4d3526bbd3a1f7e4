"""`lorasweep promote` with an adapter that the real job trained, and with a hub that takes it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import ModelCard, ModelCardData
from writable_hub import TOKEN, WritableHub, writable_hub

from job.contract.errors import ExitCode

SPEC = """\
version: 1
name: tiny
model: {{id: {model}}}
data:
  source: rows
  splits: {{train: train.jsonl, validation: validation.jsonl, test: test.jsonl}}
  columns: {{id: id, input: dialogue, target: summary}}
prompts: {{v1: {{prompt: "{{dialogue}}\\nSummary:", completion: " {{summary}}"}}}}
trial:
  lora: {{r: 2, target_modules: all-linear, lora_alpha: 4}}
  training: {{max_steps: 3, learning_rate: 0.01, per_device_train_batch_size: 2}}
  generation: {{max_new_tokens: 4}}
vary: {{seeds: [0], baselines: [lead-3]}}
execution: {{trials_per_job: 1}}
"""
NAMES = ["README.md", "adapter_config.json", "adapter_model.safetensors"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, tiny_gpt2_folder: Path) -> Path:
    """A folder whose `runs/tiny/main` is a finished run of one trained trial, A, and a baseline."""
    root = tmp_path_factory.mktemp("promoted")
    (root / "rows").mkdir()
    for split, count in (("train", 8), ("validation", 4), ("test", 4)):
        rows = [
            {"id": f"{split}-{row}", "dialogue": f"Ann: {split} {row}?\nBen: yes", "summary": f"Ben says yes to {row}."}
            for row in range(count)
        ]
        (root / "rows" / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (root / "tiny.yaml").write_text(SPEC.format(model=tiny_gpt2_folder))
    done = lorasweep(root, "run", "tiny.yaml", "--store", "runs")
    assert done.returncode == 0, done.stderr
    return root


def lorasweep(folder: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    paths = os.pathsep.join(path for path in sys.path if path)
    variables = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    variables |= {"PYTHONPATH": paths, "XDG_STATE_HOME": str(folder / "state"), "HF_HOME": str(folder / "hf")}
    variables |= {"CUDA_VISIBLE_DEVICES": "", "HF_HUB_DISABLE_XET": "1", **environment}
    command = [sys.executable, "-m", "controller", *words]
    return subprocess.run(command, cwd=folder, env=variables, text=True, capture_output=True, timeout=400, check=False)


def test_peft_loads_the_promoted_folder_as_it_is_and_its_card_is_valid(folder: Path, tiny_gpt2_folder: Path) -> None:
    words = ("promote", "runs/tiny/main", "best", "--to", "taken/best")
    done = lorasweep(folder, *words)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("promoted A ")
    assert done.stdout.endswith("/taken/best: 3 files\n")
    taken = folder / "taken" / "best"
    assert sorted(path.name for path in taken.iterdir()) == NAMES

    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    base = AutoModelForCausalLM.from_pretrained(tiny_gpt2_folder)
    tokens = torch.tensor([[1, 2, 3]])
    plain = base(tokens).logits
    adapted = PeftModel.from_pretrained(base, taken)(tokens).logits
    assert not torch.allclose(plain, adapted)  # the adapter has learned something, and it is in use

    card = ModelCard.load(taken / "README.md")
    assert isinstance(card.data, ModelCardData)
    found = {(one.dataset_split, one.metric_type): one.metric_args for one in card.data.eval_results or ()}
    assert {"validation", "test"} == {split for split, _ in found}
    assert {"rows", "confidence_level", "confidence_low", "confidence_high"} == set(
        found["test", "completion_loss"] or ()
    )
    assert str(folder) not in card.content

    again = lorasweep(folder, *words, "--output", "json")
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout) | {"trial_id": "", "adapter_id": "", "label": ""} == {
        "trial_id": "",
        "adapter_id": "",
        "letter": "A",
        "label": "",
        "seed": 0,
        "rank": 1,
        "place": str(taken),
        "files": NAMES,
        "written": [],
    }


@pytest.fixture
def hub() -> Iterator[WritableHub]:
    with writable_hub() as running:
        yield running


def test_a_hub_gets_a_private_repository_once(folder: Path, hub: WritableHub) -> None:
    words = ("promote", "runs/tiny/main", "A", "--to", "hub:org/tiny-best", "--output", "json")
    done = lorasweep(folder, *words, HF_ENDPOINT=hub.url, HF_TOKEN=TOKEN)
    assert done.returncode == 0, done.stderr
    assert (json.loads(done.stdout)["place"], json.loads(done.stdout)["written"]) == ("hub:org/tiny-best", NAMES)
    repository = hub.repositories["org/tiny-best"]
    assert (repository.visibility, repository.commits) == ("private", 2)
    assert sorted(repository.files) == [".gitattributes", *NAMES]
    assert repository.files["adapter_model.safetensors"][8:9] == b"{"

    again = lorasweep(folder, *words, HF_ENDPOINT=hub.url, HF_TOKEN=TOKEN)
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["written"] == []
    assert repository.commits == 2

    repository.files["model.safetensors"] = b"of somebody else"
    other = lorasweep(folder, *words, HF_ENDPOINT=hub.url, HF_TOKEN=TOKEN)
    assert other.returncode == ExitCode.FINISHED_WITH_FAILURES
    assert "holds 'model.safetensors', which is not of this adapter" in other.stderr
    assert repository.commits == 2


def test_a_hub_that_refuses_or_is_away_is_said_with_the_remedy(folder: Path, hub: WritableHub) -> None:
    words = ("promote", "runs/tiny/main", "A", "--to", "hub:org/tiny-best")
    refused = lorasweep(folder, *words, HF_ENDPOINT=hub.url)
    assert refused.returncode == ExitCode.CONFIGURATION
    assert "set HF_TOKEN to a token that may write there" in refused.stderr
    offline = lorasweep(folder, *words, HF_ENDPOINT=hub.url, HF_HUB_OFFLINE="1")
    assert offline.returncode == ExitCode.CONFIGURATION
    assert "HF_HUB_OFFLINE forbids asking the hub" in offline.stderr
    away = lorasweep(folder, *words, HF_ENDPOINT="http://127.0.0.1:9", HF_TOKEN=TOKEN)
    assert away.returncode == ExitCode.TRY_AGAIN
    assert "the hub does not answer" in away.stderr
    assert hub.repositories == {}
