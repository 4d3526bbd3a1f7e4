"""Geometry of the plots: numbers to coordinates. The template writes the SVG, so every text in it is escaped there.

A plot is drawn for a column of about 360 pixels, so that its letters keep their size on a phone and in print.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from controller.report.axes import Scale, Tick, round_ticks, tick_text
from controller.report.document import Report
from controller.report.numbers import better, title, written_number
from controller.report.series import FLOOR, Series, few_steps, series_of

__all__ = ["DRAWN", "Chart", "Line", "Whisker", "charts_of", "key_of", "whiskers_of"]

DRAWN = 8
"""Configurations with a line of their own; the others are thin and grey."""

WIDTH, HEIGHT = 360.0, 250.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 44.0, 26.0, 10.0, 34.0
_LABEL_GAP = 11.0
_MARKED = 16  # points; a line with more shows none
_TABLE_ROWS = 25


class Dot(NamedTuple):
    """A measured point."""

    x: float
    y: float


@dataclass(frozen=True, slots=True)
class Line:
    """One configuration's curve, or a baseline's level."""

    letter: str
    label: str
    style: int | None
    """1 to DRAWN; None is thin and grey."""
    path: str
    """Coordinates of a polyline."""
    dots: tuple[Dot, ...]
    end: Dot
    label_y: float
    """Where the letter stands, moved so that letters do not cover each other."""
    baseline: bool = False
    floor: bool = False
    """A level that has to be surpassed, and is drawn in longer dashes."""


@dataclass(frozen=True, slots=True)
class Chart:
    """One plot and its numbers as a table."""

    name: str
    """Unique in the page."""
    title: str
    note: str
    description: str
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    lines: tuple[Line, ...]
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    left: float = _LEFT
    right: float = WIDTH - _RIGHT
    top: float = _TOP
    bottom: float = HEIGHT - _BOTTOM


class Whisker(NamedTuple):
    """An interval on the common axis of a column, in percent of its width."""

    low: float
    mean: float
    high: float


def charts_of(report: Report) -> tuple[Chart, ...]:
    """Training loss, the objective and completion loss on validation, as far as they were measured."""
    drawn = [configuration for configuration in report.configurations if configuration.curves]
    kinds = dict.fromkeys((curve.split, curve.metric) for found in drawn for curve in found.curves)
    return tuple(_chart(report, split, metric) for split, metric in kinds)


def key_of(charts: Sequence[Chart]) -> tuple[Line, ...]:
    """Each named line once, the baselines last."""
    named = {line.letter: line for chart in charts for line in chart.lines if line.baseline or line.style is not None}
    return tuple(
        sorted(named.values(), key=lambda line: (line.baseline, line.style or 0, len(line.letter), line.letter))
    )


def whiskers_of(report: Report, split: str, metric: str) -> dict[str, Whisker]:
    """Letter to the interval of that metric, on an axis that all rows share; empty where nothing was measured."""
    found = {
        configuration.letter: metrics[metric]
        for configuration in report.configurations
        for of_split, metrics in configuration.metrics.items()
        if of_split == split and metric in metrics
    }
    lows = [value.mean if value.low is None else value.low for value in found.values()]
    highs = [value.mean if value.high is None else value.high for value in found.values()]
    if not found:
        return {}
    low, high = min(lows), max(highs)
    axis = Scale(low, high if high > low else low + 1, 3, 97)
    return {
        letter: Whisker(axis(down), axis(value.mean), axis(up))
        for (letter, value), down, up in zip(found.items(), lows, highs, strict=True)
    }


def _chart(report: Report, split: str, metric: str) -> Chart:
    series = series_of(report, split, metric)
    x_low = min(step for line in series for step, _ in line.points)
    x_high = max(step for line in series for step, _ in line.points)
    values = [value for line in series for _, value in line.points]
    y_ticks = round_ticks(min(values), max(values))
    x = Scale(x_low, max(x_high, x_low + 1), _LEFT, WIDTH - _RIGHT)
    y = Scale(y_ticks[0], y_ticks[-1], HEIGHT - _BOTTOM, _TOP)
    lines = _lines(series, x, y, styles=_styles(report))
    name = "training-loss" if split == "train" else f"{split}-{metric}"
    heading = "Training loss" if split == "train" else f"{title(metric)} on {split}"
    return Chart(
        name=name,
        title=heading,
        note="nats per token, lower is better" if split == "train" else better(metric),
        description=_description(heading, series),
        x_ticks=tuple(Tick(x(step), f"{step:,}") for step in _whole_ticks(x_low, max(x_high, x_low + 1))),
        y_ticks=tuple(Tick(y(value), tick_text(value, y_ticks)) for value in y_ticks),
        lines=lines,
        header=("Step", *(line.letter for line in series)),
        rows=_rows(series),
    )


def _lines(series: Sequence[Series], x: Scale, y: Scale, *, styles: Mapping[str, int]) -> tuple[Line, ...]:
    ends = [Dot(x(line.points[-1][0]), y(line.points[-1][1])) for line in series]
    at_the_end = [line.letter for line in series if line.level and line.letter != FLOOR]
    named = [index for index, line in enumerate(series) if line.letter in at_the_end or line.letter in styles]
    label_ys = dict(zip(named, _apart([ends[index].y for index in named], low=y.end, high=y.start), strict=True))
    lines = []
    for index, line in enumerate(series):
        dots = [Dot(x(step), y(value)) for step, value in line.points]
        lines.append(
            Line(
                letter=line.letter,
                label=line.label,
                style=None if line.level else styles.get(line.letter),
                path=" ".join(f"{dot.x:g},{dot.y:g}" for dot in dots),
                dots=tuple(dots) if len(dots) <= _MARKED and index in named and not line.level else (),
                end=ends[index],
                label_y=label_ys.get(index, ends[index].y),
                baseline=line.level,
                floor=line.kind == "floor",
            )
        )
    # What is drawn last is on top: the first-ranked line.
    return tuple(sorted(lines, key=lambda line: (not line.baseline, line.style is not None, -(line.style or 0))))


def _styles(report: Report) -> dict[str, int]:
    """Letter to style, the same in every plot of the page."""
    drawn = [found.letter for found in report.configurations if found.curves]
    return {letter: place for place, letter in enumerate(drawn[:DRAWN], start=1)}


def _apart(wanted: Sequence[float], *, low: float, high: float) -> list[float]:
    """The positions, moved as little as needed to stand a label's height apart within the plot where they fit."""
    order = sorted(range(len(wanted)), key=lambda index: wanted[index])
    gap = min(_LABEL_GAP, (high - low) / max(len(wanted) - 1, 1))
    placed = [0.0] * len(wanted)
    before = low - gap
    for index in order:
        placed[index] = before = max(wanted[index], before + gap)
    after = high + gap
    for index in reversed(order):
        placed[index] = after = min(placed[index], after - gap)
    return [round(position, 1) for position in placed]


