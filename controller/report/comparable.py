"""Scores of finished trials as tables that may be compared: one metric, the same rows, paired by row. Pure.

Configurations with other rows than the rest have a table of their own, and so an interval, but no comparison. Losses
per token are in one table where the tokens to predict are the same; where prompts complete differently there is one
more table, in bits per character, that holds them all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from controller.collect import Measured, ScoreTable
from controller.report.variants import Variant, key_of
from controller.stats.components import Fit, fit
from controller.stats.losses import comparable_losses
from controller.stats.scores import Scores, make_scores
from job.contract.documents import ScoredSplit

__all__ = ["BITS", "LOSS", "Compared", "Subject", "Tables", "scores_behind", "tables_of"]

LOSS, BITS = "completion_loss", "completion_bits"
_NATS, _TOKENS = "completion_nll", "target_tokens"
Table = NDArray[np.float64]


class Subject(NamedTuple):
    """One configuration and its finished seeds."""

    letter: str
    trained: bool
    measured: tuple[Measured, ...]
    variant: Variant = "whole"
    """Which scores of its texts; it is in the tables under `key_of` letter and variant."""


@dataclass(frozen=True, slots=True)
class Compared:
    """The configurations of one table; trained ones come first."""

    letters: tuple[str, ...]
    """Of a variant, its key (controller.report.variants)."""
    trained: int
    """How many of them are trained."""
    tables: tuple[Table, ...]
    """(seeds, rows) of each."""
    scores: Scores | None
    """None for a single row, which shows no spread."""
    fitted: Fit | None

    @property
    def rows(self) -> int:
        return int(self.tables[0].shape[1])


Tables = Mapping[ScoredSplit, Mapping[str, tuple[Compared, ...]]]
"""Split and metric to its tables, the one with the most trained configurations first."""


def tables_of(subjects: Sequence[Subject], characters: Mapping[tuple[str, str], int]) -> Tables:
    """Every table of every metric; `characters` are the lengths of target texts by split and example id.

    A configuration is in those of a split that all of its finished seeds have, with the scores and over the rows that
    all of them have.
    """
    splits = dict.fromkeys(split for subject in subjects for seed in subject.measured for split in seed.scores)
    return {split: _of_split(subjects, split, characters) for split in splits}


def scores_behind(metric: str) -> frozenset[str]:
    """The names of the scores that the tables of a metric are made from."""
    return frozenset({_NATS, _TOKENS} if metric in (LOSS, BITS) else {metric})


class _Entry(NamedTuple):
    letter: str
    trained: bool
    rows: tuple[str, ...]
    columns: Mapping[str, Table]


def _of_split(
    subjects: Sequence[Subject], split: ScoredSplit, characters: Mapping[tuple[str, str], int]
) -> dict[str, tuple[Compared, ...]]:
    groups: dict[frozenset[str], list[_Entry]] = {}
    for subject in subjects:
        if subject.measured and all(split in seed.scores for seed in subject.measured):
            entry = _entry(subject, [seed.scores[split] for seed in subject.measured])
            if entry.rows:
                groups.setdefault(frozenset(entry.rows), []).append(entry)
    found: dict[str, list[Compared]] = {}
    for entries in groups.values():
        aligned = [_aligned(entry, entries[0].rows) for entry in entries]
        lengths = [characters.get((split, row), 0) for row in entries[0].rows]
        for metric, compared in _of_rows(aligned, np.array(lengths, dtype=np.float64)):
            found.setdefault(metric, []).append(compared)
    return {metric: tuple(sorted(tables, key=lambda one: -one.trained)) for metric, tables in found.items()}


def _entry(subject: Subject, tables: Sequence[ScoreTable]) -> _Entry:
    columns = [table.values if subject.variant == "whole" else table.first_line for table in tables]
    names = [name for name in columns[0] if all(name in of_seed for of_seed in columns)]
    rows = _common_rows(tables)
    stacked = {
        name: np.stack([_column(table, of_seed[name], rows) for table, of_seed in zip(tables, columns, strict=True)])
        for name in (names if rows else ())
    }
    return _Entry(key_of(subject.letter, subject.variant), subject.trained, rows, stacked)


def _common_rows(tables: Sequence[ScoreTable]) -> tuple[str, ...]:
    first = tables[0].example_ids
    if all(table.example_ids == first for table in tables):
        return first
    common = reduce(frozenset.intersection, (frozenset(table.example_ids) for table in tables))
    return tuple(example_id for example_id in first if example_id in common)


def _column(table: ScoreTable, values: Table, rows: tuple[str, ...]) -> Table:
    """`values`, which are in the order of the table, in that of `rows`."""
    if table.example_ids == rows:
        return values
    place = {example_id: index for index, example_id in enumerate(table.example_ids)}
    return values[[place[example_id] for example_id in rows]]


def _aligned(entry: _Entry, rows: tuple[str, ...]) -> _Entry:
    if entry.rows == rows:
        return entry
    place = {row: index for index, row in enumerate(entry.rows)}
    order = [place[row] for row in rows]
    return entry._replace(rows=rows, columns={name: table[:, order] for name, table in entry.columns.items()})


def _of_rows(entries: Sequence[_Entry], lengths: Table) -> list[tuple[str, Compared]]:
    """The tables of configurations that have the same rows in the same order."""
    names = dict.fromkeys(name for entry in entries for name in entry.columns if name not in (_NATS, _TOKENS))
    found = []
    for name in names:
        having = [entry for entry in entries if name in entry.columns]
        found.append((name, _compared(having, [entry.columns[name] for entry in having])))
    return [*found, *_losses([one for one in entries if _NATS in one.columns and _has_targets(one)], lengths)]


def _has_targets(entry: _Entry) -> bool:
    """Whether there is something to take the loss of, and the same in all seeds."""
    tokens = entry.columns.get(_TOKENS)
    return tokens is not None and bool((tokens > 0).all() and (tokens == tokens[0]).all())


def _losses(entries: Sequence[_Entry], lengths: Table) -> list[tuple[str, Compared]]:
    alike: dict[bytes, list[_Entry]] = {}
    for entry in entries:
        alike.setdefault(entry.columns[_TOKENS][0].tobytes(), []).append(entry)
    found = [(LOSS, _loss(group, group[0].columns[_TOKENS][0])) for group in alike.values()]
    if len(alike) > 1 and (lengths > 0).all():
        found.append((BITS, _loss(entries, lengths)))
    return found


def _loss(entries: Sequence[_Entry], lengths: Table) -> Compared:
    nats, tokens = ([entry.columns[name] for entry in entries] for name in (_NATS, _TOKENS))
    return _compared(entries, comparable_losses(nats, tokens, lengths).tables)


def _compared(entries: Sequence[_Entry], tables: Sequence[Table]) -> Compared:
    order = sorted(range(len(entries)), key=lambda at: not entries[at].trained)
    trained = sum(entry.trained for entry in entries)
    ordered = tuple(tables[at] for at in order)
    scores = None
    if ordered[0].shape[1] > 1:
        scores = make_scores(ordered[:trained], [table.mean(axis=0) for table in ordered[trained:]])
    return Compared(
        letters=tuple(entries[at].letter for at in order),
        trained=trained,
        tables=ordered,
        scores=scores,
        fitted=None if scores is None else fit(scores),
    )
