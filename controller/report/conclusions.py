"""What the scores show: the verdict, and what mattered. Differences have the unit of the metric."""

from __future__ import annotations

from typing import Literal

from controller.report.variants import Variant
from job.contract.base import Count, Flag, Frozen, Number, Text
from job.contract.documents import ScoredSplit

__all__ = [
    "BesideBaseline",
    "BesideBest",
    "Changed",
    "Decided",
    "Effect",
    "Effects",
    "Interaction",
    "LeftOut",
    "MoreData",
    "Uneven",
    "Verdict",
]


class BesideBest(Frozen):
    """A trained configuration beside the one with the best mean."""

    letter: Text
    behind: Number
    """How much worse its mean is; not negative."""
    low: Number | None
    """Interval of `behind`; those of all pairs hold together. None for the best, and where nothing varies."""
    high: Number | None
    in_set: Flag
    """Not shown worse than any other."""
    worse_than: Text | None
    """The letter of the one that shows it worse by the clearest margin."""


class BesideBaseline(Frozen):
    """The best beside a baseline."""

    letter: Text
    label: Text
    better_by: Number
    """Positive where the trained one is better."""
    low: Number | None
    high: Number | None
    p: Number | None
    """Two-sided, adjusted over the baselines (Holm); None where nothing varies."""
    shown: Literal["better", "worse", "neither"]
    variant: Variant = "whole"
    """Which scores of its texts these are: of zero-shot, those that the best is least sure to beat."""


class MoreData(Frozen):
    """What would show a difference of the size that was seen, in four of five repetitions."""

    against: Text
    """The letter of the nearest to the best that is not shown worse."""
    size: Number
    """By how much it is behind; 0 where the means are equal, which no number would show."""
    rows: Count | None
    """More of them; None where no number would do."""
    seeds: Count | None
    """More for each configuration; None where no number would do, or none is known to."""
    seeds_known: Flag
    detectable: Number
    """The smallest difference of the two that these rows and seeds would have shown."""


class Uneven(Frozen):
    """A configuration whose seeds differ by more than those of the others."""

    letter: Text
    seed_sd: Number
    others_sd: Number


class LeftOut(Frozen):
    """A trained configuration that was not compared."""

    letter: Text
    why: Literal["pending", "failed", "unscored", "other_rows"]


class Decided(Frozen):
    """The numbers of the verdict."""

    kind: Literal["none", "single", "winner", "tied"]
    """`single`: only one configuration has scores. `none`: nothing to compare, for the reason in `nothing`."""
    nothing: Literal["no_trial", "no_trained", "pending", "failed", "unscored", "one_row"] | None
    metric: Text
    split: ScoredSplit
    rows: Count
    seeds: Count
    """Of the configuration with the fewest; 0 without any."""
    best: tuple[Text, ...]
    """Letters with the best mean; more than one where means are equal."""
    tied: tuple[Text, ...]
    """Letters of all that are not shown worse than any other, the best first."""
    compared: tuple[BesideBest, ...]
    """In the order of the ranking."""
    baselines: tuple[BesideBaseline, ...]
    baselines_split: ScoredSplit | None
    """On which they were compared; the one that did not pick the best, where there is one."""
    missing_baselines: tuple[Text, ...]
    """Labels of those without scores on the same rows."""
    would_show: MoreData | None
    """None for a winner, and without another configuration."""
    optimism: Number | None
    """By how much the best mean is too good for having been picked, estimated; None where there was nothing to pick."""
    adapters_only: Flag
    """One seed each: the verdict is about these adapters."""
    few_seeds: Flag
    """Fewer than 10 pooled degrees of freedom: intervals are wider."""
    uneven: tuple[Uneven, ...]
    small: Flag
    """Fewer rows than the method was checked with."""
    without_spread: tuple[Text, ...]
    """Letters of those whose rows all have the same score."""
    left_out: tuple[LeftOut, ...]


class Verdict(Decided):
    """The verdict with its words."""

    heading: Text
    sentences: tuple[Text, ...]
    """One where there is nothing to compare, else two."""
    notes: tuple[Text, ...]
    """What it rests on and how far it reaches."""


class Changed(Frozen):
    """From one level of a factor to another."""

    factor: Text
    """Several paths where they vary together."""
    against: Text
    level: Text


class Effect(Frozen):
    """How much the mean changes with one factor, all other factors equal."""

    change: Changed
    estimate: Number
    low: Number | None
    """None where nothing varies. The intervals of all effects hold together."""
    high: Number | None
    blocks: Count
    """Sets of configurations that differ in this alone."""
    left_out: Count
    """Configurations at these levels that are in no such set."""
    shown: Literal["better", "worse", "neither"]


class Interaction(Frozen):
    """By how much the change of `first` is larger at `second.level` than at `second.against`."""

    first: Changed
    second: Changed
    estimate: Number
    low: Number | None
    high: Number | None
    """The intervals of all interactions hold together."""
    blocks: Count
    left_out: Count
    shown: Flag


class Effects(Frozen):
    """What mattered, on the objective's split."""

    metric: Text
    split: ScoredSplit
    main: tuple[Effect, ...]
    interactions: tuple[Interaction, ...]
    without: tuple[Text, ...]
    """Factors of which nothing can be said: no two configurations differ in them alone."""
    balanced: Flag
    """Every combination of levels was compared."""
    notes: tuple[Text, ...]
    """Confounds and gaps in words."""