def _whole_ticks(low: int, high: int) -> tuple[int, ...]:
    """A few whole steps from the first to the last."""
    stride = max(1, round(round_ticks(0, high - low)[1]))
    inner = range(-(-low // stride) * stride, high + 1, stride)
    ticks = sorted({low, high, *inner})
    return tuple(tick for tick in ticks if tick in (low, high) or min(tick - low, high - tick) > stride / 2)


def _description(heading: str, series: Sequence[Series]) -> str:
    """What a reader who does not see the plot has to know; the table has the rest."""
    trained = [line for line in series if not line.level]
    highest = max(trained, key=lambda line: line.points[-1][1])
    lowest = min(trained, key=lambda line: line.points[-1][1])
    count = f"{len(trained)} configuration" + ("s" if len(trained) > 1 else "")
    text = f"{heading} by optimizer step, {count}, at the last step from {_ending(lowest)} to {_ending(highest)}."
    levels = [_ending(line) for line in series if line.level]
    return f"{text} Baselines and floors: {', '.join(levels)}." if levels else text


def _ending(line: Series) -> str:
    return f"{line.letter} {written_number(line.points[-1][1])}"


def _rows(series: Sequence[Series]) -> tuple[tuple[str, ...], ...]:
    """The values at up to _TABLE_ROWS steps, the first and last among them; a level stands in every row."""
    values = [dict(line.points) for line in series]
    return tuple((f"{step:,}", *_cells(series, values, step)) for step in few_steps(series, _TABLE_ROWS))


def _cells(series: Sequence[Series], values: Iterable[Mapping[int, float]], step: int) -> tuple[str, ...]:
    found = [line.points[-1][1] if line.level else at.get(step) for line, at in zip(series, values, strict=True)]
    return tuple("\N{EN DASH}" if value is None else written_number(value) for value in found)
