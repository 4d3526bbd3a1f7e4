"""What there is to choose from, and what to do next: trade-offs, takeaways and the next sweep as data."""

from __future__ import annotations

from typing import Literal

from job.contract.base import Count, Frozen, Number, Text
from job.contract.documents import ScoredSplit

__all__ = ["Change", "Front", "Need", "NextSweep", "Option", "Rule", "Takeaway", "Takeaways", "Tradeoffs"]

Need = Literal["train_s", "peak_bytes", "adapter_bytes"]
Rule = Literal["not_above_zero_shot", "best_at_edge", "loss_still_falling", "tied"]


class Option(Frozen):
    """One configuration: how good it is, and what one adapter of it needs. Seeds are folded."""

    letter: Text
    standing: Literal["tied", "worse", "baseline"]
    """`tied`: not shown worse than any other, the winner included; `worse`: shown worse than some other."""
    mean: Number
    low: Number | None
    high: Number | None
    train_s: Number | None
    """Device-seconds to train one adapter, the mean of the seeds; of an adapter that another trial trained, those of
    that trial. 0 for a baseline; None where the trial that trained it is not in this run."""
    cost: Number | None
    """`train_s` at the spec's price."""
    peak_bytes: Count | None
    """None for lead-k, and where trials shared a process: the peak is then of all of them."""
    adapter_bytes: Count


class Front(Frozen):
    """The options that no other is at least as good as while it needs less."""

    need: Need
    letters: tuple[Text, ...]
    """From the one that needs least to the one with the best mean; each needs clearly less than the next."""
    cheapest_tied: Text
    """The letter that needs least among those that are not shown worse than any other."""


class Tradeoffs(Frozen):
    """Quality beside what it takes, of the configurations in the verdict and the baselines on the same rows."""

    metric: Text
    split: ScoredSplit
    direction: Literal["maximize", "minimize"]
    options: tuple[Option, ...]
    """In the order of the ranking."""
    fronts: tuple[Front, ...]
    """For each need in which the trained configurations differ."""
    sentences: tuple[Text, ...]


class Change(Frozen):
    """What a rule changes in the spec."""

    path: Text
    """As `vary.grid.lora.r`."""
    before: Text
    """As the present spec has it, in YAML; `not set` where it does not."""
    after: Text


class Takeaway(Frozen):
    """What one of the four rules says."""

    rule: Rule
    sentences: tuple[Text, ...]
    changes: tuple[Change, ...]
    """Empty where nothing in the spec would help, or could be changed."""


class NextSweep(Frozen):
    """The present spec with the changes of the takeaways, and nothing else."""

    spec: Text
    """YAML to copy."""
    places: tuple[Text, ...]
    """Paths in it that name a place which is not published: the last part stands for it."""
    trials: Count
    """That it asks for, baselines included."""
    new_trials: Count
    """That this run does not have."""
    adapters: Count
    """That these trials need."""
    to_train: Count
    """Of them, those that this run does not have."""
    command: Text


class Takeaways(Frozen):
    """What follows from the numbers."""

    found: tuple[Takeaway, ...]
    said: Text
    """What the next sweep is, or why there is none."""
    next_sweep: NextSweep | None
