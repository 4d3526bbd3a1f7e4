"""Whether a loss was still falling when training ended, judged by its curve. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from statistics import fmean, variance
from typing import NamedTuple

__all__ = ["LAST", "Falling", "still_falling", "still_falling_in_noise"]

LAST = 1 / 3
"""Share of the steps that is looked at."""
_SHARE = 0.1
"""Of the whole fall, that these steps have to have brought: of a fall along a straight line they bring a third, and of
an exponential one that is over (three half-lives before them) less than a tenth."""
_ERRORS = 2.0
"""Standard errors by which noisy means have to differ."""
_LEAST = 9
"""Noisy points; three for each mean."""

Points = Sequence[tuple[int, float]]


class Falling(NamedTuple):
    """A loss that still fell."""

    from_step: int
    to_step: int
    before: float
    after: float
    share: float
    """Of the whole fall, 0 to 1."""
    between: bool = False
    """Whether `before` was not measured, and is on the line between two points."""


def still_falling(points: Points) -> Falling | None:
    """The fall over the last third of the steps; None where it is less than a tenth of the whole, or the loss rose.

    For a loss over many rows, such as that of validation: step and value, from the first step on. Between two points
    the loss is taken to go straight.
    """
    if len(points) < 3:
        return None
    (first, highest), (last, lowest) = points[0], points[-1]
    if lowest > min(value for _, value in points):
        return None
    start = last - (last - first) * LAST
    before = _at(points, start)
    found = _judged(round(start), last, before, lowest, whole=highest - lowest)
    return found and found._replace(between=start not in {float(step) for step, _ in points})


def still_falling_in_noise(points: Points) -> Falling | None:
    """The same of a loss of single steps: means of the last two thirds are compared, and the noise in them."""
    if len(points) < _LEAST:
        return None
    third = len(points) // 3
    early, middle, late = points[:third], points[third : 2 * third], points[2 * third :]
    before, after = (fmean(value for _, value in part) for part in (middle, late))
    error = sum(variance([value for _, value in part]) / len(part) for part in (middle, late)) ** 0.5
    if before - after <= _ERRORS * error:
        return None
    return _judged(middle[0][0], late[-1][0], before, after, whole=fmean(value for _, value in early) - after)


def _judged(from_step: int, to_step: int, before: float, after: float, *, whole: float) -> Falling | None:
    fall = before - after
    if whole <= 0 or fall < _SHARE * whole:
        return None
    return Falling(from_step, to_step, before, after, share=fall / whole)


def _at(points: Points, step: float) -> float:
    for (start, before), (end, after) in pairwise(points):
        if start <= step <= end:
            return before + (after - before) * (step - start) / (end - start)
    return points[-1][1]
