"""Findings about a place before anything is made there: each with what was seen and, where it fails, a remedy."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from job.contract.errors import PreflightError, SweepError

__all__ = ["Check", "Outcome", "checked", "refused"]

Outcome = Literal["ok", "warning", "failed", "not checked"]


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at."""

    name: str
    outcome: Outcome
    text: str = ""
    """What was found, and what to do about it."""


def checked(name: str, look: Callable[[], str]) -> Check:
    """What `look` says is fine; an error of ours is a failure in its own words."""
    try:
        return Check(name, "ok", look())
    except SweepError as err:
        return Check(name, "failed", str(err))


def refused(checks: Iterable[Check]) -> PreflightError | None:
    """One error that says everything that failed; None when nothing did."""
    failed = [f"{check.name}: {check.text}" for check in checks if check.outcome == "failed"]
    return PreflightError("this sweep cannot run here; " + "; ".join(failed)) if failed else None
