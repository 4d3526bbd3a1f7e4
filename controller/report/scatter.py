"""Geometry of the trade-off plots: quality over what it takes, a mark for each configuration. Pure.

As in svg.py a plot is drawn for a column of about 360 pixels, and the template writes the SVG. Marks differ in shape
and not in colour alone, and letters stand where they fit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from controller.report.axes import Scale, Tick, round_ticks, tick_text
from controller.report.choices import Front, Need, Option, Tradeoffs
from controller.report.document import Report
from controller.report.numbers import better, money, title, written_number
from controller.report.tradeoff_words import (
    NEEDS,
    STANDINGS,
    TRADEOFFS_LEGEND,
    OptionLine,
    amount_written,
    option_lines,
    tradeoffs_heading,
)
from controller.report.tradeoffs import needed

__all__ = ["Mark", "Scatter", "TradeoffsView", "scatters_of", "tradeoffs_view"]

_LEFT, _RIGHT, _TOP, _BOTTOM = 44.0, 342.0, 10.0, 206.0
_LETTER = 7.0  # pixels of a letter's width and half its height, about
_LABELLED = 24
"""Options with a letter of their own; of more, those on the front and tied ones."""
_UNITS: dict[Need, tuple[tuple[float, str], ...]] = {
    "train_s": ((3600.0, "h"), (60.0, "min"), (1.0, "s")),
    "peak_bytes": ((2.0**30, "GiB"), (2.0**20, "MiB"), (2.0**10, "KiB")),
    "adapter_bytes": ((2.0**30, "GiB"), (2.0**20, "MiB"), (2.0**10, "KiB")),
}


@dataclass(frozen=True, slots=True)
class Mark:
    """One option on the paper."""

    letter: str
    standing: str
    """`tied`, `worse` or `baseline`: its shape."""
    on_front: bool
    x: float
    y: float
    low: float
    high: float
    """Ends of the interval, upside down as the paper is."""
    label: tuple[float, float] | None
    """Where its letter stands; None where there is no room."""


@dataclass(frozen=True, slots=True)
class Scatter:
    """One plot."""

    name: str
    """Unique in the page."""
    title: str
    note: str
    axis: str
    """Under the plot."""
    y_axis: str
    description: str
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    x_costs: tuple[Tick, ...]
    """What the amounts below the axis cost; empty without a price."""
    marks: tuple[Mark, ...]
    """Those that matter most are the last, and so on top."""
    steps: str
    """Coordinates of the front's polyline."""
    left: float = _LEFT
    right: float = _RIGHT
    top: float = _TOP
    bottom: float = _BOTTOM


class _Box(NamedTuple):
    left: float
    right: float
    top: float
    bottom: float

    def meets(self, other: _Box) -> bool:
        beside = self.right <= other.left or other.right <= self.left
        return not (beside or self.bottom <= other.top or other.bottom <= self.top)


class TradeoffsView(NamedTuple):
    """All that a page shows of the trade-offs."""

    heading: str
    sentences: tuple[str, ...]
    charts: tuple[Scatter, ...]
    lines: tuple[OptionLine, ...]
    tied: int
    """How many share the top."""
    metric: str
    priced: bool
    legend: str


def tradeoffs_view(report: Report) -> TradeoffsView | None:
    """The section of a page that shows these configurations; None where the report has no trade-offs."""
    found = report.tradeoffs
    if found is None:
        return None
    shown = {configuration.letter for configuration in report.configurations}
    return TradeoffsView(
        heading=tradeoffs_heading(found),
        sentences=found.sentences,
        charts=scatters_of(found, price=report.spent.price_per_gpu_hour),
        lines=tuple(line for line in option_lines(found) if line.letter in shown),
        tied=sum(one.standing == "tied" for one in found.options),
        metric=title(found.metric),
        priced=report.spent.price_per_gpu_hour is not None,
        legend=TRADEOFFS_LEGEND,
    )


def scatters_of(found: Tradeoffs, *, price: float | None) -> tuple[Scatter, ...]:
    """A plot for each front; with a price, what the seconds cost stands below the axis."""
    return tuple(_scatter(found, front, price=price) for front in found.fronts)


