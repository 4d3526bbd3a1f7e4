"""What the report says mattered."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from made import GRID, MadeRun, made_run
from made_report import finish_all, report_of, stored

from controller.report.conclusions import Effects
from controller.report.effects_words import effect_lines, effects_sentences

SEEDS = GRID.replace("seeds: [0]", "seeds: [0, 1, 2]")
ONE = (
    GRID[: GRID.index("vary:")]
    .replace("trial:", "trial:\n  prompt: v1")
    .replace("lora: {", "lora: {r: 8, ")
    .replace("training: {", "training: {learning_rate: 3e-4, ")
)
RANDOM = """\
  random:
    n: 6
    ranges: {training.learning_rate: {low: 1.0e-5, high: 1.0e-3, log: true}, lora.lora_dropout: {low: 0.0, high: 0.2}}
"""


def finished(run: MadeRun, *, moved: float = 0.0, rows: int = 60) -> Effects:
    """Every trial scored; prompt v2 is better by `moved`, more so at rank 16."""
    run.rows = {"validation": rows, "test": rows}
    rng = np.random.default_rng(4)
    of_rows = rng.gamma(2, 0.07, rows)
    for trial in run.plan.trials:
        lora = trial.config.lora
        at = moved * (1 + (lora is not None and lora.r == 16)) if trial.prompt_name == "v2" else 0.0
        run.finish(trial, scores={"rougeL": np.clip(0.2 + of_rows + at + rng.normal(0, 0.02, rows), 0, 1)})
    found = report_of(run).effects
    assert found is not None
    return found


def test_each_setting_has_its_effect_and_a_shown_one_says_which_way(tmp_path: Path) -> None:
    found = finished(made_run(tmp_path, SEEDS), moved=0.05)
    assert [(one.change.factor, one.change.against, one.change.level, one.blocks) for one in found.main] == [
        ("prompt", "v1", "v2", 4),
        ("lora.r", "8", "16", 4),
        ("training.learning_rate", "5e-4", "2e-4", 4),
    ]
    assert [one.shown for one in found.main] == ["better", "better", "neither"]
    assert found.main[0].estimate == pytest.approx(0.075, abs=0.01)
    assert [(one.first.factor, one.second.factor) for one in found.interactions if one.shown] == [("prompt", "lora.r")]
    assert found.balanced
    assert found.notes == ()


def test_a_lower_loss_is_the_better_level(tmp_path: Path) -> None:
    run = made_run(tmp_path, GRID + "objective: {metric: completion_loss}\n")
    run.rows = {"validation": 40, "test": 40}
    noise = np.random.default_rng(1).normal(0, 0.05, (11, 40))
    for trial, moved in zip(run.plan.trials, noise, strict=True):
        level = 1.0 if trial.prompt_name == "v2" else 2.0
        run.finish(trial, scores={"completion_nll": 20 * (level + moved), "target_tokens": np.full(40, 20.0)})
    found = report_of(run).effects
    assert found is not None
    assert (found.main[0].shown, round(found.main[0].estimate)) == ("better", -1)


def test_a_fixed_alpha_beside_several_ranks_is_a_confound_in_words(tmp_path: Path) -> None:
    found = finished(made_run(tmp_path, GRID.replace("alpha_ratio: 2", "lora_alpha: 16")))
    assert found.notes == (
        "lora.lora_alpha is the same for several lora.r: the update is scaled by alpha / r, which changes with the "
        "rank.",
    )


def test_settings_drawn_together_have_no_effect_of_their_own(tmp_path: Path) -> None:
    free = ONE.replace("learning_rate: 3e-4, ", "").replace(", lora_dropout: 0.1", "")
    text = free + "vary:\n" + RANDOM + GRID[GRID.index("  seeds:") :]
    found = finished(made_run(tmp_path, text))
    assert found.main == ()
    assert found.without == ("training.learning_rate with lora.lora_dropout",)
    assert any("vary together" in note for note in found.notes)


def test_what_failed_leaves_a_gap_that_is_said(tmp_path: Path) -> None:
    run = made_run(tmp_path)
    for trial in run.plan.trials:
        if trial.letter != "D":
            run.finish(trial)
    found = report_of(run).effects
    assert found is not None
    assert [(one.blocks, one.left_out) for one in found.main] == [(3, 1), (3, 1), (3, 1)]
    assert found.notes[-1].startswith("Not every combination was compared")


def test_nothing_finished_or_nothing_varied_has_no_effects(tmp_path: Path) -> None:
    run = made_run(tmp_path / "none")
    assert report_of(run).effects is None
    run.finish(run.trial("A"))
    assert report_of(run).effects is None
    one = made_run(tmp_path / "one", ONE + "vary:\n" + GRID[GRID.index("  seeds:") :])
    finish_all(one)
    assert report_of(one).effects is None


def test_an_effect_is_drawn_beside_zero_and_an_interaction_said_in_its_direction(tmp_path: Path) -> None:
    found = finished(made_run(tmp_path, SEEDS), moved=0.05)
    lines = effect_lines(found)
    assert [line.shown for line in lines] == ["better", "better", "not shown"]
    assert len({line.zero for line in lines}) == 1
    assert all(line.low <= line.at <= line.high for line in lines)
    assert lines[0].zero < lines[0].low
    assert lines[2].low < lines[2].zero < lines[2].high
    assert lines[0].change.startswith("+0.07")
    said = effects_sentences(found)
    assert said[0].startswith("1 of the 3 interactions of two settings is shown")
    assert said[1].startswith("From prompt=v1 to v2 the mean goes further up by 0.0")
    assert said[1].endswith("at lora.r=16 than at lora.r=8.")


def test_a_falling_interaction_is_said_with_a_positive_number(tmp_path: Path) -> None:
    found = finished(made_run(tmp_path, SEEDS), moved=-0.05)
    said = effects_sentences(found)[1]
    assert "the mean goes further down by 0.0" in said
    assert "\N{MINUS SIGN}" not in said


def test_every_form_has_the_effects_and_marks_the_tied(tmp_path: Path) -> None:
    run = made_run(tmp_path, SEEDS)
    finished(run, moved=0.05)
    page, text = stored(run, "report.html"), stored(run, "report.md")
    for form in (page, text):
        assert "Why: what mattered for ROUGE-L on validation" in form
        assert "goes further up" in form
        assert "Behind the best" in form
    assert "**= tied**" in text
    assert "= tied</span>" in page
