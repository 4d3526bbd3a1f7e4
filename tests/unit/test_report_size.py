"""The page stays below 2 MB, and the table below what spreadsheets hold, whatever a run holds."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from made import GRID, made_run
from made_report import finish_all, report_of

from controller.report.document import Report
from controller.report.html import PAGE_BYTES, html_report
from controller.report.markdown import MAX_BYTES, markdown_report
from controller.report.table import CELL, csv_report

CONFIGURATIONS = 1000
ESCAPED = "'\"<>&\U0001f600"


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    """One of eleven configurations, with failures, curves, effects and examples."""
    run = made_run(tmp_path_factory.mktemp("run"), GRID)
    run.texts = [(ESCAPED * 1000, ESCAPED * 1000)] * 80
    for trial in run.plan.trials:
        if trial.letter == "D":
            run.fail(trial, message="first line", log_tail="last line")
        else:
            run.finish(trial, prediction=ESCAPED * 1000)
    return report_of(run)


def grown(report: Report, *, text: str) -> Report:
    """As many configurations as a large sweep has, each failed once, with labels, messages and logs of this text."""
    (failed,) = report.failures
    trained = next(found for found in report.configurations if found.kind == "lora" and found.rank is not None)
    configurations = [
        trained.model_copy(
            update={
                "letter": f"L{place}",
                "label": (text * 300)[:300],
                "values": dict.fromkeys(trained.values, (text * 300)[:300]),
            }
        )
        for place in range(CONFIGURATIONS)
    ]
    failures = [
        failed.model_copy(
            update={"letter": f"L{place}", "message": (text * 2000)[:2000], "log_tail": (text * 4000)[:4000]}
        )
        for place in range(CONFIGURATIONS)
    ]
    return report.model_copy(update={"configurations": tuple(configurations), "failures": tuple(failures)})


@pytest.mark.parametrize(("text", "shown"), [("word ", 50), (ESCAPED, 20)])
def test_a_page_of_a_thousand_configurations_is_below_two_megabytes(report: Report, text: str, shown: int) -> None:
    page = html_report(grown(report, text=text))
    assert len(page.encode()) <= PAGE_BYTES
    assert f"{CONFIGURATIONS - shown:,} more configurations are in report.csv" in page
    assert page.count('<article class="failure">') == shown
    assert ("End of its log" in page) == (shown == 50)
    assert "lorasweep logs" in page


def test_a_comment_of_a_thousand_configurations_fits(report: Report) -> None:
    for text in ("word ", ESCAPED):
        assert len(markdown_report(grown(report, text=text)).encode()) <= MAX_BYTES


def test_the_table_has_every_configuration_and_no_cell_that_a_spreadsheet_would_cut(report: Report) -> None:
    large = grown(report, text="word ")
    seeds = large.configurations[0].trials * 5000
    first = large.configurations[0].model_copy(update={"trials": seeds})
    written = csv_report(large.model_copy(update={"configurations": (first, *large.configurations[1:])}))
    lines = list(csv.reader(io.StringIO(written)))
    assert len(lines) == 1 + CONFIGURATIONS
    assert max(len(cell) for line in lines for cell in line) <= CELL
    assert lines[1][lines[0].index("trial_ids")].endswith("more characters]")


def test_a_report_of_usual_size_is_shown_whole(tmp_path: Path) -> None:
    run = made_run(tmp_path)
    finish_all(run)
    page = html_report(report_of(run))
    assert "more configurations" not in page
    assert len(page.encode()) < 400_000
