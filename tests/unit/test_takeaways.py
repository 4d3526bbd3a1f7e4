"""Takeaways: each from a number, and a next sweep that differs from the present one only where a rule says so."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from made import GRID, MadeRun, made_run
from made_report import report_of, stored

from controller.report.choices import Rule, Takeaway, Takeaways
from controller.report.document import Report
from controller.spec.file import parse_spec
from controller.spec.yaml_tree import TreeValue, parse_yaml

ONE = (
    GRID.replace("    lora.r: [8, 16]\n    training.learning_rate: [5e-4, 2e-4]\n", "")
    .replace("lora: {", "lora: {r: 8, ")
    .replace("    prompt: {values: [v1, v2], why: Does asking for brevity help?}\n", "")
    .replace("trial:", "trial:\n  prompt: v1")
)
"""GRID up to `grid:`, of which the tests give the lines."""
FLAT = [2.0] * 12


def grid(lines: str, *, seeds: str = "[0, 1, 2]", more: str = "") -> str:
    text = ONE.replace("  grid:\n", f"  {lines}\n").replace("seeds: [0]", f"seeds: {seeds}") + more
    varied = lines.split("vary")[0]
    if "lora.r" in varied:
        text = text.replace("{r: 8, ", "{")
    return text


def finish(
    run: MadeRun, skill: dict[str, float], *, rows: int = 60, noise: float = 0.004, zero_shot: float = 0.05
) -> Report:
    """Every trial scored near the skill of its letter, with rows that differ and a loss that does not fall."""
    run.rows = {"validation": rows, "test": rows}
    rng = np.random.default_rng(3)
    of_rows = rng.normal(0, 0.05, rows)
    for trial in run.plan.trials:
        at = skill.get(trial.letter, 0.2) if trial.kind == "lora" else zero_shot
        scores = {"rougeL": np.clip(at + of_rows + rng.normal(0, noise, rows), 0, 1), "generated_tokens": of_rows + 9}
        run.finish(trial, scores=scores, losses=FLAT)
    return report_of(run)


def takeaways(report: Report) -> Takeaways:
    assert report.takeaways is not None
    return report.takeaways


def of(report: Report, rule: Rule) -> Takeaway | None:
    return next((one for one in takeaways(report).found if one.rule == rule), None)


def differences(run: MadeRun, report: Report) -> dict[str, TreeValue]:
    """Dotted path to the new value, of leaves and lists that the next spec has otherwise."""
    following = takeaways(report).next_sweep
    assert following is not None
    parse_spec(following.spec.encode(), name="next.yaml", folder=Path())
    before = parse_yaml(run.loaded.text, name="before").value
    after = parse_yaml(following.spec.encode(), name="after").value
    found: dict[str, TreeValue] = {}

    def compare(old: TreeValue, new: TreeValue, path: str) -> None:
        if isinstance(old, dict) and isinstance(new, dict):
            assert set(old) <= set(new)
            for key in new:
                compare(old.get(key), new[key], f"{path}/{key}")
        elif old != new:
            found[path] = new

    compare(before, after, "")
    return found


def test_a_winner_at_the_edge_of_a_grid_widens_it_and_nothing_else(tmp_path: Path) -> None:
    run = made_run(
        tmp_path, grid("grid:\n    lora.r: [4, 8, 16]\n    training.learning_rate: {values: [2e-4, 5e-4], why: w}")
    )
    report = finish(run, {"F": 0.4})
    assert report.verdict.tied == ("F",)
    found = of(report, "best_at_edge")
    assert found is not None
    assert found.sentences == (
        "F, alone at the top, has lora.r=16, the highest that was tried: 32 is worth a try.",
        "F, alone at the top, has training.learning_rate=5e-4, the highest that was tried: 1e-3 is worth a try.",
    )
    assert differences(run, report) == {
        "/vary/grid/lora.r": [4, 8, 16, 32],
        "/vary/grid/training.learning_rate/values": [2e-4, 5e-4, 1e-3],
    }
    following = takeaways(report).next_sweep
    assert following is not None
    assert (following.trials, following.new_trials, following.to_train) == (4 * 3 * 3 + 2, 18, 18)
    assert takeaways(report).said.endswith("It goes on with the run main and keeps what that has.")


def test_a_tie_with_a_value_beside_the_edge_stops_the_rule(tmp_path: Path) -> None:
    run = made_run(tmp_path, grid("grid:\n    lora.r: [4, 8, 16]"))
    report = finish(run, {"A": 0.2, "B": 0.4, "C": 0.4})
    assert set(report.verdict.tied) == {"B", "C"}
    assert of(report, "best_at_edge") is None


def test_all_of_the_tied_at_one_edge_widen_it(tmp_path: Path) -> None:
    run = made_run(tmp_path, grid("grid:\n    prompt: [v1, v2]\n    lora.r: [4, 8]").replace("  prompt: v1\n", ""))
    report = finish(run, {"A": 0.4, "B": 0.2, "C": 0.4, "D": 0.2})
    found = of(report, "best_at_edge")
    assert found is not None
    assert found.sentences == ("All 2 tied at the top have lora.r=4, the lowest that was tried: 2 is worth a try.",)


def test_a_value_that_diverged_is_not_gone_beyond(tmp_path: Path) -> None:
    run = made_run(tmp_path, grid("grid:\n    training.learning_rate: [2e-4, 5e-4]", seeds="[0, 1]"))
    run.fail(run.trial("B", seed=1))
    run.rows = {"validation": 60, "test": 60}
    rng = np.random.default_rng(0)
    for trial in run.plan.trials:
        if (trial.letter, trial.seed) != ("B", 1):
            at = {"A": 0.2, "B": 0.4}.get(trial.letter, 0.05)
            run.finish(trial, scores={"rougeL": at + rng.normal(0, 0.01, 60)}, losses=FLAT)
    found = of(report_of(run), "best_at_edge")
    assert found is not None
    assert found.sentences[0].endswith("the highest that was tried: it goes no further, as trials with it diverged.")
    assert found.changes == ()
    assert takeaways(report_of(run)).next_sweep is None


def test_paired_values_go_on_together_in_one_more_row(tmp_path: Path) -> None:
    lines = "paired:\n    - {lora.r: [8, 64], training.learning_rate: [5e-4, 1e-4], lora.use_dora: [false, true]}"
    run = made_run(tmp_path, grid(lines))
    report = finish(run, {"B": 0.4})
    assert differences(run, report) == {
        "/vary/paired": [
            {
                "lora.r": [8, 64, 256],
                "training.learning_rate": [5e-4, 1e-4, 3e-5],
                "lora.use_dora": [False, True, True],
            }
        ]
    }


def test_a_listed_trial_is_followed_by_one_further_on(tmp_path: Path) -> None:
    lines = "trials:\n    - {lora.r: 8, training.learning_rate: 2e-4}\n    - {lora.r: 16, training.learning_rate: 5e-4}"
    run = made_run(tmp_path, grid(lines))
    report = finish(run, {"B": 0.4})
    assert differences(run, report) == {
        "/vary/trials": [
            {"lora.r": 8, "training.learning_rate": 2e-4},
            {"lora.r": 16, "training.learning_rate": 5e-4},
            {"lora.r": 32, "training.learning_rate": 5e-4},
            {"lora.r": 16, "training.learning_rate": 1e-3},
        ]
    }


def test_a_drawn_range_grows_where_the_best_draw_is_near_its_end(tmp_path: Path) -> None:
    ranges = "{training.learning_rate: {low: 1e-5, high: 1e-3, log: true}, lora.lora_dropout: {low: 0, high: 0.5}}"
    text = grid(f"random: {{n: 8, ranges: {ranges}}}").replace("lora_dropout: 0.1, ", "")
    run = made_run(tmp_path, text)
    rates = {t.letter: t.config.training.learning_rate for t in run.plan.trials if t.config.training is not None}
    highest = max(rates, key=lambda letter: rates[letter])
    report = finish(run, {highest: 0.4})
    found = of(report, "best_at_edge")
    if rates[highest] < 10**-3.2:
        assert found is None
        return
    assert found is not None
    assert differences(run, report)["/vary/random/ranges/training.learning_rate/high"] == 0.003


def test_a_tie_adds_the_seeds_that_would_show_the_difference(tmp_path: Path) -> None:
    run = made_run(tmp_path, grid("grid:\n    lora.use_dora: [false, true]"))
    run.rows = {"validation": 400, "test": 400}
    rng = np.random.default_rng(5)
    for trial in run.plan.trials:
        seed = (0.0 if trial.seed is None else (-0.01, 0.0, 0.01)[trial.seed]) * (1 if trial.letter == "A" else -1)
        at = {"A": 0.3, "B": 0.313}.get(trial.letter, 0.05) + seed
        run.finish(trial, scores={"rougeL": np.clip(at + rng.normal(0, 0.003, 400), 0, 1)}, losses=FLAT)
    report = report_of(run)
    more = report.verdict.would_show
    assert more is not None
    assert more.seeds
    assert differences(run, report) == {"/vary/seeds": list(range(3 + more.seeds))}
    found = of(report, "tied")
    assert found is not None
    assert f"about {more.seeds} more seeds each would show: seeds are added" in found.sentences[0]


def test_with_one_seed_a_tie_asks_for_seeds_first(tmp_path: Path) -> None:
    run = made_run(tmp_path, grid("grid:\n    lora.use_dora: [false, true]", seeds="[7]"))
    report = finish(run, {"A": 0.3, "B": 0.3002})
    assert differences(run, report) == {"/vary/seeds": [7, 0, 1]}


def test_a_tie_adds_rows_where_a_limit_keeps_them_away(tmp_path: Path) -> None:
    text = grid("grid:\n    lora.use_dora: [false, true]").replace(
        "data: {source: rows, ", "data: {source: rows, limits: {validation: 60}, "
    )
    run = made_run(tmp_path, text)
    report = finish(run, {"A": 0.3, "B": 0.306}, noise=0.03)
    more = report.verdict.would_show
    assert more is not None
    assert more.rows
    found = differences(run, report)
    if "/vary/seeds" not in found:
        assert set(found) == {"/data/limits/validation"}
        assert isinstance(found["/data/limits/validation"], int)
        assert found["/data/limits/validation"] >= 60 + more.rows


def test_equal_means_ask_for_nothing(tmp_path: Path) -> None:
    run = made_run(tmp_path, grid("grid:\n    lora.use_dora: [false, true]"))
    run.rows = {"validation": 40, "test": 40}
    same = np.linspace(0.1, 0.4, 40)
    for trial in run.plan.trials:
        run.finish(trial, scores={"rougeL": same if trial.kind == "lora" else same / 4}, losses=FLAT)
    found = of(report_of(run), "tied")
    assert found is not None
    assert found.sentences[0].endswith("with equal means, which no number of rows or seeds would tell apart.")
    assert takeaways(report_of(run)).next_sweep is None


def test_a_loss_that_still_falls_asks_for_twice_the_steps_and_a_limit_that_fits(tmp_path: Path) -> None:
    run = made_run(tmp_path, grid("grid:\n    lora.use_dora: [false, true]", more="execution: {trial_timeout_s: 60}\n"))
    run.rows = {"validation": 40, "test": 40}
    rng = np.random.default_rng(1)
    for trial in run.plan.trials:
        at = {"A": 0.2, "B": 0.4}.get(trial.letter, 0.1)
        scores = {"rougeL": np.clip(at + rng.normal(0, 0.02, 40), 0, 1)}
        scores |= {
            "completion_nll": np.full(40, 20.0 if trial.kind == "lora" else 30.0),
            "target_tokens": np.full(40, 10.0),
        }
        run.finish(trial, scores=scores)
    report = report_of(run)
    found = of(report, "loss_still_falling")
    assert found is not None
    assert found.sentences[0].startswith("The completion loss on validation of B still fell at the end: from ")
    assert differences(run, report) == {"/trial/training/max_steps": 24, "/execution/trial_timeout_s": 120}
    assert "so that no adapter of this run is used again" in takeaways(report).said


def test_not_above_zero_shot_says_to_look_at_data_and_prompt_and_changes_nothing(tmp_path: Path) -> None:
    run = made_run(tmp_path, grid("grid:\n    lora.use_dora: [false, true]"))
    report = finish(run, {"A": 0.2, "B": 0.3}, zero_shot=0.3)
    found = takeaways(report).found[0]
    assert found.rule == "not_above_zero_shot"
    assert found.sentences[0].startswith("B is not shown better (by ")
    assert "look at the data and the prompt before a larger sweep" in found.sentences[0]
    assert "lead-3 either, so copying the input would score as well" in found.sentences[1]
    assert found.changes == ()


def test_where_no_rule_applies_that_is_said(tmp_path: Path) -> None:
    run = made_run(tmp_path, grid("grid:\n    lora.use_dora: [false, true]"))
    report = finish(run, {"A": 0.2, "B": 0.4})
    assert takeaways(report).found == ()
    assert takeaways(report).said.startswith("None of the four rules applies: B is shown better than zero-shot, ")
    assert "None of the four rules applies" in stored(run, "report.md")


def test_an_unfinished_run_has_no_takeaways_yet(tmp_path: Path) -> None:
    run = made_run(tmp_path)
    run.finish(run.trial("A"))
    found = takeaways(report_of(run))
    assert (found.found, found.next_sweep) == ((), None)
    assert "not finished" in found.said


def test_rotating_seeds_stay_rotating(tmp_path: Path) -> None:
    text = grid("grid:\n    lora.use_dora: [false, true]", seeds="[0]").replace("seeds: [0]", "rotating_seeds: 1")
    run = made_run(tmp_path, text)
    report = finish(run, {"A": 0.3, "B": 0.3002})
    assert differences(run, report) == {"/vary/rotating_seeds": 3}


@pytest.mark.parametrize(
    ("given", "published"),
    [
        ("model: {id: /secret/models/smol}", "model: {id: smol}"),
        ("model: {id: s3://bucket/prefix/smol/}", "model: {id: smol}"),
        ("model: {id: ~/smol}", "model: {id: smol}"),
        ("model: {id: ../models/smol}", "model: {id: ../models/smol}"),
        ("model: {id: openai-community/gpt2}", "model: {id: openai-community/gpt2}"),
    ],
)
def test_a_place_is_named_by_its_last_part_alone(tmp_path: Path, given: str, published: str) -> None:
    run = made_run(tmp_path, grid("grid:\n    lora.r: [4, 8, 16]").replace("model: {id: model}", given))
    report = finish(run, {"C": 0.4})
    following = takeaways(report).next_sweep
    assert following is not None
    assert published in following.spec
    assert following.places == (() if given == published else ("model.id",))
    for name in ("report.html", "report.md", "report.json"):
        assert "secret" not in stored(run, name)
        assert "bucket" not in stored(run, name)
