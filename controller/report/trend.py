"""Geometry of the trend over runs: a mark for each run, in the order of time. Pure; the template writes the SVG."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from controller.regression.document import Regression, TrendPoint
from controller.report.axes import Scale, Tick, round_ticks, tick_text
from controller.report.numbers import better, spoken, title, written_number

__all__ = ["RunMark", "Trend", "trend_of"]

_LEFT, _RIGHT, _TOP, _BOTTOM = 44.0, 342.0, 14.0, 206.0
_NAMED = 4
"""Runs with their name below the axis, about as many as fit."""


class RunMark(NamedTuple):
    """One run on the paper."""

    run: str
    x: float
    y: float
    low: float
    high: float
    """Ends of the interval, upside down as the paper is."""
    bad: bool
    """A regression: another shape."""
    mean: str
    half: str


@dataclass(frozen=True, slots=True)
class Trend:
    """The plot."""

    title: str
    note: str
    description: str
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    marks: tuple[RunMark, ...]
    path: str
    """Coordinates of a polyline through the runs."""
    left: float = _LEFT
    right: float = _RIGHT
    bottom: float = _BOTTOM


def trend_of(found: Regression) -> Trend | None:
    """The trend; None with fewer than two runs."""
    points = found.trend
    if len(points) < 2:
        return None
    values = round_ticks(min(one.mean - one.half for one in points), max(one.mean + one.half for one in points))
    x, y = Scale(0, len(points) - 1, _LEFT + 12, _RIGHT - 12), Scale(values[0], values[-1], _BOTTOM, _TOP)
    marks = tuple(_mark(one, x(at), y, metric=found.metric) for at, one in enumerate(points))
    every = max(1, -(-(len(points) - 1) // (_NAMED - 1)))
    named = [at for at in range(len(points)) if (len(points) - 1 - at) % every == 0]
    return Trend(
        title=f"{title(found.metric)} over runs",
        note=better(found.metric),
        description=_description(found),
        x_ticks=tuple(Tick(x(at), _short(points[at].run)) for at in named),
        y_ticks=tuple(Tick(y(value), tick_text(value, values)) for value in values),
        marks=marks,
        path=" ".join(f"{mark.x:g},{mark.y:g}" for mark in marks),
    )


def _mark(point: TrendPoint, x: float, y: Scale, *, metric: str) -> RunMark:
    return RunMark(
        run=point.run,
        x=x,
        y=y(point.mean),
        low=y(point.mean - point.half),
        high=y(point.mean + point.half),
        bad=point.status == "regression",
        mean=written_number(point.mean, metric),
        half=written_number(point.half, metric),
    )


def _short(run: str) -> str:
    """The end of a name says more: of `20260301-0230z`, month, day and time."""
    return run if len(run) <= 10 else f"\N{HORIZONTAL ELLIPSIS}{run[-9:]}"


def _description(found: Regression) -> str:
    bad = [one.run for one in found.trend if one.status == "regression"]
    first, last = found.trend[0], found.trend[-1]
    text = (
        f"Mean {spoken(found.metric)} of {len(found.trend)} runs, from {written_number(first.mean, found.metric)} in "
        f"{first.run} to {written_number(last.mean, found.metric)} in {last.run}."
    )
    return f"{text} Regressions: {', '.join(bad)}." if bad else text
