"""What the numbers show and how far they reach."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from made import GRID, MadeRun, made_run
from made_report import SKILL, finish_all, report_of


@pytest.fixture
def run(tmp_path: Path) -> MadeRun:
    """8 trained configurations A to H, zero-shot I and J, lead-3 K; nothing finished."""
    return made_run(tmp_path)


def one_split(text: str = GRID) -> str:
    return text.replace("generation: {", "evaluation: {final_splits: [validation]}\n  generation: {")


def test_one_seed_is_about_adapters_and_too_small_to_name_a_winner(run: MadeRun) -> None:
    finish_all(run)
    report = report_of(run)
    assert report.small
    assert report.reach[0] == "32 rows, 1 seed: too few to name a winner."
    assert "these adapters, not these configurations" in report.reach[-2]


def test_intervals_that_overlap_are_counted(tmp_path: Path) -> None:
    run = made_run(tmp_path, GRID.replace("seeds: [0]", "seeds: [0, 1]"))
    finish_all(run)
    report = report_of(run)
    assert report.small
    assert "overlaps those of" in report.reach[1]
    assert not any("adapters" in sentence for sentence in report.reach)


def test_intervals_that_do_not_overlap_make_no_winner_either(tmp_path: Path) -> None:
    run = made_run(tmp_path, one_split(GRID.replace("seeds: [0]", "seeds: [0, 1]")))
    run.rows = {"validation": 32}
    noise = np.linspace(-0.01, 0.01, 32)
    for trial in run.plan.trials:
        run.finish(trial, scores={"rougeL": SKILL.get(trial.letter, 0.2) + noise / 10})
    report = report_of(run)
    assert not report.small
    assert "no winner is named" in report.reach[1]
    assert report.verdict is None


def test_baselines_are_counted_against_by_mean(run: MadeRun) -> None:
    finish_all(run)
    report = report_of(run)
    findings = report.findings
    assert findings[0].startswith(f"{report.configurations[0].letter} ranks first by mean ROUGE-L on validation: 0.2")
    assert "8 of 8 trained configurations are above the zero-shot baseline of their prompt." in findings[1]
    assert "completion loss" in findings[2]
    assert "are below" in findings[2]
    assert findings[3].endswith("are above lead-3.")


def test_one_configuration_has_no_other_to_be_ranked_against(run: MadeRun) -> None:
    run.finish(run.trial("A"))
    report = report_of(run)
    assert not report.small
    assert report.reach[0] == "32 rows, 1 seed, one trained configuration: there is no other to rank it against."


def test_the_first_of_several_means_is_said_to_flatter(run: MadeRun) -> None:
    finish_all(run)
    said = report_of(run).reach[-1]
    assert said.startswith("The first of 8 means on validation is picked for being the best, so it likely flatters")
    assert said.endswith("its mean on test is free of that choice.")


def test_nothing_flatters_the_only_mean(run: MadeRun) -> None:
    run.finish(run.trial("A"))
    assert not any("flatters" in sentence for sentence in report_of(run).reach)


def test_without_other_rows_no_mean_is_free_of_the_choice(tmp_path: Path) -> None:
    run = made_run(tmp_path, one_split())
    finish_all(run)
    assert report_of(run).reach[-1].endswith("flatters its configuration.")


def test_counts_by_mean_carry_their_caveat(run: MadeRun) -> None:
    run.finish(run.trial("A"))
    alone = report_of(run).findings
    assert not any("no test says" in sentence for sentence in alone)
    run.finish(run.trial("I"))
    assert report_of(run).findings[-1].startswith("These counts compare means alone: no test says")
