"""The diagnostics of an evaluation: a column of numbers for each, in the order of its rows."""

from __future__ import annotations

from collections.abc import Sequence

from job.contract import diagnostic_names as names
from job.contract.documents import Prediction
from job.data import Row
from job.diagnostics.copies import copied, repetition
from job.diagnostics.numbers import held_by, lacking, numbers_of
from job.diagnostics.training_targets import training_targets
from job.diagnostics.words import words_of

__all__ = ["diagnostics_of"]


def diagnostics_of(
    predictions: Sequence[Prediction], *, rows: Sequence[Row], train: Sequence[Row]
) -> dict[str, tuple[float, ...]]:
    """The columns by name; `rows` hold at least those that were asked, in any order, and `train` the training rows.

    Without training rows there is no likeness to a training target.
    """
    by_id = {row.example_id: row for row in rows}
    found = [_of_text(prediction, by_id[prediction.example_id]) for prediction in predictions]
    columns = {name: tuple(one[name] for one in found) for name in names.DIAGNOSTICS if name != names.TRAIN_OVERLAP}
    if train:
        known = training_targets(tuple(row.target for row in train))
        columns[names.TRAIN_OVERLAP] = tuple(known.overlap(prediction.text) for prediction in predictions)
    return columns


def _of_text(prediction: Prediction, row: Row) -> dict[str, float]:
    text = prediction.text
    words = words_of(text)
    copies = copied(words, words_of(row.input))
    written, wanted = numbers_of(text), numbers_of(row.target)
    return {
        names.OUTPUT_CHARACTERS: len(text),
        names.REFERENCE_CHARACTERS: len(row.target),
        names.OUTPUT_WORDS: len(words),
        names.OUTPUT_NUMBERS: len(written),
        names.UNSUPPORTED_NUMBERS: len(lacking(written, held_by(row.input))),
        names.REFERENCE_NUMBERS: len(wanted),
        names.MISSED_NUMBERS: len(lacking(wanted, held_by(text))),
        names.COVERAGE: copies.coverage,
        names.DENSITY: copies.density,
        names.LONGEST_COPY: copies.longest,
        names.REPETITION: repetition(text),
        names.CUT: float(prediction.ended != "eos"),
    }
