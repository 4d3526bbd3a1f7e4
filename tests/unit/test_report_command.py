"""`lorasweep report RUN` as a person calls it."""

from __future__ import annotations

from pathlib import Path

import pytest
from made import MadeRun, made_run

from controller.__main__ import main
from controller.report.document import Report
from job.contract.documents import parse
from job.store import Keys


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MadeRun:
    """A finished run under `runs` of the current directory, where the spec has its store."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")
    made = made_run(tmp_path)
    for trial in made.plan.trials:
        made.finish(trial)
    return made


def test_it_prints_the_ranking_and_where_the_page_is(run: MadeRun, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", "runs/made/main"]) == 0
    out = capsys.readouterr().out
    assert "made / main: 11 of 11 trials have a result" in out
    assert "ROUGE-L" in out
    assert "These adapters, not these configurations: " in out
    page = Path(out.strip().rsplit("report: ", 1)[1])
    assert page.read_text().startswith("<!doctype html>")


def test_as_json_it_prints_the_document_and_nothing_else(run: MadeRun, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", "runs/made/main", "--output", "json"]) == 0
    out = capsys.readouterr().out
    assert parse(Report, out.encode(), name="stdout").sweep == "made"


def test_a_run_with_a_failed_trial_ends_with_1_and_the_report_is_there(
    run: MadeRun, capsys: pytest.CaptureFixture[str]
) -> None:
    trial = run.trial("A")
    run.store.delete(Keys.result(trial.trial_id))
    run.fail(trial)
    assert main(["report", "runs/made/main"]) == 1
    assert "1 failed" in capsys.readouterr().out
    assert run.store.stat(Keys.report("report.html")) is not None


def test_the_comment_is_cut_to_the_bytes_that_are_asked_for(run: MadeRun, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", "runs/made/main", "--max-bytes", "8000"]) == 0
    cut = Path("runs/made/main/report/report.md").read_text()
    assert len(cut.encode()) <= 8000
    assert main(["report", "runs/made/main", "--max-bytes", "80"]) == 2
    assert "give --max-bytes" in capsys.readouterr().err
    assert Path("runs/made/main/report/report.md").read_text() == cut


def test_two_that_are_named_are_compared(run: MadeRun, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", "runs/made/main", "--compare", "D", "K"]) == 0
    assert "D beside K" in Path("runs/made/main/report/report.md").read_text()
    assert main(["report", "runs/made/main", "--compare", "D", "Q"]) == 2
    assert "--compare: 'Q' is no configuration of this run" in capsys.readouterr().err


def test_a_run_whose_results_lack_the_objective_ends_with_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = made_run(tmp_path)
    for trial in made.plan.trials:
        made.finish(trial, without=["rougeL"])
    assert main(["report", made.store.uri]) == 1
    assert "nothing is ranked" in capsys.readouterr().out


def test_a_run_that_goes_on_is_no_failure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = made_run(tmp_path)
    assert main(["report", made.store.uri]) == 0
    assert "0 of 11 trials have a result, not finished" in capsys.readouterr().out


def test_a_place_without_a_run_is_a_mistake_and_nothing_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", str(tmp_path / "made" / "main")]) == 2
    assert "no run there" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
