"""Whether two ways computed the same: a way that is fast at something else is not compared."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from packed.measured import MeasuredTrial, MeasuredWay
from packed.process import BenchmarkError

__all__ = ["Agreement", "agreement", "check_losses", "check_work"]

TOLERANCE = {"float32": 1e-4, "bfloat16": 2e-2}
"""Relative, of one step's loss. bfloat16 has 8 bits of mantissa, and every way rounds at other places."""


class Agreement(NamedTuple):
    """How far the losses of two ways are apart."""

    way: str
    other: str
    losses: int
    """Compared, over all trials."""
    largest: float
    """Relative difference."""
    where: str
    """The trial and step that has it."""


def agreement(one: MeasuredWay, other: MeasuredWay, *, steps: int | None = None) -> Agreement:
    """Of the losses of all trials at the first `steps` steps; None: at every one.

    Raises BenchmarkError when the two have other trials or another number of steps.
    """
    found: list[tuple[float, str]] = []
    for ours, theirs in _pairs(one, other):
        if len(ours.losses) != len(theirs.losses):
            raise BenchmarkError(
                f"{ours.label!r} has {len(ours.losses)} steps as {one.way} and {len(theirs.losses)} as {other.way}"
            )
        for step, (a, b) in enumerate(zip(ours.losses[:steps], theirs.losses[:steps], strict=True), start=1):
            found.append((abs(a - b) / max(abs(b), 1e-12), f"{ours.label}, step {step}"))
    return Agreement(one.way, other.way, len(found), *max(found, key=lambda pair: pair[0], default=(0.0, "")))


def check_losses(found: Sequence[Agreement], *, tolerance: float) -> None:
    """Raises BenchmarkError that names every pair of ways whose losses are further apart."""
    if apart := [one for one in found if not one.largest <= tolerance]:
        said = "\n".join(f"- {one.way} and {one.other}: {one.largest:.2g} at {one.where}" for one in apart)
        raise BenchmarkError(
            f"losses differ by more than {tolerance:g} (relative), so there is no table:\n{said}\n"
            "the ways did not compute the same; mend that, or say with --tolerance what may differ"
        )


def check_work(ways: Sequence[MeasuredWay]) -> None:
    """Raises BenchmarkError when a way trained on other tokens or scored another number of rows than the first."""
    for way in ways[1:]:
        for ours, theirs in _pairs(way, ways[0]):
            mine, first = _work(ours), _work(theirs)
            if mine != first:
                raise BenchmarkError(
                    f"{ours.label!r} is {mine} as {way.way} and {first} as {ways[0].way}; rows or tokens differ"
                )


def _work(trial: MeasuredTrial) -> str:
    return f"{trial.train_tokens} tokens of training and {trial.sequences} rows scored"


def _pairs(one: MeasuredWay, other: MeasuredWay) -> list[tuple[MeasuredTrial, MeasuredTrial]]:
    theirs = {trial.label: trial for trial in other.trials}
    if theirs.keys() != {trial.label for trial in one.trials}:
        raise BenchmarkError(f"{one.way} and {other.way} ran other trials; measure both anew")
    return [(trial, theirs[trial.label]) for trial in one.trials]
