"""Which configuration ranks where, and by which mean and interval."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from made import GRID, MadeRun, made_run
from made_report import SKILL, finish_all, flat, report_of, row, stored


@pytest.fixture
def run(tmp_path: Path) -> MadeRun:
    """8 trained configurations A to H, zero-shot I and J, lead-3 K; nothing finished."""
    return made_run(tmp_path)


def test_configurations_are_ranked_by_the_objective_with_baselines_at_their_place(run: MadeRun) -> None:
    finish_all(run)
    report = report_of(run)
    means = [found.metrics["validation"]["rougeL"].mean for found in report.configurations]
    assert means == sorted(means, reverse=True)
    trained = [found for found in report.configurations if found.kind == "lora"]
    assert [found.rank for found in trained] == list(range(1, 9))
    assert {found.rank for found in report.configurations if found.kind != "lora"} == {None}


def test_a_loss_is_ranked_from_the_lowest(tmp_path: Path) -> None:
    run = made_run(tmp_path, GRID + "objective: {metric: completion_loss}\n")
    finish_all(run)
    report = report_of(run)
    losses = [
        found.metrics["validation"]["completion_loss"].mean for found in report.configurations if found.letter != "K"
    ]
    assert losses == sorted(losses)
    assert report.configurations[-1].letter == "K"
    assert row(report, "K").rank is None


def test_the_objective_ranks_on_its_own_split(tmp_path: Path) -> None:
    run = made_run(tmp_path, GRID + "objective: {metric: rouge1, split: test}\n")
    finish_all(run)
    means = [found.metrics["test"]["rouge1"].mean for found in report_of(run).configurations]
    assert means == sorted(means, reverse=True)


def test_the_mean_of_a_loss_is_a_sum_over_a_sum(run: MadeRun) -> None:
    trial = run.trial("A")
    scores = {"rougeL": [0.1, 0.3], "completion_nll": [10.0, 1.0], "target_tokens": [5.0, 1.0]}
    run.rows = {"validation": 2, "test": 2}
    run.finish(trial, scores={name: np.array(values) for name, values in scores.items()})
    assert row(report_of(run), "A").metrics["validation"]["completion_loss"].mean == pytest.approx(11 / 6)


def test_seeds_are_folded_into_one_row_and_a_missing_one_is_said(tmp_path: Path) -> None:
    run = made_run(tmp_path, GRID.replace("seeds: [0]", "seeds: [0, 1, 2]"))
    for trial in run.plan.trials:
        if (trial.letter, trial.seed) == ("C", 2):
            run.fail(trial)
        else:
            run.finish(trial, score=SKILL.get(trial.letter, 0.2))
    report = report_of(run)
    assert row(report, "A").metrics["validation"]["rougeL"].seeds == 3
    assert row(report, "C").metrics["validation"]["rougeL"].seeds == 2
    assert row(report, "A").train_s == pytest.approx(3 * 2.3 * 12)
    assert "C: 2 of 3 seeds have a result; its numbers are of those." in report.warnings
    assert [(failed.letter, failed.seed) for failed in report.failures] == [("C", 2)]


def test_configurations_with_equal_means_share_a_rank(run: MadeRun) -> None:
    run.rows = {"validation": 32, "test": 32}
    for trial in run.plan.trials:
        run.finish(trial, scores=flat(0.3 if trial.letter in "BDF" else 0.2))
    report = report_of(run)
    assert [(found.letter, found.rank) for found in report.configurations[:5]] == [
        ("B", 1), ("D", 1), ("F", 1), ("A", 4), ("C", 4),
    ]  # fmt: skip
    assert report.verdict.best == ("B", "D", "F")
    assert report.verdict.kind == "tied"


def test_all_equal_is_said(run: MadeRun) -> None:
    run.rows = {"validation": 32, "test": 32}
    for trial in run.plan.trials:
        run.finish(trial, scores=flat(0.25))
    report = report_of(run)
    said = "All 8 trained configurations have the same mean ROUGE-L on validation, 0.250 (no spread)."
    assert report.verdict.sentences[0] == said
    assert {found.rank for found in report.configurations if found.kind == "lora"} == {1}
    assert report.verdict.optimism is None


def test_a_result_without_the_objective_is_listed_and_not_ranked(run: MadeRun) -> None:
    for trial in run.plan.trials:
        run.finish(trial, without=["rougeL"] if trial.letter == "C" else [])
    report = report_of(run)
    assert row(report, "C").rank is None
    assert "C: no ROUGE-L on validation in the results, so not ranked." in report.warnings


def test_no_result_with_the_objective_leaves_the_order_of_letters(run: MadeRun) -> None:
    for trial in run.plan.trials:
        run.finish(trial, without=["rougeL"])
    report = report_of(run)
    assert [found.letter for found in report.configurations] == list("ABCDEFGHIJK")
    assert report.verdict.sentences[0].startswith("No trained configuration has ROUGE-L on validation")


def test_a_single_row_has_a_mean_and_no_interval(run: MadeRun) -> None:
    run.rows = {"validation": 1, "test": 1}
    finish_all(run)
    report = report_of(run)
    metric = row(report, "A").metrics["validation"]["rougeL"]
    assert (metric.rows, metric.low, metric.high) == (1, None, None)
    assert report.verdict.nothing == "one_row"


def test_an_interval_is_shown_within_the_range_of_its_metric_and_its_half_width_as_computed(run: MadeRun) -> None:
    run.rows = {"validation": 4, "test": 4}
    few = {"rougeL": np.array([0.0, 0.0, 0.0, 0.5]), "completion_nll": np.array([0.1, 0.1, 0.1, 9.0])}
    run.finish(run.trial("A"), scores={**few, "target_tokens": np.ones(4), "rouge1": 1 - few["rougeL"]})
    metrics = row(report_of(run), "A").metrics["validation"]
    assert (metrics["rougeL"].low, metrics["rouge1"].high, metrics["completion_loss"].low) == (0.0, 1.0, 0.0)
    assert metrics["rougeL"].half == pytest.approx(0.398, abs=1e-3)
    assert metrics["rougeL"].high == pytest.approx(metrics["rougeL"].mean + 0.398, abs=1e-3)
    assert "| 0.125 \N{PLUS-MINUS SIGN} 0.398 |" in stored(run, "report.md")


def test_equal_rows_have_no_interval_and_the_report_says_why(run: MadeRun) -> None:
    run.rows = {"validation": 32, "test": 32}
    for trial in run.plan.trials:
        run.finish(trial, scores=flat(0.0))
    report = report_of(run)
    metric = row(report, "A").metrics["validation"]["rougeL"]
    assert (metric.low, metric.high, metric.half) == (None, None, None)
    assert report.verdict.without_spread == tuple("ABCDEFGH")
    assert report.verdict.tied == tuple("ABCDEFGH")
    assert "| 0.000 (no spread) |" in stored(run, "report.md")
    assert "no spread" in stored(run, "report.html")
