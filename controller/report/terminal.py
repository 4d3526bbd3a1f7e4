"""The ranking as a few aligned lines, for the end of `lorasweep run` and for `lorasweep report`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import NamedTuple

from rich.cells import cell_len, set_cell_size

from controller.report.document import Configuration, Report
from controller.report.numbers import arrow, metric_names, money, plus_minus, seconds, title, written_number
from controller.report.text import one_line
from controller.report.words import baseline_words, headline, rows_words, short_label, spent_words, train_words

__all__ = ["ranked_table"]

ROWS = 20
_GAP = "  "
_DASH = "-"
_LEAST_LABEL = 24


class _Column(NamedTuple):
    title: str
    cells: tuple[str, ...]
    width: int


def ranked_table(report: Report, width: int | None) -> str:
    """At most ROWS configurations in `width` columns (None: no end), what the numbers show below; ends in a newline.

    Where the terminal is narrow, columns go from the right and labels are cut; no control character comes through.
    """
    goal = report.objective
    shown = report.configurations[:ROWS]
    measured = [found for found in report.configurations if found.metrics.get(goal.split)]
    lines = [f"{report.sweep} / {report.run}: {headline(report)}"]
    if measured:
        lines.append(f"{goal.split}, by {title(goal.metric)}: {rows_words(measured, goal.split)}")
    lines += _table(shown, report, sys.maxsize if width is None else width)
    if len(report.configurations) > ROWS:
        lines.append(f"and {len(report.configurations) - ROWS} more in report.csv")
    verdict = report.verdict
    said = (f"{verdict.heading}.", *verdict.sentences, *verdict.notes, *report.findings)
    lines += [one_line(sentence) for sentence in said]
    lines += [spent_words(report)] if measured else []
    lines += [f"note: {one_line(sentence)}" for sentence in report.warnings]
    return "\n".join(lines) + "\n"


def _table(shown: Sequence[Configuration], report: Report, width: int) -> list[str]:
    if not shown:
        return []
    fixed = [
        _column("rank", [str(found.rank or _DASH) for found in shown]),
        _column("", [found.letter for found in shown]),
    ]
    numbers = _numbers(shown, report)
    labels = [_label(found, report) for found in shown]
    wanted = min(max(map(cell_len, labels)), max(_LEAST_LABEL, width // 3))
    while len(numbers) > 1 and _taken([*fixed, *numbers]) + wanted > width:
        numbers.pop()
    columns = [*fixed, *numbers]
    room = max(width - _taken(columns), 8)
    lines = [_line([column.title for column in columns], columns, "configuration", room)]
    for index, label in enumerate(labels):
        lines.append(_line([column.cells[index] for column in columns], columns, label, room))
    return lines


def _label(configuration: Configuration, report: Report) -> str:
    label = one_line(short_label(configuration, report))
    states = {trial.state for trial in configuration.trials}
    if "succeeded" not in states:
        return f"{', '.join(sorted(states))}: {label}"  # in front, where no narrow terminal cuts it off
    return label if configuration.kind == "lora" else f"{label} ({baseline_words(configuration)})"


def _numbers(shown: Sequence[Configuration], report: Report) -> list[_Column]:
    """The objective first, with its interval; then the rest in the order in which a narrow terminal drops them last."""
    goal = report.objective
    found = {name for configuration in shown for name in configuration.metrics.get(goal.split, {})}
    columns = []
    for name in metric_names(sorted(found), objective=goal.metric):
        metrics = [configuration.metrics.get(goal.split, {}).get(name) for configuration in shown]
        write = plus_minus if name == goal.metric else (lambda metric, name: written_number(metric.mean, name))
        cells = [_DASH if metric is None else write(metric, name) for metric in metrics]
        columns.append(_column(f"{title(name)} {arrow(name)}".strip(), cells))
    done = [any(trial.state == "succeeded" for trial in found.trials) for found in shown]
    spent = zip(shown, done, strict=True)
    columns.append(_column("train s", [one_line(train_words(c)) if ok and c.steps else _DASH for c, ok in spent]))
    spent = zip(shown, done, strict=True)
    columns.append(_column("evaluate s", [seconds(c.evaluate_s) if ok else _DASH for c, ok in spent]))
    if report.spent.cost is not None:
        spent = zip(shown, done, strict=True)
        columns.append(_column("cost", [money(c.cost) if ok else _DASH for c, ok in spent]))
    return columns


def _column(heading: str, cells: Sequence[str]) -> _Column:
    return _Column(heading, tuple(cells), max(map(cell_len, (heading, *cells))))


def _taken(columns: Sequence[_Column]) -> int:
    return sum(column.width + len(_GAP) for column in columns)


def _line(cells: Sequence[str], columns: Sequence[_Column], label: str, room: int) -> str:
    padded = [" " * (column.width - cell_len(cell)) + cell for cell, column in zip(cells, columns, strict=True)]
    cut = label if cell_len(label) <= room else set_cell_size(label, room - 1) + "\N{HORIZONTAL ELLIPSIS}"
    return _GAP.join([*padded, cut]).rstrip()
