"""From p-values to a verdict, with at most one false alarm in a hundred nights. Pure.

What may page is tested together: tonight against the reference, against the anchor, and each floor. Their p-values are
adjusted for their number (Bonferroni), so the 1 % is that of the whole decision.

Two stages. A night whose smallest adjusted p-value is 0.1 or more passes. One below 0.002 pages at once: a broken
prompt needs no second look. In between, seeds are added, and all of them together have to show it at 0.006. The two
bounds add up whatever the stages have in common (Bonferroni; a stop for passing only lowers it), so nothing has to be
known of how they correlate. Where no seeds may be added, 0.008 decides at once. It is 0.8 % and not 1 % since p-values
of skewed scores with few seeds are too small by up to a fifth: benchmarks/false_alarms.md measures the whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

__all__ = ["ALPHA", "AT_ONCE", "SUSPICION", "Stage", "adjusted", "decide", "holm"]

ALPHA = 0.01
"""False alarms a night, at most."""
_SPENT = 0.008
"""Of it, by p-values that are taken at their word."""
AT_ONCE = 0.002
"""Of them, those that the first look may spend."""
SUSPICION = 0.1

Stage = Literal["only", "first", "second"]
"""`only`: no seeds can be added. `second`: they were."""


def adjusted(p: float, *, tests: int) -> float:
    """The p-value, for one of as many tests that may page."""
    return min(1.0, p * tests)


def decide(p: float, *, stage: Stage) -> Literal["regressed", "suspected", "passed"]:
    """What an adjusted p-value means at this stage."""
    if stage == "first":
        return "regressed" if p < AT_ONCE else "suspected" if p < SUSPICION else "passed"
    bound = _SPENT if stage == "only" else _SPENT - AT_ONCE
    return "regressed" if p < bound else "passed"


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values of several warnings (Holm 1979), in their order."""
    order = sorted(range(len(p_values)), key=lambda at: p_values[at])
    found, largest = [1.0] * len(p_values), 0.0
    for place, at in enumerate(order):
        largest = max(largest, min(1.0, p_values[at] * (len(p_values) - place)))
        found[at] = largest
    return found
