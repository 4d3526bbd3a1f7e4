"""Which rows are shown, and what was written for them. Pure.

A set is of the best configuration, or of two that are compared. Each has the rows where it does worst, those where it
does best and some at random, all from one split: the objective's. Texts and scores are of one trial, the first
finished seed, since a text has no mean.

Limits
- of fewer than 30 rows each kind has a third, so that the worst and the best never meet;
- rows of equal score are told apart by the hash that the random ones are drawn by;
- where every row has the same score, or none has one, there is neither a worst nor a best row.
"""

from __future__ import annotations

import html
import math
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from controller.collect import Measured, ScoreTable
from controller.report.comparable import BITS, LOSS
from controller.report.document import Objective
from controller.report.examples import ExampleGroup, Examples, ExampleSet, SampledExample, SampledOutput, Which
from controller.report.ranking import Standing
from controller.report.text import one_line, shortened, visible
from job.contract.base import sha256_hex
from job.contract.config import PlannedTrial
from job.contract.documents import Example
from job.contract.errors import SpecError

__all__ = ["Casting", "Chosen", "Lengths", "Writer", "cast", "chosen", "sampled"]

ROWS = 10
"""Of each kind, at most."""


class _Limits(NamedTuple):
    """Characters of a text that are shown."""

    input: int
    text: int


_LIMITS = (_Limits(1600, 800), _Limits(800, 400), _Limits(400, 200), _Limits(150, 100))
_BUDGET = 900_000
"""Bytes of HTML that all examples may take: the page is to stay below 2 MB. The first limits that keep it are taken."""

Lengths = Mapping[tuple[str, str], int]
"""Split and example id to the characters of the target text."""


class Writer(NamedTuple):
    """A finished trial whose texts are shown."""

    planned: PlannedTrial
    measured: Measured


class Casting(NamedTuple):
    """Whose rows are shown together."""

    of: tuple[Writer, ...]
    """One, or two that are compared."""
    beside: tuple[Writer, ...]


class Chosen(NamedTuple):
    """The rows of a casting, by id."""

    casting: Casting
    candidates: int
    groups: Mapping[Which, tuple[str, ...]]

    @property
    def rows(self) -> tuple[str, ...]:
        """Every row once, in the order of the groups."""
        return tuple(dict.fromkeys(row for rows in self.groups.values() for row in rows))


def cast(standings: Sequence[Standing], *, compared: tuple[str, str] | None = None) -> tuple[Casting, ...]:
    """The best configuration beside the zero-shot baseline of its prompt; then it and the runner-up, or `compared`.

    Raises SpecError for a letter to compare that the run lacks, or that has no result.
    """
    ranked = [standing for standing in standings if standing.trained and standing.objective is not None]
    zero_shots = [standing for standing in standings if standing.planned.kind == "zero-shot" and standing.measured]
    castings = []
    if ranked:
        own = [one for one in zero_shots if one.planned.prompt_name == ranked[0].planned.prompt_name]
        castings.append(Casting((_writer(ranked[0]),), tuple(map(_writer, own[:1]))))
    elif zero_shots:
        castings.append(Casting((_writer(zero_shots[0]),), ()))
    if compared is not None:
        castings.append(Casting(_compared(standings, compared), ()))
    elif len(ranked) > 1:
        castings.append(Casting((_writer(ranked[0]), _writer(ranked[1])), ()))
    return tuple(castings)


