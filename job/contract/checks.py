"""Findings about a place before anything is made there: each with what was seen and, where it fails, a remedy."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from job.contract.errors import PreflightError, SweepError, TransientError

__all__ = ["Check", "Outcome", "checked", "failure", "refused", "warnings"]

Outcome = Literal["ok", "warning", "failed", "not checked"]


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at."""

    name: str
    outcome: Outcome
    text: str = ""
    """What was found, and what to do about it."""
    passing: bool = False
    """Of a failure: it may pass by itself, as nobody answered."""


def checked(name: str, look: Callable[[], str]) -> Check:
    """What `look` says is fine; an error of ours is a failure in its own words."""
    try:
        return Check(name, "ok", look())
    except SweepError as err:
        return failure(name, err)


def failure(name: str, err: SweepError) -> Check:
    """The error as a finding."""
    return Check(name, "failed", str(err), passing=isinstance(err, TransientError))


def refused(checks: Iterable[Check]) -> PreflightError | TransientError | None:
    """One error that says everything that failed; None when nothing did. It is passing when all of that is."""
    failed = [check for check in checks if check.outcome == "failed"]
    if not failed:
        return None
    said = "this sweep cannot run here; " + "; ".join(f"{check.name}: {check.text}" for check in failed)
    return TransientError(said) if all(check.passing for check in failed) else PreflightError(said)


def warnings(checks: Iterable[Check]) -> tuple[str, ...]:
    """What a run goes on with, in words."""
    return tuple(f"{check.name}: {check.text}" for check in checks if check.outcome == "warning")
