"""`lorasweep run` with the real job and a tiny model: interrupted while it trains, it goes on and changes no number."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from job.contract.documents import Result, SubmissionEnd, parse
from job.store import Keys, open_store
from job.store.keys import is_ours

DEADLINE_S = 240.0
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
  lora: {{r: 2, target_modules: all-linear, lora_alpha: 4, lora_dropout: 0.1}}
  training: {{max_steps: 120, per_device_train_batch_size: 2, eval_steps: 60}}
  generation: {{max_new_tokens: 4}}
vary: {{seeds: [0], baselines: [lead-3]}}
execution: {{checkpoint_every: 10}}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, tiny_gpt2_folder: Path) -> Path:
    """A spec with its rows."""
    root = tmp_path_factory.mktemp("sweep")
    (root / "rows").mkdir()
    for split, count in (("train", 16), ("validation", 3), ("test", 3)):
        rows = [
            {"id": f"{split}-{row}", "dialogue": f"Ann: {split} {row}?\nBen: yes", "summary": f"Ben says yes to {row}."}
            for row in range(count)
        ]
        (root / "rows" / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (root / "tiny.yaml").write_text(SPEC.format(model=tiny_gpt2_folder))
    return root


@pytest.fixture(scope="module")
def straight(folder: Path) -> Path:
    """A run that nobody interrupted."""
    finish(folder, "straight")
    return folder / "straight" / "tiny" / "main"


def start(folder: Path, store: str, *, words: Sequence[str] = ("run", "tiny.yaml")) -> subprocess.Popen[str]:
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "XDG_STATE_HOME": str(folder / "state"),
        "CUDA_VISIBLE_DEVICES": "",
        "OMP_NUM_THREADS": "1",
    }
    return subprocess.Popen(
        [sys.executable, "-m", "controller", *words, "--store", store, "--output", "json"],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(folder: Path, store: str) -> None:
    process = start(folder, store)
    _, stderr = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 0, stderr


def until_checkpoint(run: Path) -> None:
    """Wait until the trained trial has a whole checkpoint."""
    deadline = time.monotonic() + DEADLINE_S
    while not list(run.glob("trials/*/checkpoints/*/step-*/manifest.json")):
        assert time.monotonic() < deadline, "no checkpoint"
        time.sleep(0.05)


def trained(run: Path) -> Result:
    """The result of the trial that was trained."""
    results = [parse(Result, path.read_bytes(), name=str(path)) for path in run.glob("trials/*/result.json")]
    return next(result for result in results if result.adapter_id is not None and result.reused_from is None)


def sha256_of(run: Path, result: Result, path: str) -> str:
    return open_store(str(run)).sha256(Keys.attempt_file(result.trial_id, result.attempt, path))


def test_every_object_of_a_run_is_known_as_ours_and_may_go_with_it(straight: Path) -> None:
    keys = [found.key for found in open_store(str(straight)).list("")]
    assert [key for key in keys if not is_ours(key)] == []
    assert any("/attempts/" in key for key in keys)


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)])
def test_an_interrupted_sweep_goes_on_from_its_checkpoint_to_the_same_bytes(
    folder: Path, straight: Path, signum: signal.Signals, code: int
) -> None:
    store = f"cut-{signum.name}"
    cut = folder / store / "tiny" / "main"
    process = start(folder, store)
    until_checkpoint(cut)
    process.send_signal(signum)
    _, stderr = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == code, stderr
    finish(folder, store)
    ends = [parse(SubmissionEnd, path.read_bytes(), name=str(path)) for path in cut.glob("submissions/*.json")]
    assert sorted(end.exit_code or 0 for end in ends) == [0, 0, 85]
    assert not list(cut.glob("trials/*/failures/*"))
    assert not list(cut.glob("trials/*/checkpoints/*/*/*"))
    one, other = trained(cut), trained(straight)
    assert one.attempt.startswith("002-")
    for path in ("adapter/adapter_model.safetensors", "predictions.jsonl", "metrics.jsonl"):
        assert sha256_of(cut, one, path) == sha256_of(straight, other, path), path


def results(run: Path) -> dict[str, Result]:
    """Every result of the run, by trial id."""
    found = [parse(Result, path.read_bytes(), name=str(path)) for path in run.glob("trials/*/result.json")]
    return {result.trial_id: result for result in found}


@pytest.mark.parametrize(("verb", "tokens"), [("run", 3), ("evaluate", 2)])
def test_a_changed_evaluation_scores_the_adapter_of_the_earlier_spec_and_trains_nothing(
    folder: Path, straight: Path, verb: str, tokens: int
) -> None:
    first, before = trained(straight), set(results(straight))
    spec = (folder / "tiny.yaml").read_text()
    (folder / "other.yaml").write_text(spec.replace("max_new_tokens: 4", f"max_new_tokens: {tokens}"))
    process = start(folder, "straight", words=(verb, "other.yaml"))
    _, stderr = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 0, stderr
    (again,) = (found for trial_id, found in results(straight).items() if trial_id not in before)
    assert again.reused_from == Keys.attempt(first.trial_id, first.attempt)
    assert (again.adapter_id, again.seconds.train) == (first.adapter_id, 0)


def test_a_byte_flipped_in_place_is_reported_failed_and_retried_by_the_command_that_the_report_prints(
    folder: Path,
) -> None:
    finish(folder, "flipped")
    run = folder / "flipped" / "tiny" / "main"
    damaged = trained(run)
    scores = run / Keys.attempt_file(damaged.trial_id, damaged.attempt, "scores.json")
    body = bytearray(scores.read_bytes())
    body[-3] ^= 1
    scores.write_bytes(body)
    process = start(folder, "flipped")
    process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 1, "a result that does not verify is no success"
    retry = start(folder, "flipped", words=("retry", "tiny.yaml", damaged.trial_id))
    _, stderr = retry.communicate(timeout=DEADLINE_S)
    assert retry.returncode == 0, stderr
    finish(folder, "flipped")
    assert trained(run).attempt != damaged.attempt
