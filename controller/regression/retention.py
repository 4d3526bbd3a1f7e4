"""Which runs of a sweep may go, and why the others stay. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from controller.regression.document import Regression
from controller.regression.references import NIGHTS
from controller.spec.model import MeanOf
from controller.spec.model import Regression as Asked

__all__ = ["KeptRun", "Sorted", "StoredRun", "sort_runs"]


class StoredRun(NamedTuple):
    """One run of the sweep."""

    run: str
    over: bool
    """Every trial is final, and the report was written."""
    removing: bool
    """An earlier clean was cut short in it."""
    data_until: datetime | None
    judged: Regression | None
    named: tuple[str, ...] = ()
    """Runs that its spec is compared with by name."""


class KeptRun(NamedTuple):
    """A run that stays beyond the newest ones."""

    run: str
    why: str


class Sorted(NamedTuple):
    """The runs of a sweep."""

    going: tuple[str, ...]
    """The oldest first, those that a clean was cut short in before all others."""
    kept: tuple[KeptRun, ...]
    """In the order of their names."""


def sort_runs(runs: Sequence[StoredRun], *, keep: int, asked: Asked | None) -> Sorted:
    """The newest `keep` runs stay, and with them whatever the next night needs.

    Never to go: a run that is not over, the reference and the anchor that the spec names, and the newest good runs that
    `mean_of` takes or that say how much nights vary. Failed runs and regressions count and go like any other.
    """
    over = sorted(
        (one for one in runs if one.over and not one.removing and one.data_until is not None),
        key=lambda one: (one.data_until, one.run),
        reverse=True,
    )
    why = {one.run: "not finished" for one in runs if not one.over and not one.removing}
    why |= {one.run: f"one of the newest {keep}" for one in over[:keep]}
    if asked is not None:
        needed = max(NIGHTS, asked.reference.mean_of if isinstance(asked.reference, MeanOf) else 0)
        good = [one.run for one in over if one.judged is not None and one.judged.good]
        why |= {run: f"one of the newest {needed} good ones" for run in good[:needed] if run not in why}
        if isinstance(asked.reference, str) and asked.reference != "previous":
            why[asked.reference] = "the reference"
        if asked.anchor is not None:
            why[asked.anchor] = "the anchor"
    staying = [one for one in runs if one.run in why]
    why |= {name: f"run {one.run} is compared with it" for one in staying for name in one.named if name not in why}
    present = {one.run for one in runs}
    cut = [one.run for one in runs if one.removing]
    going = [one.run for one in reversed(over) if one.run not in why]
    return Sorted((*cut, *going), tuple(KeptRun(run, why[run]) for run in sorted(why) if run in present))
