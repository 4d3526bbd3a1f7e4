"""Whether the winner beats its baselines, on the split that did not pick it.

Two-sided paired comparisons with Holm's adjustment over the baselines (Holm 1979, Scandinavian Journal of Statistics
6): these were fixed before any score was seen, so Holm is right here, while it is not against an observed best. A
baseline may be scored in several variants (zero-shot whole, and cut at the first newline). The winner has to beat all
of them, so the one that is hardest to beat counts; no further adjustment is due (Berger 1982, Technometrics 24).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import NamedTuple

from controller.stats.components import Fit
from controller.stats.contrasts import LEVEL, Contrast, contrast, p_value
from controller.stats.scores import Direction

__all__ = ["Against", "against_baselines"]


@dataclass(frozen=True, slots=True)
class Against:
    """The winner beside one baseline."""

    baseline: str
    variant: int
    """The place, in the scores, of the variant that counts."""
    better_by: Contrast
    """Positive where the winner is better. The intervals of all baselines hold together (Bonferroni)."""
    p: float | None
    """Two-sided, adjusted by Holm; None where nothing varies."""
    beaten: bool


def against_baselines(
    fitted: Fit,
    *,
    winner: int,
    baselines: Mapping[str, tuple[int, ...]],
    direction: Direction,
    level: float = LEVEL,
) -> tuple[Against, ...]:
    """The comparison with each baseline, given by name with the places of its variants.

    Raises ValueError for a baseline without a variant.
    """
    for name, variants in baselines.items():
        if not variants:
            raise ValueError(f"baseline {name!r} has no scores; give at least one variant or leave it out")
    sign = 1.0 if direction == "maximize" else -1.0
    together = 1 - (1 - level) / max(len(baselines), 1)
    hardest: dict[str, _Compared] = {}
    for name, variants in baselines.items():
        found = [_compared(fitted, {winner: sign, one: -sign}, variant=one, level=together) for one in variants]
        hardest[name] = max(found, key=_doubt)
    adjusted = _holm({name: 1.0 if one.p is None else one.p for name, one in hardest.items()})
    return tuple(
        Against(
            baseline=name,
            variant=one.variant,
            better_by=one.better_by,
            p=None if one.p is None else adjusted[name],
            beaten=one.p is not None and one.better_by.estimate > 0 and adjusted[name] <= 1 - level,
        )
        for name, one in hardest.items()
    )


class _Compared(NamedTuple):
    variant: int
    better_by: Contrast
    p: float | None


def _compared(fitted: Fit, weights: dict[int, float], *, variant: int, level: float) -> _Compared:
    found = contrast(fitted, weights, level=level)
    return _Compared(variant, found, p_value(found, fitted.components))


def _doubt(compared: _Compared) -> float:
    """The one-sided p-value of the winner being better."""
    p = 1.0 if compared.p is None else compared.p
    return p / 2 if compared.better_by.estimate > 0 else 1 - p / 2


def _holm(p_values: Mapping[str, float]) -> dict[str, float]:
    ordered = sorted(p_values, key=lambda name: p_values[name])
    scaled = [min(1.0, p_values[name] * (len(ordered) - place)) for place, name in enumerate(ordered)]
    return dict(zip(ordered, accumulate(scaled, max), strict=True))
