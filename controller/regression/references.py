"""Which earlier runs one is compared with, and which say how much nights vary. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from controller.regression.document import Regression
from controller.spec.model import MeanOf
from controller.spec.model import Regression as Asked

__all__ = ["NIGHTS", "Chosen", "choose"]

NIGHTS = 7
"""Good runs that say how much nights vary, the newest ones; `mean_of` may ask for more."""


class Chosen(NamedTuple):
    """Names of runs, the newest first."""

    reference: tuple[str, ...]
    past: tuple[str, ...]
    anchor: str | None
    why_none: str
    """Why there is no reference, as the end of a sentence."""

    @property
    def every(self) -> tuple[str, ...]:
        """All that have to be read, each once."""
        return tuple(dict.fromkeys([*self.reference, *self.past, *([self.anchor] if self.anchor else [])]))


def choose(asked: Asked, *, judged: Sequence[Regression], run: str, before: datetime) -> Chosen:
    """The reference of `run`, whose newest result is of `before`, among runs that were judged earlier."""
    earlier = [one for one in judged if one.run != run and one.data_until < before]
    good = [one.run for one in sorted(earlier, key=lambda one: (one.data_until, one.run), reverse=True) if one.good]
    past = good[: max(NIGHTS, asked.reference.mean_of if isinstance(asked.reference, MeanOf) else 0)]
    anchor = None if asked.anchor == run else asked.anchor
    if isinstance(asked.reference, MeanOf):
        reference = good[: asked.reference.mean_of]
    elif asked.reference == "previous":
        reference = good[:1]
    else:
        reference = [] if asked.reference == run else [asked.reference]
        why = "this run is the reference itself" if not reference else ""
        return Chosen(tuple(reference), tuple(past), anchor, why)
    return Chosen(tuple(reference), tuple(past), anchor, "" if reference else "no good run was judged before it")
