"""Zero-shot is scored whole and cut at its first newline, and the better of the two counts everywhere."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from made import GRID, MadeRun, made_run
from made_report import report_of, row, stored
from numpy.typing import NDArray

from controller.report.document import Report
from controller.report.terminal import ranked_table

ROWS = 60
NOISE = np.random.default_rng(3).normal(0, 0.015, (11, ROWS))


def around(mean: float, *, draw: int = 0) -> NDArray[np.float64]:
    found: NDArray[np.float64] = np.clip(mean + NOISE[draw] - NOISE[draw].mean(), 0, 1)
    return found


def finished(folder: Path, *, whole: float, cut: float | None, text: str = GRID) -> MadeRun:
    """A is the best with 0.30; I, its zero-shot baseline, is as said."""
    run = made_run(folder, text)
    run.rows = {"validation": ROWS, "test": ROWS}
    tokens = np.full(ROWS, 20.0)
    for trial in run.plan.trials:
        mean = {"A": 0.3, "I": whole}.get(trial.letter, 0.1)
        loss = (
            {"completion_nll": 20 * (2 - around(mean, draw=8)), "target_tokens": tokens} if trial.kind != "lead" else {}
        )
        scores = {"rougeL": around(mean, draw="ABCDEFGHIJK".index(trial.letter)), "generated_tokens": tokens, **loss}
        first_line = {"rougeL": around(cut, draw=8)} if trial.letter == "I" and cut is not None else None
        run.finish(trial, scores=scores, first_line=first_line)
    return run


def zero_shot(report: Report) -> tuple[str, float | None]:
    """The variant that the verdict compares with, and by how much the best is better."""
    found = next(one for one in report.verdict.baselines if one.letter == "I")
    return found.variant, round(found.better_by, 3)


def test_the_cut_texts_count_where_they_are_better_and_the_report_says_so(tmp_path: Path) -> None:
    run = finished(tmp_path, whole=0.05, cut=0.2)
    report = report_of(run)

    assert zero_shot(report) == ("first_line", 0.1)
    assert "better than zero-shot cut at its first newline by 0.100" in report.verdict.sentences[1]
    baseline = row(report, "I")
    assert (baseline.variant, round(baseline.metrics["validation"]["rougeL"].mean, 3)) == ("first_line", 0.2)
    assert {"generated_tokens", "completion_loss"} < set(baseline.metrics["validation"]), "those are of the whole texts"
    said = [sentence for sentence in report.findings if sentence.startswith("I (zero-shot, prompt=v1) counts as cut")]
    assert len(said) == 1
    assert "is 0.200 \N{PLUS-MINUS SIGN} 0.003, and 0.050 \N{PLUS-MINUS SIGN} 0.003 of its whole texts" in said[0]
    for name in ("report.md", "report.html"):
        assert "baseline, first line" in stored(run, name)
    assert "(baseline, first line)" in ranked_table(report, 200)


def test_counts_of_configurations_above_their_baseline_are_of_the_better_variant(tmp_path: Path) -> None:
    assert (
        report_of(finished(tmp_path / "whole", whole=0.05, cut=None))
        .findings[0]
        .startswith("By mean ROUGE-L on validation, 5 of")
    )
    findings = report_of(finished(tmp_path / "cut", whole=0.05, cut=0.2)).findings
    assert findings[0].startswith("By mean ROUGE-L on validation, 2 of 8 trained configurations")


@pytest.mark.parametrize("cut", [None, 0.01, 0.2])
def test_whole_texts_count_where_they_are_as_good_or_alone(tmp_path: Path, cut: float | None) -> None:
    report = report_of(finished(tmp_path, whole=0.2, cut=cut))
    assert zero_shot(report) == ("whole", 0.1)
    assert row(report, "I").variant == "whole"
    assert "first line" not in " ".join([*report.findings, report.verdict.heading, *report.verdict.sentences])


def test_the_best_has_to_beat_the_variant_that_is_harder_to_beat(tmp_path: Path) -> None:
    report = report_of(finished(tmp_path, whole=0.05, cut=0.299))
    assert zero_shot(report) == ("first_line", 0.001)
    assert "not shown better than zero-shot cut at its first newline" in report.verdict.heading


def test_a_loss_has_one_variant(tmp_path: Path) -> None:
    text = GRID + "objective: {metric: completion_loss}\n"
    report = report_of(finished(tmp_path, whole=0.05, cut=0.2, text=text))
    assert zero_shot(report) == ("whole", 0.25)
    assert row(report, "I").variant == "whole"


def test_a_variant_changes_nothing_for_the_others(tmp_path: Path) -> None:
    runs = [finished(tmp_path / name, whole=0.05, cut=cut) for name, cut in (("without", None), ("with", 0.02))]
    for run in runs:
        report_of(run)
    assert stored(runs[0], "report.md") == stored(runs[1], "report.md")
