"""The report as a whole: made from its store alone, the same bytes each time, at every stage of a run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from made import GRID, MadeRun, made_run
from made_report import FILES, finish_all, report_of, row, stored

from controller.report.document import Report
from controller.report.write import write_report
from job.contract.documents import DATA_LIMIT_BYTES, Plan, parse
from job.store import Keys, open_store


@pytest.fixture
def run(tmp_path: Path) -> MadeRun:
    """8 trained configurations A to H, zero-shot I and J, lead-3 K; nothing finished."""
    return made_run(tmp_path)


def test_the_document_parses_back_from_the_store(run: MadeRun) -> None:
    finish_all(run)
    report = report_of(run)
    assert parse(Report, stored(run, "report.json").encode(), name="report.json") == report
    assert report.regression is None


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


def test_a_copy_of_the_store_alone_gives_the_same_bytes_with_any_two_compared_and_any_size(tmp_path: Path) -> None:
    run = made_run(tmp_path / "here")
    finish_all(run)
    copied = tmp_path / "there" / "runs" / "made" / "main"
    shutil.copytree(tmp_path / "here" / "runs" / "made" / "main", copied)
    stores = (run.store, open_store(str(copied)))
    for store in stores:
        write_report(store, plan=run.plan, spec_text=run.loaded.text, compared=("C", "K"), markdown_bytes=20_000)
    first, second = (
        {name: store.read(Keys.report(name), limit_bytes=DATA_LIMIT_BYTES) for name in FILES} for store in stores
    )
    assert first == second


@pytest.mark.parametrize(
    ("finished", "expected"),
    [
        ("", "No trained configuration has a result yet, so nothing is ranked."),
        ("IJK", "No trained configuration has a result yet, so nothing is ranked."),
        ("A", "A has a mean ROUGE-L on validation of"),
    ],
)
def test_a_run_that_has_just_begun_is_reported_as_partial(run: MadeRun, finished: str, expected: str) -> None:
    for letter in finished:
        run.finish(run.trial(letter))
    report = report_of(run)
    assert report.state == "partial"
    assert len(report.pending) == 11 - len(finished)
    assert report.verdict.sentences[0].startswith(expected)
    assert all(stored(run, name) for name in FILES)


def test_a_run_whose_every_trial_failed_is_complete_and_says_how_to_retry(run: MadeRun) -> None:
    for trial in run.plan.trials:
        run.fail(trial, reason="timeout")
    report = report_of(run)
    assert report.state == "complete"
    assert report.verdict.sentences == ("Every trained configuration failed, so nothing is ranked.",)
    assert [failed.retry for failed in report.failures] == [
        f"lorasweep retry runs/made/main {trial.trial_id}" for trial in run.plan.trials
    ]


def test_a_failure_that_would_only_come_again_has_a_way_on_and_no_retry(run: MadeRun) -> None:
    run.fail(run.trial("A"), reason="data")
    (failed,) = report_of(run).failures
    assert failed.retry is None
    assert "run it with --repin" in failed.way_on
    for name in ("report.md", "report.html"):
        assert "lorasweep retry" not in stored(run, name)


def test_a_store_with_blanks_in_its_name_is_quoted_in_commands(tmp_path: Path) -> None:
    run = made_run(tmp_path, GRID + "store: {root: my runs}\n")
    run.fail(run.trial("A"), reason="timeout")
    assert str(report_of(run).failures[0].retry).startswith("lorasweep retry 'my runs/made/main' ")


def test_a_plan_without_trials_renders(run: MadeRun) -> None:
    empty = Plan.model_validate({**run.plan.model_dump(), "trials": (), "groups": ()})
    report = write_report(run.store, plan=empty, spec_text=run.loaded.text)
    assert report.verdict.sentences == ("The plan has no trial, so there is nothing to report.",)
    assert all(stored(run, name) for name in FILES)


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


def test_no_place_of_this_machine_and_no_clock_is_in_the_report(run: MadeRun, tmp_path: Path) -> None:
    finish_all(run)
    report_of(run)
    for name in FILES:
        text = stored(run, name)
        assert str(tmp_path) not in text
        assert "/models/" not in text
    assert json.loads(stored(run, "report.json"))["data_until"] == "2026-03-01T12:07:20Z"


def test_no_folder_of_this_machine_is_in_a_report_whose_store_was_named_on_the_command_line(tmp_path: Path) -> None:
    run = made_run(tmp_path / "one" / "two", GRID + "store: {root: ..}\n")
    run.finish(run.trial("A"))
    run.fail(run.trial("B"), reason="timeout")
    report = report_of(run)
    assert report.failures[0].retry == f"lorasweep retry STORE/made/main {run.trial('B').trial_id}"
    for name in FILES:
        assert str(tmp_path) not in stored(run, name)
    for name in ("report.md", "report.html"):
        assert "STORE stands for the folder" in stored(run, name)


def test_markdown_tables_of_a_curve_start_where_the_plots_do(run: MadeRun) -> None:
    for trial in run.plan.trials:
        run.finish(trial, score=0.15 if trial.kind == "zero-shot" else 0.3)
    report_of(run)
    _, _, after = stored(run, "report.md").partition("## ROUGE-L on validation by step")
    steps = [line.split(" | ")[0] for line in after.split("## ")[0].splitlines() if line.startswith("| ")]
    assert steps[2:] == ["| 0", "| 6", "| 12"]
    assert "Step 0 is the zero-shot baseline of the prompt." in after.split("## ")[0]
