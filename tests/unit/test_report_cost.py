"""What the results took, in device-seconds and in money."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from made import GRID, MadeRun, made_run
from made_report import report_of, row, stored

from controller.report.numbers import money
from controller.report.terminal import ranked_table
from controller.report.words import train_words
from job.store import Keys


@pytest.fixture
def run(tmp_path: Path) -> MadeRun:
    """8 trained configurations A to H, zero-shot I and J, lead-3 K; nothing finished."""
    return made_run(tmp_path)


PRICED = GRID + "execution: {price_per_gpu_hour: 36}\n"
"""A cent a second."""


def test_without_a_price_there_is_the_total_of_device_seconds_and_no_cost(run: MadeRun) -> None:
    run.finish(run.trial("A"))
    report = report_of(run)
    assert report.spent.device_s == pytest.approx(2.3 * 12 + 17.5 + 5.1)
    assert (report.spent.cost, row(report, "A").cost) == (None, None)
    for name in ("report.md", "report.html"):
        assert "All results together took 50 device-seconds (0.01 hours); attempts of trials" in stored(run, name)
        assert ">Cost<" not in stored(run, name)
        assert "| Cost |" not in stored(run, name)
    assert "All results together took 50 device-seconds" in ranked_table(report, 200)
    assert next(csv.DictReader(io.StringIO(stored(run, "report.csv"))))["cost"] == ""


def test_a_price_gives_a_cost_of_each_configuration_and_of_all_on_any_device(tmp_path: Path) -> None:
    run = made_run(tmp_path, PRICED)
    run.finish(run.trial("A"), device="cpu")
    run.finish(run.trial("K"), device="cpu")
    run.fail(run.trial("B"))
    report = report_of(run)
    assert row(report, "A").cost == pytest.approx(0.01 * (2.3 * 12 + 17.5 + 5.1))
    assert report.spent.cost == pytest.approx(0.01 * report.spent.device_s)
    assert report.spent.cost == pytest.approx(sum(found.cost or 0 for found in report.configurations))
    markdown, page, terminal = stored(run, "report.md"), stored(run, "report.html"), ranked_table(report, 200)
    assert "| Train s | Evaluate s | Cost |" in markdown
    assert "| 28 | 18 | 0.502 |" in markdown
    assert 'class="num">Cost</th>' in page
    assert '<td class="num">0.502</td>' in page
    assert "cost" in terminal.splitlines()[2]
    for text in (markdown, page, terminal):
        assert "and cost 0.554 at 36.00 per device-hour; attempts of trials without a result are not counted." in text
    lines = {line["letter"]: line for line in csv.DictReader(io.StringIO(stored(run, "report.csv")))}
    assert float(lines["A"]["cost"]) == pytest.approx(0.502)


def test_the_total_is_of_all_configurations_where_a_page_shows_some(tmp_path: Path) -> None:
    rates = ", ".join(f"{place}e-5" for place in range(1, 31))
    run = made_run(tmp_path, PRICED.replace("[5e-4, 2e-4]", f"[{rates}]"))
    for trial in run.plan.trials:
        run.finish(trial)
    report = report_of(run)
    assert len(report.configurations) == 123
    assert f"All results together took {report.spent.device_s:,.0f} device-seconds" in stored(run, "report.md")


@pytest.mark.parametrize(
    ("value", "expected"), [(0, "0.00"), (1234.567, "1,234.57"), (0.999, "1.00"), (0.00128, "0.00128")]
)
def test_amounts_are_written_with_digits_that_say_something(value: float, expected: str) -> None:
    assert money(value) == expected


def test_a_reused_adapter_is_named_in_place_of_a_training_that_looks_free(run: MadeRun) -> None:
    owner = run.finish(run.trial("A"))
    run.finish(run.trial("B"), reused_from=Keys.attempt(owner.trial_id, owner.attempt))
    report = report_of(run)
    assert row(report, "B").trials[0].adapter_of == "A"
    assert row(report, "B").train_s == 0
    assert "| adapter of A | 18 |" in stored(run, "report.md")
    assert '<td class="num">adapter of A</td>' in stored(run, "report.html")
    assert "adapter of A" in ranked_table(report, 200)
    lines = {line["letter"]: line for line in csv.DictReader(io.StringIO(stored(run, "report.csv")))}
    assert (lines["A"]["adapter_of"], lines["B"]["adapter_of"]) == ("", "A")


def test_an_adapter_of_a_trial_outside_of_the_plan_is_named_by_its_id(run: MadeRun) -> None:
    run.finish(run.trial("B"), reused_from=Keys.attempt("0123456789ab", "old-1"))
    assert row(report_of(run), "B").trials[0].adapter_of == "0123456789ab"


def test_seeds_that_were_trained_keep_their_seconds_beside_one_that_was_not(tmp_path: Path) -> None:
    run = made_run(tmp_path, GRID.replace("seeds: [0]", "seeds: [0, 1]"))
    owner = run.finish(run.trial("A", seed=0))
    run.finish(run.trial("A", seed=1))
    run.finish(run.trial("B", seed=0), reused_from=Keys.attempt(owner.trial_id, owner.attempt))
    run.finish(run.trial("B", seed=1))
    assert [train_words(row(report_of(run), letter)) for letter in "AB"] == ["55", "28, adapter of A"]
