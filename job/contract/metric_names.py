"""The closed table of metrics: which a spec may ask for, which numbers each gives, and which way is better.

Read by the controller before anything runs and by the job while it scores; standard library only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from types import MappingProxyType
from typing import Literal

from job.contract.errors import SpecError

__all__ = ["ALWAYS", "DIRECTIONS", "METRIC_GROUPS", "Direction", "names_of"]

Direction = Literal["maximize", "minimize"]

METRIC_GROUPS: Mapping[str, tuple[str, ...]] = MappingProxyType({"rouge": ("rouge1", "rouge2", "rougeL", "rougeLsum")})
"""What `evaluation.metrics` may list, and the headline numbers that each entry gives."""

ALWAYS: tuple[str, ...] = ("completion_loss", "generated_tokens")
"""Measured of every trial that asks a model; lead-k asks none and has no completion_loss."""

DIRECTIONS: Mapping[str, Direction] = MappingProxyType(
    {
        "rouge1": "maximize",
        "rouge2": "maximize",
        "rougeL": "maximize",
        "rougeLsum": "maximize",
        "completion_loss": "minimize",
    }
)
"""Which way is better. generated_tokens has no better end: it describes, and cannot be an objective."""


def names_of(metrics: Sequence[str]) -> tuple[str, ...]:
    """The headline names that a trial's result holds, in report order: those of `metrics`, then ALWAYS.

    Raises SpecError naming the first entry that is not installed, the nearest installed one, and all of them.
    """
    names: list[str] = []
    for metric in metrics:
        if metric not in METRIC_GROUPS:
            raise SpecError(_not_installed(metric))
        names.extend(METRIC_GROUPS[metric])
    return (*dict.fromkeys(names), *ALWAYS)


def _not_installed(metric: str) -> str:
    near = get_close_matches(metric, METRIC_GROUPS, n=1)
    owner = next(
        (group for group, names in METRIC_GROUPS.items() if metric in (*names, *(n.lower() for n in names))), None
    )
    hint = f"; {metric!r} is part of {owner!r}" if owner else f"; did you mean {near[0]!r}?" if near else ""
    if metric in ALWAYS:
        hint = f"; {metric!r} is always measured and is not listed"
    installed = ", ".join(sorted(METRIC_GROUPS))
    return f"evaluation.metrics: {metric!r} is not an installed metric{hint} (installed: {installed})"
