"""Which scores are in one table, and so in one interval and one comparison."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from made import GRID, MadeRun, made_run
from made_report import flat, report_of, row

from controller.report.document import Metric

TWO = GRID.replace("seeds: [0]", "seeds: [0, 1]")
LOSS = "objective: {metric: completion_loss}\n"
ROWS = 32
NATS = np.linspace(10, 40, ROWS)


def rouge(run: MadeRun, letter: str) -> Metric:
    return row(report_of(run), letter).metrics["validation"]["rougeL"]


def test_a_configuration_whose_seeds_agree_by_luck_has_the_seeds_of_the_others_in_its_interval(tmp_path: Path) -> None:
    run = made_run(tmp_path, TWO)
    noise = np.linspace(-0.001, 0.001, ROWS)
    run.rows = {"validation": ROWS, "test": ROWS}
    for trial in run.plan.trials:
        jump = 0.1 * (trial.seed or 0) if trial.letter != "A" else 0.0
        run.finish(trial, scores={"rougeL": 0.3 + jump + noise})
    assert (rouge(run, "A").half or 0) > 0.05


def test_other_rows_have_an_interval_of_their_own_and_leave_that_of_the_rest(tmp_path: Path) -> None:
    run = made_run(tmp_path)
    for letter in "ABC":
        run.finish(run.trial(letter))
    before = rouge(run, "A")
    run.rows = {"validation": 20, "test": 48}
    run.finish(run.trial("D"))
    assert (rouge(run, "D").rows, rouge(run, "D").half is None) == (20, False)
    assert rouge(run, "A") == before


def losses(run: MadeRun, *, other: str) -> None:
    """Every trial finished, those of the letters in `other` with one target token more on every row."""
    run.rows = {"validation": ROWS, "test": ROWS}
    for place, trial in enumerate(run.plan.trials):
        tokens = np.full(ROWS, 10.0 + (trial.letter in other))
        run.finish(trial, scores={**flat(0.3), "completion_nll": NATS + place, "target_tokens": tokens})


def test_losses_over_the_same_tokens_are_in_nats_per_token_alone(tmp_path: Path) -> None:
    run = made_run(tmp_path)
    losses(run, other="")
    found = row(report_of(run), "A").metrics["validation"]
    assert "completion_bits" not in found
    assert found["completion_loss"].mean == pytest.approx(NATS.mean() / 10)


def test_losses_over_other_tokens_are_ranked_by_bits_per_character(tmp_path: Path) -> None:
    run = made_run(tmp_path, GRID + LOSS)
    losses(run, other="A")
    report = report_of(run)
    assert report.objective.metric == "completion_bits"
    assert report.objective.direction == "minimize"
    characters = sum(len(run.example("validation", index).reference) for index in range(ROWS))
    found = row(report, "A").metrics["validation"]
    assert found["completion_bits"].mean == pytest.approx(NATS.sum() / np.log(2) / characters)
    assert found["completion_loss"].mean == pytest.approx(NATS.mean() / 11)
    assert [one.letter for one in report.configurations] == list("ABCDEFGHIJK")


def test_without_texts_losses_over_other_tokens_stay_in_nats_per_token(tmp_path: Path) -> None:
    run = made_run(tmp_path, GRID + LOSS)
    losses(run, other="A")
    key = next(iter(run.store.list("examples/")))
    run.store.put(key.key, b"damaged\n")
    report = report_of(run)
    assert report.objective.metric == "completion_loss"
    assert any("No examples are shown" in sentence for sentence in report.warnings)


def test_a_loss_over_no_token_is_left_out_and_breaks_nothing(tmp_path: Path) -> None:
    run = made_run(tmp_path)
    run.rows = {"validation": 2, "test": 2}
    nothing = {"completion_nll": np.zeros(2), "target_tokens": np.array([0.0, 3.0])}
    run.finish(run.trial("A"), scores={"rougeL": np.array([0.1, 0.2]), **nothing})
    assert "completion_loss" not in row(report_of(run), "A").metrics["validation"]