def _scatter(found: Tradeoffs, front: Front, *, price: float | None) -> Scatter:
    need = front.need
    drawn = [(one, amount) for one in found.options if (amount := needed(one, need)) is not None]
    unit, unit_name = _unit(need, max(amount for _, amount in drawn))
    x_values = round_ticks(min(amount / unit for _, amount in drawn), max(amount / unit for _, amount in drawn))
    y_values = round_ticks(
        min(one.mean if one.low is None else one.low for one, _ in drawn),
        max(one.mean if one.high is None else one.high for one, _ in drawn),
    )
    x, y = Scale(x_values[0], x_values[-1], _LEFT, _RIGHT), Scale(y_values[0], y_values[-1], _BOTTOM, _TOP)
    marks = [_mark(one, x(amount / unit), y, on_front=one.letter in front.letters) for one, amount in drawn]
    return Scatter(
        name=f"tradeoff-{need.replace('_', '-')}",
        title=f"{title(found.metric)} by {NEEDS[need]}",
        note=better(found.metric),
        axis=f"{NEEDS[need]} of one adapter, {unit_name}",
        y_axis=title(found.metric),
        description=_description(found, front),
        x_ticks=tuple(Tick(x(value), tick_text(value, x_values)) for value in x_values),
        y_ticks=tuple(Tick(y(value), tick_text(value, y_values)) for value in y_values),
        x_costs=tuple(Tick(x(value), cost) for value in x_values if (cost := _cost(value * unit, need, price))),
        marks=tuple(_labelled(sorted(marks, key=_weight))),
        steps=_steps([mark for letter in front.letters for mark in marks if mark.letter == letter]),
    )


def _cost(amount: float, need: Need, price: float | None) -> str:
    return "" if price is None or need != "train_s" else money(amount / 3600 * price)


def _unit(need: Need, largest: float) -> tuple[float, str]:
    """The largest unit in which the largest amount is at least two."""
    fitting = [unit for unit in _UNITS[need] if largest >= 2 * unit[0]]
    return fitting[0] if fitting else _UNITS[need][-1]


def _mark(option: Option, x: float, y: Scale, *, on_front: bool) -> Mark:
    at = y(option.mean)
    return Mark(
        letter=option.letter,
        standing=option.standing,
        on_front=on_front,
        x=x,
        y=at,
        low=at if option.low is None else y(option.low),
        high=at if option.high is None else y(option.high),
        label=None,
    )


def _weight(mark: Mark) -> int:
    return 2 * mark.on_front + (mark.standing != "worse")


def _labelled(marks: Sequence[Mark]) -> Iterator[Mark]:
    """The marks with their letters beside them, those that matter most placed first."""
    axis = _Box(0, _LEFT - 2, 0, _BOTTOM + 40)
    taken = [axis, *(_Box(mark.x - 5, mark.x + 5, mark.y - 5, mark.y + 5) for mark in marks)]
    places: dict[str, tuple[float, float]] = {}
    for mark in reversed(marks):
        if len(marks) > _LABELLED and not _weight(mark):
            continue
        wide = _LETTER * len(mark.letter)
        beside = ((7.0, 4.0), (-7.0 - wide, 4.0), (4.0, -7.0), (4.0, 15.0), (-4.0 - wide, -7.0), (-4.0 - wide, 15.0))
        for right, down in beside:
            box = _Box(mark.x + right, mark.x + right + wide, mark.y + down - 9, mark.y + down)
            if not any(box.meets(other) for other in taken):
                taken.append(box)
                places[mark.letter] = (round(mark.x + right, 1), round(mark.y + down, 1))
                break
    for mark in marks:
        yield Mark(
            mark.letter, mark.standing, mark.on_front, mark.x, mark.y, mark.low, mark.high, places.get(mark.letter)
        )


def _steps(front: Sequence[Mark]) -> str:
    """From left to right, level until the next one is better."""
    points: list[tuple[float, float]] = []
    for mark in front:
        if points:
            points.append((mark.x, points[-1][1]))
        points.append((mark.x, mark.y))
    return " ".join(f"{x:g},{y:g}" for x, y in points)


def _description(found: Tradeoffs, front: Front) -> str:
    """What a reader who does not see the plot has to know; the table has the rest."""
    by_letter = {one.letter: one for one in found.options}
    told = []
    for letter in front.letters:
        one = by_letter[letter]
        amount = amount_written(front.need, needed(one, front.need) or 0.0)
        told.append(f"{letter} ({STANDINGS[one.standing]}) {written_number(one.mean, found.metric)} at {amount}")
    return f"{title(found.metric)} over {NEEDS[front.need]}; on the front, from the least: {', '.join(told)}."
