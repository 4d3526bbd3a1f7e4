"""What was fixed and what was varied."""

from __future__ import annotations

from pathlib import Path

import pytest
from made import GRID, MadeRun, made_run
from made_report import finish_all, report_of


@pytest.fixture
def run(tmp_path: Path) -> MadeRun:
    """8 trained configurations A to H, zero-shot I and J, lead-3 K; nothing finished."""
    return made_run(tmp_path)


def test_setup_says_what_is_shared_and_how_alpha_follows_the_rank(run: MadeRun) -> None:
    finish_all(run)
    setup = report_of(run).setup
    assert setup.shared["lora.lora_alpha"] == "2 \N{MULTIPLICATION SIGN} lora.r"
    assert setup.shared["training.max_steps"] == "12"
    assert "lora.r" not in setup.shared
    assert "training.learning_rate" not in setup.shared
    assert setup.rows == {"train": 64, "validation": 32, "test": 48}
    assert setup.dropped == {"train.leaked": 2}
    assert [(varied.path, varied.values, varied.why) for varied in setup.varied] == [
        ("prompt", ("v1", "v2"), "Does asking for brevity help?"),
        ("lora.r", ("8", "16"), None),
        ("training.learning_rate", ("5e-4", "2e-4"), None),
    ]
    assert (setup.model, setup.data) == ("smollm2-135m-instruct", "dialogues")


def test_paired_random_and_listed_values_are_told_apart(tmp_path: Path) -> None:
    vary = """\
vary:
  grid: {prompt: [v1]}
  paired: [{lora.r: [8, 64], training.learning_rate: [5e-4, 1e-4]}]
  random: {n: 3, seed: 1, ranges: {lora.lora_dropout: {low: 0.0, high: 0.3}}}
  trials: [{prompt: v2, lora.r: 4, training.learning_rate: 1e-3, lora.lora_dropout: 0.5}]
"""
    run = made_run(tmp_path, GRID[: GRID.index("vary:")].replace("lora_dropout: 0.1, ", "") + vary)
    varied = report_of(run).setup.varied
    assert [(found.path, found.how) for found in varied] == [
        ("prompt", "grid"),
        ("lora.r", "paired"),
        ("training.learning_rate", "paired"),
        ("lora.lora_dropout", "random"),
        ("prompt", "listed"),
        ("lora.r", "listed"),
        ("training.learning_rate", "listed"),
        ("lora.lora_dropout", "listed"),
    ]
    assert varied[3].values == ("3 draws from 0 to 0.3, uniform",)
