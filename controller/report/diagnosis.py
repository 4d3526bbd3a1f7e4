"""What ROUGE does not show, as data: what outputs are like, the gap between training and validation, and two orders."""

from __future__ import annotations

from typing import Literal

from controller.texts import Fault
from job.contract.base import Count, Frozen, Number, Text
from job.contract.documents import ScoredSplit

__all__ = ["FaultFound", "LossGap", "LossOrder", "Shortcomings", "Texts"]


class Texts(Frozen):
    """What the outputs of a configuration are like on one split, over all seeds; None: not measured, or no case."""

    outputs: Count
    faults: dict[Fault, Count]
    """How many outputs have it; one that is not named was not measured."""
    numbers: Count | None
    """Distinct numbers and times in an output, summed."""
    unsupported_ratio: Number | None
    """Of those, the share that the input does not hold."""
    reference_numbers: Count | None
    missed_ratio: Number | None
    """Of those of the references, the share that the output misses."""
    length_ratio: Number | None
    """Characters of all outputs by those of all references."""
    coverage: Number | None
    """Mean share of an output's words in fragments of its input (Grusky et al. 2018)."""
    density: Number | None
    """Mean length of the fragment that a word is in (ibid.)."""
    train_overlap: Number | None
    """Mean likeness to the nearest training target."""


class LossGap(Frozen):
    """Completion loss in training and on rows that were not trained on, in nats per token; means over seeds."""

    train: Number
    """Mean of the last tenth of the steps."""
    validation: Number
    gap: Number


class LossOrder(Frozen):
    """The order of the trained configurations by loss beside that by the metric."""

    split: ScoredSplit
    loss: Text
    metric: Text
    configurations: Count
    tau: Number
    """Kendall's tau-b; 1 for the same order."""
    pairs: Count
    alike: Count
    best_by_loss: Text
    best_by_metric: Text


class FaultFound(Frozen):
    """A fault that outputs of the best configuration have."""

    fault: Fault
    outputs: Count
    share: Number
    baseline_share: Number | None
    """Of its zero-shot baseline; None where that was not measured."""
    examples: tuple[Text, ...]
    """Ids of rows of its first seed, those with the most of it first."""


class Shortcomings(Frozen):
    """Where the best configuration still fails."""

    letter: Text
    split: ScoredSplit
    state: Literal["measured", "not_measured"]
    """Not measured: its results are of an earlier release."""
    outputs: Count
    faults: tuple[FaultFound, ...]
    """The most frequent first."""
    without: tuple[Fault, ...]
    """Measured, and in no output."""
    sentences: tuple[Text, ...]
