"""Where the best configuration still fails: from the diagnostics of its rows to sentences, in every form."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from made import GRID, MadeRun, made_run
from made_report import SKILL, finish_all, report_of, row, stored
from numpy.typing import NDArray

from controller.report.diagnosis import Shortcomings
from controller.report.document import Report
from job.contract import diagnostic_names as names

ROWS = 32
SEEDS = GRID.replace("seeds: [0]", "seeds: [0, 1]")
Columns = dict[str, NDArray[np.float64]]


def columns(**changed: float) -> Columns:
    """Outputs of 10 words and 50 characters; the first eighth has 2 numbers, of which as many are wrong as is said."""
    found = {name: np.zeros(ROWS) for name in names.DIAGNOSTICS}
    found[names.OUTPUT_CHARACTERS] += 50
    found[names.REFERENCE_CHARACTERS] += 40
    found[names.OUTPUT_WORDS] += 10
    found[names.OUTPUT_NUMBERS][:4] = 2
    found[names.REFERENCE_NUMBERS][:4] = 2
    for name, value in changed.items():
        found[name][:4] = value
    return found


def finished(folder: Path, *, best: Columns | None, zero_shot: Columns | None = None, text: str = GRID) -> MadeRun:
    """G is the best, I its zero-shot baseline."""
    run = made_run(folder, text.replace("v1, v2", "v1"))
    run.rows = {"validation": ROWS, "test": ROWS}
    for trial in run.plan.trials:
        given = best if trial.kind == "lora" else zero_shot
        run.finish(trial, score=SKILL.get(trial.letter, 0.2), diagnostics=given)
    return run


def shortcomings(report: Report) -> Shortcomings:
    assert report.shortcomings is not None
    return report.shortcomings


def test_faults_of_the_best_are_counted_beside_zero_shot_with_rows_to_look_at(tmp_path: Path) -> None:
    wrong, cut = columns(unsupported_numbers=1, cut=1), columns(unsupported_numbers=1)
    cut[names.CUT] += 1
    run = finished(tmp_path, best=wrong, zero_shot=cut)
    report = report_of(run)
    found = shortcomings(report)

    assert [(one.fault, one.outputs, one.share, one.baseline_share) for one in found.faults] == [
        ("unsupported", 4, 0.125, 0.125),
        ("cut", 4, 0.125, 1.0),
    ]
    assert found.faults[0].examples == ("validation-000", "validation-001", "validation-002")
    assert found.without == ("missed", "copied", "recited", "runaway", "empty")
    said = (
        f"4 of 32 outputs of {found.letter} on validation (12 %; 100 % of zero-shot) have been cut off, by "
        "max_new_tokens or the model's context. Rows to look at: validation-000, validation-001, validation-002."
    )
    assert said in found.sentences
    assert said in stored(run, "report.md").replace("\\", "")
    assert "Where it still fails</h2>" in stored(run, "report.html")


def test_what_the_outputs_are_like_is_in_the_document_of_every_configuration(tmp_path: Path) -> None:
    given = columns(unsupported_numbers=1, missed_numbers=2)
    given[names.COVERAGE] += 0.5
    report = report_of(finished(tmp_path, best=given))
    texts = row(report, "A").texts["test"]
    assert (texts.outputs, texts.numbers, texts.unsupported_ratio, texts.missed_ratio) == (32, 8, 0.5, 1.0)
    assert (texts.length_ratio, texts.coverage) == (1.25, 0.5)
    assert row(report, "F").texts == {}, "lead-3 was not measured here"


def test_outputs_of_all_seeds_are_added(tmp_path: Path) -> None:
    report = report_of(finished(tmp_path, best=columns(cut=1), text=SEEDS))
    assert row(report, "A").texts["validation"].outputs == 2 * ROWS
    assert (shortcomings(report).faults[0].outputs, shortcomings(report).outputs) == (8, 64)


def test_results_of_an_earlier_release_are_said_to_be_not_measured(tmp_path: Path) -> None:
    run = made_run(tmp_path)
    finish_all(run)
    found = shortcomings(report_of(run))
    assert (found.state, found.outputs, found.faults, found.without) == ("not_measured", 0, (), ())
    assert found.sentences[0].startswith(f"What is in the outputs of {found.letter} was not measured: its results")


def test_one_seed_of_an_earlier_release_leaves_the_configuration_unmeasured(tmp_path: Path) -> None:
    run = made_run(tmp_path, SEEDS)
    run.rows = {"validation": ROWS, "test": ROWS}
    for trial in run.plan.trials:
        run.finish(trial, score=SKILL.get(trial.letter, 0.2), diagnostics=columns() if trial.seed == 0 else None)
    report = report_of(run)
    assert row(report, shortcomings(report).letter).texts == {}
    assert shortcomings(report).state == "not_measured"


def test_nothing_trained_has_no_shortcomings(tmp_path: Path) -> None:
    report = report_of(made_run(tmp_path))
    assert (report.shortcomings, report.loss_order) == (None, None)


def test_the_gap_is_validation_above_the_last_tenth_of_the_steps(tmp_path: Path) -> None:
    run = made_run(tmp_path, GRID.replace("max_steps: 12", "max_steps: 20"))
    scores = {
        "rougeL": np.full(32, 0.3),
        "completion_nll": np.full(32, 40.0),
        "target_tokens": np.full(32, 20.0),
    }
    run.rows = {"validation": 32, "test": 32}
    run.finish(run.trial("A"), scores=scores, losses=[3.0] * 18 + [1.25, 1.75])
    report = report_of(run)
    gap = row(report, "A").loss_gap
    assert gap is not None
    assert (gap.train, gap.validation, gap.gap) == (1.5, 2.0, 0.5)
    assert any("2.000 nats per token, is 0.500 above" in sentence for sentence in shortcomings(report).sentences)
    assert row(report, "I").loss_gap is None


@pytest.mark.parametrize(
    ("losses", "said"),
    [
        ((2.0, 1.9, 1.8, 1.7), "much the same order: they agree on 6 of 6 pairs (Kendall's tau 1.000), and by both, D"),
        (
            (1.7, 1.8, 1.9, 2.0),
            "different orders: they agree on 0 of 6 pairs (Kendall's tau \N{MINUS SIGN}1.000)",
        ),
    ],
)
def test_loss_and_rouge_are_held_against_one_another(tmp_path: Path, losses: tuple[float, ...], said: str) -> None:
    run = made_run(tmp_path, GRID.replace("values: [v1, v2]", "values: [v1]"))
    run.rows = {"validation": 32, "test": 32}
    for place, (letter, loss) in enumerate(zip("ABCD", losses, strict=True)):
        scores = {
            "rougeL": np.full(32, 0.2 + 0.01 * place),
            "completion_nll": np.full(32, 20 * loss),
            "target_tokens": np.full(32, 20.0),
        }
        run.finish(run.trial(letter), scores=scores)
    report = report_of(run)
    assert report.loss_order is not None
    assert (report.loss_order.configurations, report.loss_order.best_by_metric) == (4, "D")
    assert said in " ".join(shortcomings(report).sentences)
