"""Plots: every point on the paper, ticks at round numbers, letters apart, and words for those who do not see them."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made import GRID, MadeRun, made_run

from controller.report.brief import brief
from controller.report.document import Curve, CurvePoint, Report
from controller.report.html import html_report
from controller.report.markdown import markdown_report
from controller.report.svg import Chart, charts_of, key_of, whiskers_of
from controller.report.write import make_report

VALUES = st.floats(-1e6, 1e6, allow_nan=False).map(lambda value: round(value, 4))


@pytest.fixture
def run(tmp_path: Path) -> MadeRun:
    return made_run(tmp_path, GRID.replace("training.learning_rate: [5e-4, 2e-4]", "training.learning_rate: [5e-4]"))


def charts(run: MadeRun) -> tuple[Chart, ...]:
    return charts_of(make_report(run.store, plan=run.plan, spec_text=run.loaded.text))


def named(found: tuple[Chart, ...], name: str) -> Chart:
    return next(chart for chart in found if chart.name == name)


def test_a_curve_on_validation_starts_at_the_zero_shot_baseline_of_its_prompt(run: MadeRun) -> None:
    for trial in run.plan.trials:
        run.finish(trial, score=0.15 if trial.kind != "lora" else 0.3)
    chart = named(charts(run), "validation-rougeL")
    lines = {line.letter: line for line in chart.lines}
    for letter, baseline in (("A", "E"), ("B", "E"), ("C", "F"), ("D", "F")):
        assert lines[letter].dots[0].y == lines[baseline].end.y
        assert lines[letter].dots[0].x == chart.left
    assert [line.letter for line in key_of((chart,))][-3:] == ["E", "F", "G"]
    assert "Baselines and floors: E" in chart.description


def test_the_floor_of_the_spec_and_lead_are_drawn_as_what_has_to_be_surpassed(tmp_path: Path) -> None:
    run = made_run(tmp_path, GRID + "regression: {floors: {rougeL: 0.21}}\n")
    for trial in run.plan.trials:
        run.finish(trial)
    chart = named(charts(run), "validation-rougeL")
    floors = {line.letter: line for line in chart.lines if line.floor}
    assert set(floors) == {"K", "floor"}
    assert len({dot.split(",")[1] for dot in floors["floor"].path.split()}) == 1
    assert "floor 0.210" in chart.description
    assert all(row[-1] == "0.210" for row in chart.rows)
    assert not any(line.floor for line in named(charts(run), "validation-completion_loss").lines)


def test_the_training_loss_has_no_baseline_and_starts_at_the_first_step(run: MadeRun) -> None:
    for trial in run.plan.trials:
        run.finish(trial)
    chart = named(charts(run), "training-loss")
    assert not any(line.baseline for line in chart.lines)
    assert chart.x_ticks[0].text == "1"
    assert chart.x_ticks[-1].text == "12"
    assert len(chart.rows) == 12


def test_a_lead_has_no_loss_and_so_no_line_in_that_plot(run: MadeRun) -> None:
    for trial in run.plan.trials:
        run.finish(trial)
    chart = named(charts(run), "validation-completion_loss")
    assert {line.letter for line in chart.lines if line.baseline} == {"E", "F"}


def test_a_configuration_keeps_its_style_in_every_plot(run: MadeRun) -> None:
    for trial in run.plan.trials:
        run.finish(trial, without=["completion_nll"] if trial.letter == "B" else [])
    styles: dict[str, set[int | None]] = {}
    for chart in charts(run):
        for line in chart.lines:
            styles.setdefault(line.letter, set()).add(line.style)
    assert all(len(found) == 1 for found in styles.values())


@pytest.fixture(scope="module")
def one_result(tmp_path_factory: pytest.TempPathFactory) -> Report:
    run = made_run(tmp_path_factory.mktemp("run"))
    run.rows = {"validation": 2, "test": 2}
    run.finish(run.trial("A"))
    return make_report(run.store, plan=run.plan, spec_text=run.loaded.text)


@given(values=st.lists(VALUES, min_size=1, max_size=30), first=st.integers(0, 1000))
def test_every_point_of_any_curve_lies_within_the_axes(one_result: Report, values: list[float], first: int) -> None:
    points = tuple(CurvePoint(step=first + index, value=value) for index, value in enumerate(values))
    curve = Curve(split="train", metric="loss", seeds=1, points=points)
    drawn = one_result.configurations[0].model_copy(update={"curves": (curve,)})
    (chart,) = charts_of(one_result.model_copy(update={"configurations": (drawn,)}))
    (line,) = chart.lines
    for x, y in (map(float, point.split(",")) for point in line.path.split()):
        assert chart.left - 0.1 <= x <= chart.right + 0.1
        assert chart.top - 0.1 <= y <= chart.bottom + 0.1
    assert 3 <= len(chart.y_ticks) <= 8
    assert len({tick.text for tick in chart.y_ticks}) == len(chart.y_ticks)
    assert len({tick.text for tick in chart.x_ticks}) == len(chart.x_ticks) >= 2


def test_letters_at_the_ends_of_equal_curves_stand_apart(run: MadeRun) -> None:
    run.rows = {"validation": 4, "test": 4}
    for trial in run.plan.trials:
        run.finish(trial, scores={"rougeL": np.full(4, 0.3)}, losses=[2.0] * 12)
    chart = named(charts(run), "validation-rougeL")
    heights = sorted(line.label_y for line in chart.lines)
    assert all(below - above > 10 for above, below in pairwise(heights))
    assert chart.top - 0.1 <= heights[0]
    assert heights[-1] <= chart.bottom + 0.1


def test_whiskers_share_one_axis(run: MadeRun) -> None:
    for trial in run.plan.trials:
        run.finish(trial, score=0.2 + 0.02 * ord(trial.letter) % 1)
    report = make_report(run.store, plan=run.plan, spec_text=run.loaded.text)
    found = whiskers_of(report, "validation", "rougeL")
    order = [found[configuration.letter].mean for configuration in report.configurations]
    assert order == sorted(order, reverse=True)
    assert all(0 <= whisker.low <= whisker.mean <= whisker.high <= 100 for whisker in found.values())
    assert whiskers_of(report, "validation", "nothing") == {}


def test_a_page_of_a_large_sweep_shows_the_first_fifty_and_every_baseline(tmp_path: Path) -> None:
    ranks = ", ".join(map(str, range(1, 61)))
    run = made_run(tmp_path, GRID.replace("lora.r: [8, 16]", f"lora.r: [{ranks}]").replace("[5e-4, 2e-4]", "[5e-4]"))
    run.rows = {"validation": 2, "test": 2}
    for trial in run.plan.trials[-4:]:
        run.finish(trial)
    report = make_report(run.store, plan=run.plan, spec_text=run.loaded.text)
    shown = brief(report)
    assert len(report.configurations) == 123
    assert len(shown.report.configurations) == 53
    assert shown.left_out == 70
    assert "70 more configurations are in report.csv" in html_report(report)
    assert "70 more configurations are in report.csv" in markdown_report(report)
    assert "and 69 more" in html_report(report)
