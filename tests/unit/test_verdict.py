"""The verdict of made runs: who is in it, by which rows, and that nothing in a store breaks it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from made import GRID, MadeRun, made_run
from made_report import report_of, stored
from rouge_like import World, sweep

from controller.report.conclusions import Verdict

SEEDS = GRID.replace("seeds: [0]", "seeds: [0, 1, 2]")
UNTRAINED = -5.0


def scored(
    run: MadeRun, shifts: Mapping[str, float], *, rows: int = 80, skip: Sequence[str] = (), seed_sd: float = 0.3
) -> MadeRun:
    """The run with scores drawn like ROUGE, shifted by letter in points; baselines are UNTRAINED by default."""
    run.rows = {"validation": rows, "test": rows}
    letters = list(dict.fromkeys(trial.letter for trial in run.plan.trials))
    default = {trial.letter: 0.0 if trial.kind == "lora" else UNTRAINED for trial in run.plan.trials}
    world = World(
        rows=rows,
        seeds=len(run.loaded.spec.vary.seeds),
        seed_sd=seed_sd,
        shifts=tuple({**default, **shifts}[letter] for letter in letters),
    )
    drawn = sweep(world, np.random.default_rng(5))
    for trial in run.plan.trials:
        if trial.letter not in skip and f"{trial.letter}{trial.seed}" not in skip:
            run.finish(trial, scores={"rougeL": drawn[letters.index(trial.letter), trial.seed or 0]})
    return run


def verdict_of(run: MadeRun) -> Verdict:
    return report_of(run).verdict


def test_a_clear_winner_stands_alone_and_is_held_against_its_baselines_on_test(tmp_path: Path) -> None:
    verdict = verdict_of(scored(made_run(tmp_path, SEEDS), {"C": 8}))
    assert (verdict.kind, verdict.tied, verdict.best) == ("winner", ("C",), ("C",))
    assert {one.worse_than for one in verdict.compared if one.letter != "C"} == {"C"}
    assert verdict.baselines_split == "test"
    assert [(one.label, one.shown) for one in verdict.baselines] == [
        ("zero-shot, prompt=v1", "better"),
        ("lead-3", "better"),
    ]
    assert verdict.would_show is None
    assert not verdict.adapters_only


def test_equal_configurations_are_tied_and_what_would_show_more_is_computed(tmp_path: Path) -> None:
    verdict = verdict_of(scored(made_run(tmp_path, SEEDS), {}))
    assert verdict.kind == "tied"
    assert len(verdict.tied) == 8
    assert verdict.would_show is not None
    assert verdict.would_show.against == verdict.tied[1]
    assert verdict.would_show.size == verdict.compared[1].behind > 0
    assert (verdict.would_show.rows or verdict.would_show.seeds or 0) > 0
    assert (verdict.optimism or 0) > 0


def test_one_seed_is_about_adapters(tmp_path: Path) -> None:
    verdict = verdict_of(scored(made_run(tmp_path), {"C": 8}))
    assert verdict.adapters_only
    assert verdict.heading.startswith("These adapters, not these configurations: ")


def test_two_seeds_of_few_configurations_are_few(tmp_path: Path) -> None:
    text = SEEDS.replace("[0, 1, 2]", "[0, 1]").replace("lora.r: [8, 16]", "lora.r: [8]")
    assert verdict_of(scored(made_run(tmp_path, text), {})).few_seeds


def test_a_best_below_zero_shot_is_not_shown_better_than_it(tmp_path: Path) -> None:
    verdict = verdict_of(scored(made_run(tmp_path, SEEDS), {"I": 12, "J": 12}))
    assert {one.label.split(",")[0]: one.shown for one in verdict.baselines} == {
        "zero-shot": "worse",
        "lead-3": "better",
    }
    assert "worse than zero-shot" in verdict.heading


def test_only_one_finished_configuration_is_single(tmp_path: Path) -> None:
    verdict = verdict_of(scored(made_run(tmp_path, SEEDS), {}, skip="BCDEFGH"))
    assert (verdict.kind, verdict.best) == ("single", ("A",))
    assert [(one.letter, one.why) for one in verdict.left_out] == [(letter, "pending") for letter in "BCDEFGH"]


def test_nothing_finished_is_no_verdict_and_every_form_says_so(tmp_path: Path) -> None:
    run = made_run(tmp_path)
    assert (verdict_of(run).kind, verdict_of(run).nothing) == ("none", "pending")
    for name in ("report.md", "report.html"):
        assert "No verdict yet" in stored(run, name)


def test_failed_and_missing_seeds_count_with_those_that_there_are(tmp_path: Path) -> None:
    run = made_run(tmp_path, SEEDS)
    for trial in run.plan.trials:
        if trial.letter == "D" or (trial.letter, trial.seed) == ("B", 1):
            run.fail(trial)
    verdict = verdict_of(scored(run, {"C": 8}, skip=("D", "B1")))
    assert verdict.best == ("C",)
    assert verdict.seeds == 2
    assert {one.letter for one in verdict.compared} == set("ABCEFGH")
    assert [(one.letter, one.why) for one in verdict.left_out] == [("D", "failed")]


def test_other_rows_are_left_out_with_a_sentence(tmp_path: Path) -> None:
    run = scored(made_run(tmp_path), {"C": 8}, skip="D")
    run.rows = {"validation": 20, "test": 80}
    run.finish(run.trial("D"), scores=None, score=0.9)
    verdict = verdict_of(run)
    assert verdict.best == ("C",)
    assert "Not in the verdict: D (scored on other rows)." in verdict.notes


def test_a_baseline_without_scores_on_test_is_said_to_be_missing(tmp_path: Path) -> None:
    verdict = verdict_of(scored(made_run(tmp_path), {"C": 8}, skip="K"))
    assert verdict.missing_baselines == ("lead-3",)
    assert [one.letter for one in verdict.baselines] == ["I"]


def test_without_another_split_baselines_are_compared_where_the_best_was_picked(tmp_path: Path) -> None:
    text = GRID.replace("generation: {", "evaluation: {final_splits: [validation]}\n  generation: {")
    assert verdict_of(scored(made_run(tmp_path, text), {"C": 8})).baselines_split == "validation"


def test_a_configuration_whose_seeds_scatter_is_named(tmp_path: Path) -> None:
    run = made_run(tmp_path, SEEDS)
    run.rows = {"validation": 40, "test": 40}
    rng = np.random.default_rng(2)
    for trial in run.plan.trials:
        moved = 0.1 * (trial.seed or 0) if trial.letter == "E" else rng.normal(0, 0.002)
        run.finish(trial, scores={"rougeL": 0.3 + moved + rng.normal(0, 0.01, 40)})
    assert [one.letter for one in verdict_of(run).uneven] == ["E"]


def test_a_loss_has_its_best_at_the_bottom(tmp_path: Path) -> None:
    run = made_run(tmp_path, GRID + "objective: {metric: completion_loss}\n")
    run.rows = {"validation": 40, "test": 40}
    noise = np.random.default_rng(1).normal(0, 0.1, (11, 40))
    for trial, moved in zip(run.plan.trials, noise, strict=True):
        level = 1.0 if trial.letter == "G" else 2.0 if trial.kind == "lora" else 3.0
        tokens = np.full(40, 20.0)
        run.finish(trial, scores={"completion_nll": 20 * (level + moved), "target_tokens": tokens})
    verdict = verdict_of(run)
    assert (verdict.best, verdict.kind) == (("G",), "winner")
    assert verdict.compared[1].behind == pytest.approx(1.0, abs=0.1)
    assert verdict.baselines[0].better_by == pytest.approx(2.0, abs=0.1)