def chosen(casting: Casting, *, rows: Collection[str], objective: Objective, lengths: Lengths, draw: str) -> Chosen:
    """The rows of a casting among those of the objective's split; `draw` seeds the random ones."""
    order = {row: sha256_hex(f"{draw}\n{row}".encode()) for row in rows}
    by_writer = [_goodness(one.measured, objective, lengths) for one in casting.of]
    merits = _merits(by_writer, rows)
    candidates = [row for row in rows if row in merits] or list(rows)
    by_merit = sorted(merits, key=lambda row: (merits[row], order[row]))
    count = min(ROWS, len(by_merit) // 3)
    worst, best = by_merit[:count], by_merit[::-1][:count]
    if len(casting.of) > 1:
        worst, best = [row for row in worst if merits[row] < 0], [row for row in best if merits[row] > 0]
    elif count and merits[by_merit[0]] == merits[by_merit[-1]]:
        worst, best = [], []
    drawn = sorted(candidates, key=lambda row: order[row])[: count or ROWS]
    groups: dict[Which, tuple[str, ...]] = {"worst": tuple(worst), "best": tuple(best), "random": tuple(drawn)}
    return Chosen(casting, len(candidates), {which: found for which, found in groups.items() if found})


def sampled(
    every: Sequence[Chosen],
    examples: Mapping[str, Example],
    texts: Mapping[str, Mapping[str, str]],
    *,
    objective: Objective,
    lengths: Lengths,
) -> Examples | None:
    """The chosen rows as data, cut to a readable length; None where there are none.

    `examples` are by id; `texts` are those of each trial, by its id and the row's.
    """
    rows = tuple(dict.fromkeys(row for one in every for row in one.rows))
    if not rows:
        return None
    writers = {writer.planned.trial_id: writer for one in every for writer in (*one.casting.of, *one.casting.beside)}
    written = [
        _Written(writer.planned, texts.get(trial_id, {}), _by_row(writer.measured, objective, lengths))
        for trial_id, writer in writers.items()
    ]
    place = {row: index for index, row in enumerate(rows)}
    sets = tuple(_set(one, place) for one in every)
    shown: tuple[SampledExample, ...] = ()
    for limits in _LIMITS:
        shown = tuple(_example(examples[row], written, limits=limits) for row in rows)
        if _written_bytes(shown, sets) <= _BUDGET:
            break
    return Examples(rows=shown, sets=sets)


class _Written(NamedTuple):
    """What a trial wrote and scored, by row."""

    planned: PlannedTrial
    texts: Mapping[str, str]
    scores: Mapping[str, float]


def _example(example: Example, written: Sequence[_Written], *, limits: _Limits) -> SampledExample:
    row = example.example_id
    return SampledExample(
        example_id=shortened(one_line(row), limits.text),
        split=example.split,
        input=shortened(visible(example.input), limits.input),
        reference=shortened(visible(example.reference), limits.text),
        outputs=tuple(
            SampledOutput(
                letter=one.planned.letter,
                label=shortened(one_line(one.planned.label), limits.text),
                seed=one.planned.seed,
                text=shortened(visible(one.texts[row]), limits.text),
                score=one.scores.get(row),
            )
            for one in written
            if row in one.texts
        ),
    )


def _set(one: Chosen, place: Mapping[str, int]) -> ExampleSet:
    return ExampleSet(
        of=tuple(writer.planned.letter for writer in one.casting.of),
        beside=tuple(writer.planned.letter for writer in one.casting.beside),
        candidates=one.candidates,
        groups=tuple(
            ExampleGroup(which=which, rows=tuple(place[row] for row in rows)) for which, rows in one.groups.items()
        ),
    )


def _writer(standing: Standing) -> Writer:
    """Its first finished seed."""
    return next(Writer(trial.planned, trial.measured) for trial in standing.trials if trial.measured is not None)


def _compared(standings: Sequence[Standing], letters: tuple[str, str]) -> tuple[Writer, ...]:
    by_letter = {standing.planned.letter: standing for standing in standings}
    finished = ", ".join(sorted((name for name, one in by_letter.items() if one.measured), key=lambda n: (len(n), n)))
    if letters[0] == letters[1]:
        raise SpecError(f"--compare {letters[0]} {letters[1]}: name two different configurations by their letters")
    for letter in letters:
        if letter not in by_letter or not by_letter[letter].measured:
            what = "has no result yet" if letter in by_letter else "is no configuration of this run"
            raise SpecError(f"--compare: {letter!r} {what}; those with a result are {finished or 'none yet'}")
    return tuple(_writer(by_letter[letter]) for letter in letters)


def _merits(by_writer: Sequence[Mapping[str, float]], rows: Collection[str]) -> dict[str, float]:
    """Row to how good it is: of one writer its score, of two the first's less the second's."""
    first = by_writer[0]
    if len(by_writer) == 1:
        return {row: first[row] for row in rows if row in first}
    second = by_writer[1]
    return {row: first[row] - second[row] for row in rows if row in first and row in second}


def _goodness(measured: Measured, objective: Objective, lengths: Lengths) -> dict[str, float]:
    sign = 1.0 if objective.direction == "maximize" else -1.0
    return {row: sign * value for row, value in _by_row(measured, objective, lengths).items()}


def _by_row(measured: Measured, objective: Objective, lengths: Lengths) -> dict[str, float]:
    """The objective's metric on each row; empty where it is not scored by the row."""
    table = measured.scores.get(objective.split)
    values = None if table is None else _values(table, objective, lengths)
    if table is None or values is None:
        return {}
    return {row: float(value) for row, value in zip(table.example_ids, values, strict=True) if math.isfinite(value)}


def _values(table: ScoreTable, objective: Objective, lengths: Lengths) -> NDArray[np.float64] | None:
    """Of a loss, each row's own: its nats by its target tokens, or its bits by its characters."""
    found = table.values
    if objective.metric in found or "completion_nll" not in found or "target_tokens" not in found:
        return found.get(objective.metric)
    with np.errstate(divide="ignore", invalid="ignore"):
        if objective.metric == LOSS:
            return np.asarray(found["completion_nll"] / found["target_tokens"])
        if objective.metric == BITS:
            characters = np.array([lengths.get((objective.split, row), 0) for row in table.example_ids], dtype=float)
            return np.asarray(found["completion_nll"] / math.log(2) / characters)
    return None


def _written_bytes(rows: Sequence[SampledExample], sets: Sequence[ExampleSet]) -> int:
    """What the texts take in a page: a row that several groups have is written in each."""
    sizes = [
        _size(row.input) + _size(row.reference) + sum(_size(one.text) + _size(one.label) for one in row.outputs)
        for row in rows
    ]
    return sum(sizes[place] for one in sets for group in one.groups for place in group.rows)


def _size(text: str) -> int:
    return len(html.escape(text).encode())
