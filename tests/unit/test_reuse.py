"""Which trials of a changed spec have an adapter in the run already, and which would have to be trained."""

from __future__ import annotations

from pathlib import Path

import pytest
from made import GRID, MadeRun, made_run

from controller.planning.reuse import without_adapter
from job.store import Keys


@pytest.fixture
def run(tmp_path: Path) -> MadeRun:
    """Only A is finished."""
    made = made_run(tmp_path)
    made.finish(made.trial("A"))
    return made


def changed(run: MadeRun, tmp_path: Path, old: str, new: str) -> set[str]:
    """Letters of the spec with `new` in the place of `old` that have no adapter."""
    other = made_run(tmp_path, GRID.replace(old, new), earlier=[run.plan])
    return {trial.letter for trial in without_adapter(other.store, other.plan)}


def test_trials_that_are_finished_or_not_trained_need_no_adapter(run: MadeRun) -> None:
    assert {trial.letter for trial in without_adapter(run.store, run.plan)} == set("BCDEFGH")


def test_another_generation_takes_the_adapters_there_are(run: MadeRun, tmp_path: Path) -> None:
    assert changed(run, tmp_path, "max_new_tokens: 48", "max_new_tokens: 32") == set("BCDEFGH")


def test_other_training_has_no_adapter(run: MadeRun, tmp_path: Path) -> None:
    assert changed(run, tmp_path, "max_steps: 12", "max_steps: 14") == set("ABCDEFGH")


def test_a_damaged_adapter_is_none(run: MadeRun, tmp_path: Path) -> None:
    trial = run.trial("A")
    key = Keys.attempt_file(trial.trial_id, f"made-{trial.trial_id[:4]}", "adapter/adapter_model.safetensors")
    run.store.put(key, b"damaged")
    assert changed(run, tmp_path, "max_new_tokens: 48", "max_new_tokens: 32") == set("ABCDEFGH")
