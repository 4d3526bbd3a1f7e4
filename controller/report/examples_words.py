"""The shown rows in words: sets, groups and rows as HTML and Markdown write them."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from controller.report.document import Report
from controller.report.examples import Examples, ExampleSet, SampledExample, SampledOutput, Which
from controller.report.numbers import counted, listed, spoken, written_number

__all__ = ["GroupView", "RowView", "SetView", "compare_command", "set_views"]

_MINUS = "\N{MINUS SIGN}"


class RowView(NamedTuple):
    """A row with the outputs of its set."""

    row: SampledExample
    outputs: tuple[SampledOutput, ...]
    apart: str
    """The difference of the two that are compared; empty for one configuration, and without scores."""


class GroupView(NamedTuple):
    """Rows that were chosen in one way."""

    heading: str
    rows: tuple[RowView, ...]


class SetView(NamedTuple):
    """The rows of one configuration, or of two that are compared."""

    heading: str
    legend: str
    groups: tuple[GroupView, ...]


def set_views(report: Report) -> tuple[SetView, ...]:
    """The sets in their order; none where there are no examples."""
    found = report.examples
    if found is None:
        return ()
    metric = report.objective.metric
    return tuple(SetView(_heading(one), _legend(found, one), tuple(_groups(found, one, metric))) for one in found.sets)


def compare_command(report: Report) -> str:
    """The command that puts two others side by side: the best and the last; empty where there are no others."""
    finished = [one.letter for one in report.configurations if any(trial.state == "succeeded" for trial in one.trials)]
    if len(finished) < 3:
        return ""
    return shlex.join(["lorasweep", "report", report.place, "--compare", finished[0], finished[-1]])


def _heading(one: ExampleSet) -> str:
    return " beside ".join(one.of) if len(one.of) > 1 else f"What {one.of[0]} wrote"


def _legend(examples: Examples, one: ExampleSet) -> str:
    letters = (*one.of, *one.beside)
    seeds = {
        output.letter: output.seed
        for row in examples.rows
        for output in row.outputs
        if output.letter in letters and output.seed is not None
    }
    by = listed([f"{letter}, seed {seed}" for letter, seed in seeds.items()], separator="; ")
    beside = f", beside what {listed(one.beside)} wrote" if one.beside else ""
    split = examples.rows[0].split
    return (
        f"Chosen from {counted(one.candidates, 'row')} of {split}{beside}.{f' Texts are those of {by}.' if by else ''}"
    )


def _groups(examples: Examples, one: ExampleSet, metric: str) -> Iterator[GroupView]:
    for group in one.groups:
        rows = tuple(_row(examples.rows[place], one, metric) for place in group.rows)
        yield GroupView(heading=_group_heading(group.which, one, rows, metric), rows=rows)


def _row(row: SampledExample, one: ExampleSet, metric: str) -> RowView:
    letters = (*one.of, *one.beside)
    by_letter = {output.letter: output for output in row.outputs}
    outputs = tuple(by_letter[letter] for letter in letters if letter in by_letter)
    apart = _apart(row, one)
    written = "" if apart is None else f"{one.of[0]} {_MINUS} {one.of[1]} = {_signed(apart, metric)}"
    return RowView(row, outputs, written)


def _group_heading(which: Which, one: ExampleSet, rows: Sequence[RowView], metric: str) -> str:
    count = len(rows)
    if which == "random":
        drawn = "every row" if count == one.candidates else f"{count} at random"
        return drawn[0].upper() + drawn[1:]
    if len(one.of) == 1:
        found = [_score(view.row, one.of[0]) for view in rows]
        return f"{count} {which} by {spoken(metric)}{_span([score for score in found if score is not None], metric)}"
    gaps = [abs(gap) for view in rows if (gap := _apart(view.row, one)) is not None]
    first, second = one.of
    comparison = "worse" if which == "worst" else "better"
    where = "row where" if count == 1 else "rows where"
    return f"{count} {where} {first} is {comparison} than {second} by most{_span(gaps, metric)}"


def _apart(row: SampledExample, one: ExampleSet) -> float | None:
    """The first's score less the second's."""
    if len(one.of) < 2:
        return None
    first, second = (_score(row, letter) for letter in one.of)
    return None if first is None or second is None else first - second


def _score(row: SampledExample, letter: str) -> float | None:
    return next((output.score for output in row.outputs if output.letter == letter), None)


def _signed(value: float, metric: str) -> str:
    written = written_number(value, metric)
    return written if value <= 0 else f"+{written}"


def _span(values: Sequence[float], metric: str) -> str:
    """`: 0.1 to 0.2`; empty where no text of these rows is there, nor its score."""
    if not values:
        return ""
    low, high = (written_number(value, metric) for value in (min(values), max(values)))
    return f": {low}" if low == high else f": {low} to {high}"
