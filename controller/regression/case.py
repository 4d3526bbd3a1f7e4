"""What is to be judged, and by what. Data alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from controller.regression.decision import Stage
from controller.regression.document import Status
from controller.regression.match import Night
from controller.regression.references import Chosen
from controller.report.document import Objective
from controller.spec.model import Regression as Asked

__all__ = ["Case"]


class Case(NamedTuple):
    """One run, the runs it is compared with, and what the spec asks."""

    tonight: Night
    others: Sequence[Night]
    """Those of `chosen` that can be read."""
    chosen: Chosen
    asked: Asked
    objective: Objective
    stage: Stage
    evidence: str
    statuses: Mapping[str, Status]
    """Of earlier runs, as far as they were judged."""
    troubles: tuple[str, ...] = ()
    """Why some could not be read."""
