"""What the report says, from made runs of every shape."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
from made import GRID, MadeRun, made_run
from numpy.typing import NDArray

from controller.report.document import Configuration, Report
from controller.report.write import write_report
from job.contract.documents import DATA_LIMIT_BYTES, Plan, parse
from job.store import Keys

SKILL = {"A": 0.23, "B": 0.22, "C": 0.25, "D": 0.24, "E": 0.26, "F": 0.21, "G": 0.28, "H": 0.2, "I": 0.12, "J": 0.11}
FILES = ("report.json", "report.csv", "report.md", "report.html")


@pytest.fixture
def run(tmp_path: Path) -> MadeRun:
    """8 trained configurations A to H, zero-shot I and J, lead-3 K; nothing finished."""
    return made_run(tmp_path)


def finish_all(run: MadeRun) -> None:
    for trial in run.plan.trials:
        run.finish(trial, score=SKILL.get(trial.letter, 0.2))


def report_of(run: MadeRun) -> Report:
    return write_report(run.store, plan=run.plan, spec_text=run.loaded.text)


def stored(run: MadeRun, name: str) -> str:
    return run.store.read(Keys.report(name), limit_bytes=DATA_LIMIT_BYTES).decode()


def row(report: Report, letter: str) -> Configuration:
    return next(found for found in report.configurations if found.letter == letter)


def flat(value: float, *, rows: int = 32) -> dict[str, NDArray[np.float64]]:
    return {"rougeL": np.full(rows, value), "generated_tokens": np.full(rows, 9.0)}


def one_split(text: str = GRID) -> str:
    return text.replace("generation: {", "evaluation: {final_splits: [validation]}\n  generation: {")


def test_the_document_parses_back_from_the_store(run: MadeRun) -> None:
    finish_all(run)
    report = report_of(run)
    assert parse(Report, stored(run, "report.json").encode(), name="report.json") == report
    assert (report.verdict, report.effects, report.regression) == (None, None, None)


def test_the_same_store_gives_the_same_bytes(run: MadeRun) -> None:
    finish_all(run)
    run.store.delete(Keys.report("verified.json"))
    report_of(run)
    first = {name: stored(run, name) for name in FILES}
    report_of(run)
    assert {name: stored(run, name) for name in FILES} == first


def test_a_store_that_was_moved_gives_the_same_bytes(tmp_path: Path) -> None:
    runs = [made_run(tmp_path / place) for place in ("here", "there")]
    for run in runs:
        finish_all(run)
        report_of(run)
    assert [stored(runs[0], name) for name in FILES] == [stored(runs[1], name) for name in FILES]


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


def test_one_seed_is_about_adapters_and_too_small_to_name_a_winner(run: MadeRun) -> None:
    finish_all(run)
    report = report_of(run)
    assert report.small
    assert report.reach[0] == "32 rows, 1 seed: too few to name a winner."
    assert "these adapters, not these configurations" in report.reach[-1]


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


@pytest.mark.parametrize(
    ("finished", "expected"),
    [
        ("", "No trained configuration has a result yet, so nothing is ranked."),
        ("IJK", "No trained configuration has a result yet, so nothing is ranked."),
        ("A", "A ranks first by mean ROUGE-L on validation"),
    ],
)
def test_a_run_that_has_just_begun_is_reported_as_partial(run: MadeRun, finished: str, expected: str) -> None:
    for letter in finished:
        run.finish(run.trial(letter))
    report = report_of(run)
    assert report.state == "partial"
    assert len(report.pending) == 11 - len(finished)
    assert report.findings[0].startswith(expected)
    assert all(stored(run, name) for name in FILES)


def test_one_configuration_has_no_other_to_be_ranked_against(run: MadeRun) -> None:
    run.finish(run.trial("A"))
    report = report_of(run)
    assert not report.small
    assert report.reach[0] == "32 rows, 1 seed, one trained configuration: there is no other to rank it against."


def test_a_run_whose_every_trial_failed_is_complete_and_says_how_to_retry(run: MadeRun) -> None:
    for trial in run.plan.trials:
        run.fail(trial)
    report = report_of(run)
    assert report.state == "complete"
    assert report.findings == ("Every trained configuration failed, so nothing is ranked.",)
    assert [failed.retry for failed in report.failures] == [
        f"lorasweep retry runs/made/main {trial.trial_id}" for trial in run.plan.trials
    ]


def test_a_store_with_blanks_in_its_name_is_quoted_in_commands(tmp_path: Path) -> None:
    run = made_run(tmp_path, GRID + "store: {root: my runs}\n")
    run.fail(run.trial("A"))
    assert report_of(run).failures[0].retry.startswith("lorasweep retry 'my runs/made/main' ")


def test_configurations_with_equal_means_share_a_rank(run: MadeRun) -> None:
    run.rows = {"validation": 32, "test": 32}
    for trial in run.plan.trials:
        run.finish(trial, scores=flat(0.3 if trial.letter in "BDF" else 0.2))
    report = report_of(run)
    assert [(found.letter, found.rank) for found in report.configurations[:5]] == [
        ("B", 1), ("D", 1), ("F", 1), ("A", 4), ("C", 4),
    ]  # fmt: skip
    assert report.findings[0] == "B, D, F share the first rank by mean ROUGE-L on validation: 0.300."


def test_all_equal_is_said(run: MadeRun) -> None:
    run.rows = {"validation": 32, "test": 32}
    for trial in run.plan.trials:
        run.finish(trial, scores=flat(0.25))
    report = report_of(run)
    assert report.findings[0] == "All 8 trained configurations have the same mean ROUGE-L on validation: 0.250."
    assert {found.rank for found in report.configurations if found.kind == "lora"} == {1}
    assert report.small


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
    assert report.findings[0].startswith("No trained configuration has ROUGE-L on validation")


def test_a_plan_without_trials_renders(run: MadeRun) -> None:
    empty = Plan.model_validate({**run.plan.model_dump(), "trials": (), "groups": ()})
    report = write_report(run.store, plan=empty, spec_text=run.loaded.text)
    assert report.findings == ("The plan has no trial, so there is nothing to report.",)
    assert all(stored(run, name) for name in FILES)


def test_a_single_row_has_a_mean_and_no_interval(run: MadeRun) -> None:
    run.rows = {"validation": 1, "test": 1}
    finish_all(run)
    report = report_of(run)
    metric = row(report, "A").metrics["validation"]["rougeL"]
    assert (metric.rows, metric.low, metric.high) == (1, None, None)
    assert "One row says nothing about the spread between rows, so there are no intervals." in report.reach


def test_mixed_devices_engines_and_versions_are_said_beside_the_ranking(run: MadeRun) -> None:
    run.finish(run.trial("A"))
    run.finish(run.trial("B"), device="NVIDIA H100", engine="lanes", versions={"torch": "2.16.0"})
    warnings = report_of(run).warnings
    assert any("mixes engines (lanes, reference)" in sentence for sentence in warnings)
    assert any("mixes devices (NVIDIA H100, cpu)" in sentence for sentence in warnings)
    assert any("mixes library versions (torch 2.15.0 and 2.16.0)" in sentence for sentence in warnings)


def test_a_lead_that_ran_elsewhere_mixes_nothing(run: MadeRun) -> None:
    run.finish(run.trial("A"), device="NVIDIA H100")
    run.finish(run.trial("K"), device="cpu")
    assert report_of(run).warnings == ()


def test_trials_that_left_the_grid_are_named_with_both_specs(tmp_path: Path) -> None:
    earlier = made_run(tmp_path)
    finish_all(earlier)
    later = made_run(tmp_path, GRID.replace("lora.r: [8, 16]", "lora.r: [8]"), earlier=[earlier.plan])
    report = report_of(later)
    assert [found.letter for found in report.configurations] != []
    warning = next(sentence for sentence in report.warnings if "left the grid" in sentence)
    assert warning.startswith("4 finished trials of the earlier spec")
    assert earlier.plan.spec_sha256[:12] in warning
    assert later.plan.spec_sha256[:12] in warning
    assert report.state == "complete"


def test_rows_that_differ_between_trials_are_said(run: MadeRun) -> None:
    run.finish(run.trial("A"))
    run.finish(run.trial("C"))
    run.rows = {"validation": 20, "test": 48}
    run.finish(run.trial("B"))
    warnings = report_of(run).warnings
    assert any(sentence.startswith("B: scored on other validation rows") for sentence in warnings)


def test_prompts_that_complete_differently_are_not_compared_by_loss(tmp_path: Path) -> None:
    run = made_run(tmp_path, GRID.replace('" {summary}"}\ntrial', '"{summary}"}\ntrial'))
    finish_all(run)
    assert any("complete differently" in sentence for sentence in report_of(run).warnings)


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


def test_examples_are_the_same_rows_whatever_the_scores(tmp_path: Path) -> None:
    chosen = []
    for place, best in (("one", "A"), ("two", "H")):
        run = made_run(tmp_path / place)
        for trial in run.plan.trials:
            run.finish(trial, score=0.5 if trial.letter == best else 0.2)
        report = report_of(run)
        assert [output.letter for output in report.examples[0].outputs] == [best, "I" if best == "A" else "J"]
        chosen.append([example.example_id for example in report.examples])
    assert chosen[0] == chosen[1]
    assert len(set(chosen[0])) == 5


def test_long_texts_are_cut_and_say_so(run: MadeRun) -> None:
    run.texts = [("long " * 2000, "short")] * 80
    run.finish(run.trial("A"), prediction="word " * 1000)
    example = report_of(run).examples[0]
    assert len(example.input) < 1700
    assert example.input.endswith("more characters]")
    assert example.outputs[0].text.endswith("[4,200 more characters]")


def test_damaged_texts_cost_the_examples_and_a_sentence_and_nothing_else(run: MadeRun) -> None:
    finish_all(run)
    run.store.put(Keys.examples(next(iter(run.store.list("examples/"))).key.split("/")[1][:-6]), b"{nonsense\n")
    report = report_of(run)
    assert report.examples == ()
    assert any(sentence.startswith("No examples are shown") for sentence in report.warnings)
    assert report.configurations[0].rank == 1


def test_curves_are_means_over_seeds_and_thinned(tmp_path: Path) -> None:
    text = GRID.replace("max_steps: 12", "max_steps: 250").replace("seeds: [0]", "seeds: [0, 1]")
    run = made_run(tmp_path, text)
    for seed in (0, 1):
        run.finish(run.trial("A", seed=seed))
    curves = {(curve.split, curve.metric): curve for curve in row(report_of(run), "A").curves}
    training = curves["train", "loss"]
    assert training.seeds == 2
    assert len(training.points) <= 100
    assert training.points[-1].step == 250
    assert [point.step for point in curves["validation", "rougeL"].points][:2] == [6, 12]
    assert ("validation", "completion_loss") in curves


def test_the_table_for_spreadsheets_has_a_line_for_each_configuration(run: MadeRun) -> None:
    finish_all(run)
    report = report_of(run)
    lines = list(csv.DictReader(io.StringIO(stored(run, "report.csv"))))
    assert [line["letter"] for line in lines] == [found.letter for found in report.configurations]
    first, metric = lines[0], report.configurations[0].metrics["validation"]["rougeL"]
    assert float(first["validation.rougeL"]) == metric.mean
    assert float(first["validation.rougeL.low"]) == metric.low
    assert first["rank"] == "1"
    assert {path: first[path] for path in report.configurations[0].values} == report.configurations[0].values
    assert next(line for line in lines if line["letter"] == "K")["validation.completion_loss"] == ""


def test_a_formula_in_a_cell_is_text_to_a_spreadsheet(tmp_path: Path) -> None:
    run = made_run(tmp_path, GRID.replace("target_modules: all-linear, ", "").replace(
        "lora.r: [8, 16]", "lora.r: [8]\n    lora.target_modules: ['=1+1', '@x']"
    ))  # fmt: skip
    report_of(run)
    lines = list(csv.DictReader(io.StringIO(stored(run, "report.csv"))))
    assert {line["lora.target_modules"] for line in lines} == {"'=1+1", "'@x", ""}


def test_no_place_of_this_machine_and_no_clock_is_in_the_report(run: MadeRun, tmp_path: Path) -> None:
    finish_all(run)
    report_of(run)
    for name in FILES:
        text = stored(run, name)
        assert str(tmp_path) not in text
        assert "/models/" not in text
    assert json.loads(stored(run, "report.json"))["data_until"] == "2026-03-01T12:07:20Z"
