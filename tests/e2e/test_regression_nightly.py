"""Nightly runs as subprocesses, with pods' stand-ins that draw scores by seed and prompt: who is paged, and why."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from sandbox import Sandbox, make_sandbox

from job.store import Keys

SPEC = """\
version: 1
name: demo
model: {{id: model}}
data:
  source: rows
  splits: {{train: train.jsonl, validation: validation.jsonl}}
  columns: {{input: dialogue, target: summary}}
prompts: {{v1: {{prompt: "{prompt}", completion: "{{summary}}"}}}}
trial:
  lora: {{lora_alpha: 8}}
  training: {{max_steps: 4}}
  evaluation: {{final_splits: [validation]}}
vary:
  grid: {{lora.r: [1]}}
  rotating_seeds: 3
  baselines: []
execution: {{trials_per_job: 12}}
regression: {asked}
"""
GOOD, BROKEN = "Summarize: {dialogue}", "Translate: {dialogue}"
DOUBTFUL = "Summarize, minus 0.018: {dialogue}"


@pytest.fixture
def sandbox(tmp_path: Path) -> Sandbox:
    made = make_sandbox(tmp_path)
    made.extra = {"FAKE_JOB_SCORES": "drawn"}
    return made


def _night(
    sandbox: Sandbox, run: str, *, prompt: str = GOOD, asked: str = "{}"
) -> tuple[subprocess.CompletedProcess[str], dict[str, Any]]:
    sandbox.spec.write_text(SPEC.format(prompt=prompt, asked=asked))
    done = sandbox.sweep("--run", run, "--output", "json")
    assert done.stdout, done.stderr
    return done, json.loads(done.stdout)


def test_of_three_nights_only_the_one_with_a_broken_prompt_fails_and_its_report_says_why(sandbox: Sandbox) -> None:
    nights = [
        _night(sandbox, f"2026030{day}-0230z", prompt=prompt) for day, prompt in ((1, GOOD), (2, BROKEN), (3, GOOD))
    ]
    assert [done.returncode for done, _ in nights] == [0, 1, 0], nights[1][0].stderr
    found = [night["regression"] for _, night in nights]
    assert [one["status"] for one in found] == ["no_reference", "regression", "ok"]
    assert found[2]["reference"] == ["20260301-0230z"]
    text = (sandbox.store / "demo" / "20260302-0230z" / "report" / "report.md").read_text()
    assert "## Regression: ROUGE-L is 0.2" in text
    assert "Translate: {dialogue}" in text.split("What changed since")[1]


def test_seeds_are_the_runs_own_and_the_same_when_it_is_started_again(sandbox: Sandbox) -> None:
    first, second = (_night(sandbox, run)[1] for run in ("one", "two"))
    assert not set(first["trials"]) & set(second["trials"])
    again, document = _night(sandbox, "one")
    assert again.returncode == 0
    assert (document["submissions"], set(document["trials"])) == (0, set(first["trials"]))


def test_a_suspicion_adds_seeds_which_decide_and_the_run_is_found_by_its_file(sandbox: Sandbox) -> None:
    _night(sandbox, "before")
    name = "after"
    done, night = _night(sandbox, name, prompt=DOUBTFUL)
    assert len(night["trials"]) == 6
    assert "a regression is suspected: 6 trials with more seeds will decide" in done.stderr
    assert night["regression"]["seeds"] == 6
    assert (done.returncode, night["regression"]["status"], night["regression"]["stage"]) == (1, "regression", "second")
    status = json.loads(sandbox.verb("status", str(sandbox.spec), "--run", name, "--output", "json").stdout)
    assert len(status["trials"]) == 6
    before = _bytes(sandbox, name)
    again, document = _night(sandbox, name, prompt=DOUBTFUL)
    assert (again.returncode, document["submissions"]) == (1, 0)
    assert document["regression"] == night["regression"]
    assert _bytes(sandbox, name) == before


def _bytes(sandbox: Sandbox, run: str) -> dict[str, bytes]:
    paths = sorted((sandbox.store / "demo" / run).rglob("*.*"))
    return {str(path): path.read_bytes() for path in paths if path.is_file() and path.name != ".controller.lock"}


def test_without_more_seeds_the_first_ones_decide(sandbox: Sandbox) -> None:
    asked = "{more_seeds: 0}"
    _night(sandbox, "before", asked=asked)
    done, night = _night(sandbox, "after", asked=asked)
    assert done.returncode == 0
    assert night["regression"]["stage"] == "only"


@pytest.mark.parametrize("field", ["reference", "anchor"])
def test_a_run_to_be_compared_with_that_is_not_there_is_refused_before_anything_starts(
    sandbox: Sandbox, field: str
) -> None:
    sandbox.spec.write_text(SPEC.format(prompt=GOOD, asked=f"{{{field}: last-good}}"))
    done = sandbox.sweep("--run", "tonight")
    assert done.returncode == 2
    assert f"regression.{field}: no run 'last-good' beside" in done.stderr
    assert not (sandbox.store / "demo" / "tonight" / "plans").exists()


def test_a_night_is_not_evaluated_again_under_its_own_verdict(sandbox: Sandbox) -> None:
    _night(sandbox, "one")
    done = sandbox.verb("evaluate", str(sandbox.spec), "--store", str(sandbox.store), "--run", "one")
    assert done.returncode == 2
    assert "evaluate judges no night" in done.stderr


def test_a_run_that_is_half_removed_is_not_started(sandbox: Sandbox) -> None:
    _night(sandbox, "one")
    (sandbox.store / "demo" / "one" / Keys.REMOVING).write_text("{}")
    done = sandbox.sweep("--run", "one")
    assert done.returncode == 2
    assert "a clean was cut short while it removed this run" in done.stderr
