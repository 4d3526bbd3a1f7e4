"""Rows with what was written for them, as data: the worst, the best and some at random."""

from __future__ import annotations

from typing import Literal

from job.contract.base import Count, Frozen, Number, Text
from job.contract.documents import ScoredSplit

__all__ = ["ExampleGroup", "ExampleSet", "Examples", "SampledExample", "SampledOutput", "Which"]

Which = Literal["worst", "best", "random"]


class SampledOutput(Frozen):
    """What one configuration wrote for an example."""

    letter: Text
    label: Text
    seed: Count | None = None
    """Of the trial that wrote it; None for a baseline."""
    text: Text
    score: Number | None
    """The objective's metric on this example, where it is scored by the row."""


class SampledExample(Frozen):
    """A row with what was written for it."""

    example_id: Text
    split: ScoredSplit
    input: Text
    reference: Text
    outputs: tuple[SampledOutput, ...]


class ExampleGroup(Frozen):
    """Rows that were chosen in one way."""

    which: Which
    """Of two that are compared, `worst` has the rows where the first is farthest behind the second, `best` where it is
    farthest ahead."""
    rows: tuple[Count, ...]
    """Places in the list of all rows, counted from 0, the most extreme first."""


class ExampleSet(Frozen):
    """The rows of one configuration, or of two that are compared."""

    of: tuple[Text, ...]
    """One letter, or two: rows are ordered by the score of the one, or by the first's less the second's."""
    beside: tuple[Text, ...]
    """Letters of baselines whose texts are shown as well."""
    candidates: Count
    """Rows that were chosen from."""
    groups: tuple[ExampleGroup, ...]
    """Those that have rows."""


class Examples(Frozen):
    """Every row that is shown, once, and who shows it."""

    rows: tuple[SampledExample, ...]
    sets: tuple[ExampleSet, ...]
