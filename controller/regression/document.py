"""regression.json and the report's `regression`: what was compared, what came out, and what changed. Data alone."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from job.contract.base import Count, Flag, Frozen, Name, Number, Text
from job.contract.documents import ScoredSplit

__all__ = ["Affected", "Cause", "Regression", "Status", "TestedLoss", "TrendPoint", "Untested"]

Status = Literal["ok", "regression", "suspicion", "not_comparable", "no_reference"]


class TestedLoss(Frozen):
    """One of the things that may page."""

    __test__ = False  # pytest would take the name for a test's

    kind: Literal["reference", "anchor", "floor"]
    metric: Text
    against: tuple[Text, ...]
    """Runs, the newest first; none for a floor."""
    mean: Number
    """Tonight's overall mean over the matched configurations."""
    other: Number
    """The mean of the runs, or the floor."""
    size: Number
    """How much worse tonight is, in the unit of the metric; negative is better."""
    low: Number | None
    """It is more than this with 99 % (one-sided)."""
    tolerance: Number
    """How much worse is still fine."""
    p: Number
    """That it is no more than the tolerance, adjusted for the number of things that may page."""
    noise: Literal["runs", "seeds", "none"]
    """Which was the larger: that between past runs, or that of seeds and rows within them."""
    standard_error: Number
    shown: Literal["regressed", "suspected", "passed", "undecided"]


class Untested(Frozen):
    """One of the things that may page, of which there are no numbers that decide."""

    kind: Literal["anchor", "floor"]
    metric: Text
    why: Text
    """A sentence."""


class Cause(Frozen):
    """Something that is not as it was in the reference."""

    what: Literal["prompt", "model", "data", "setting", "versions", "image", "code", "engine", "device"]
    name: Text
    before: Text
    after: Text
    labels: tuple[Text, ...]
    """The configurations that it is of; none where it is of all."""


class Affected(Frozen):
    """One of the rows that lost most."""

    example_id: Text
    input: Text
    reference: Text
    label: Text
    """Whose texts these are: the configuration that lost most."""
    before: Text
    after: Text
    before_score: Number
    """The mean of this row over the matched configurations, in the newest run of the reference."""
    after_score: Number


class TrendPoint(Frozen):
    """One run in the trend."""

    run: Name
    at: datetime
    """Of its newest result."""
    mean: Number
    half: Number
    """Half the 95 % interval by what seeds vary; rows are the same in all runs. 0 where one seed shows nothing."""
    status: Status


class Regression(Frozen):
    """Whether one run is worse than earlier ones."""

    schema_version: Literal[1] = 1
    run: Name
    status: Status
    complete: Flag
    """Every trial has its result: a run that is not is no reference for others."""
    evidence: Text
    """SHA-256 over what was asked and the results that answered; with others, it is judged anew."""
    spec_sha256: Text
    """Of the plan that was judged: a later one of the run, as of `lorasweep evaluate`, is not what others see."""
    data_until: datetime
    metric: Text
    split: ScoredSplit
    seeds: Count
    """Of the configuration with the fewest."""
    stage: Literal["only", "first", "second"]
    reference: tuple[Text, ...] = ()
    """Runs that it was compared with, the newest first."""
    past: Count = 0
    """Runs that said how much nights vary."""
    heading: Text
    sentences: tuple[Text, ...]
    warnings: tuple[Text, ...] = ()
    """Found beside it; they change no exit code."""
    tests: tuple[TestedLoss, ...] = ()
    untested: tuple[Untested, ...] = ()
    causes: tuple[Cause, ...] = ()
    affected: tuple[Affected, ...] = ()
    trend: tuple[TrendPoint, ...] = ()
    """Oldest first, this run last."""

    @property
    def good(self) -> bool:
        """Whether later runs may be compared with it."""
        return self.complete and self.status in ("ok", "no_reference", "not_comparable")
