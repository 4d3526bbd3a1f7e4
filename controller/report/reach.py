"""How far a ranking reaches: how much there is to go by, and what that does not allow to say. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from controller.report.document import Metric
from controller.report.numbers import has_no_spread, listed
from controller.report.ranking import Standing

__all__ = ["Reach", "counted"]


class Reach(NamedTuple):
    """The size of a ranking."""

    first: str
    """Letter of the configuration that ranks first."""
    rows: int
    """Of the configuration with the fewest."""
    seeds: int
    """Of the configuration with the fewest."""
    others: int
    """Trained configurations beside the first."""
    overlapping: int
    """Of those, with an interval that shares a value with the first one's."""
    without_spread: tuple[str, ...] = ()
    """Letters of those whose rows all have the same score, which leaves them without an interval."""

    @classmethod
    def of(cls, ranked: Sequence[Standing]) -> Reach:
        """The reach of trained configurations that have the objective, best first; there has to be one."""
        metrics = [standing.objective for standing in ranked if standing.objective is not None]
        return cls(
            first=ranked[0].planned.letter,
            rows=min(metric.rows for metric in metrics),
            seeds=min(metric.seeds for metric in metrics),
            others=len(metrics) - 1,
            overlapping=sum(_overlap(metrics[0], other) for other in metrics[1:]),
            without_spread=tuple(
                standing.planned.letter
                for standing in ranked
                if standing.objective is not None and has_no_spread(standing.objective)
            ),
        )

    @property
    def small(self) -> bool:
        """Whether these intervals leave it open which configuration is the best."""
        return self.others > 0 and (
            self.seeds < 2 or self.rows < 2 or self.overlapping > 0 or bool(self.without_spread)
        )

    def sentences(self) -> tuple[str, ...]:
        """The size first, then why it is too small, or what even a large one does not say."""
        return tuple(self._sentences())

    def _sentences(self) -> Iterator[str]:
        size = f"{counted(self.rows, 'row')}, {counted(self.seeds, 'seed')}"
        if not self.others:
            yield f"{size}, one trained configuration: there is no other to rank it against."
        elif self.small:
            yield f"{size}: too few to name a winner."
        else:
            yield f"{size}: no other trained configuration's interval reaches that of {self.first}."
            yield "These are intervals of single means: nothing is compared row by row, and no winner is named."
        if self.rows < 2:
            yield "One row says nothing about the spread between rows, so there are no intervals."
        elif self.overlapping:
            others = counted(self.others, "other trained configuration")
            yield f"The 95 % interval of {self.first} overlaps those of {self.overlapping} of the {others}."
        if self.without_spread:
            whose = listed(self.without_spread)
            yield f"{whose}: all rows have the same score, so there is no spread and no interval."
        if self.seeds < 2:
            whose = "these adapters, not these configurations" if self.others else "this adapter, not its configuration"
            yield f"With one seed the numbers are about {whose}: another seed gives other adapters."


def counted(number: int, noun: str) -> str:
    """`1 row`, `32 rows`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def _overlap(one: Metric, other: Metric) -> bool:
    if one.low is None or one.high is None or other.low is None or other.high is None:
        return False
    return one.low <= other.high and other.low <= one.high
