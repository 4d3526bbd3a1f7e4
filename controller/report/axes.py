"""Axes of the plots: round numbers, and data to coordinates along one axis. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

__all__ = ["Scale", "Tick", "round_ticks", "tick_text"]


class Tick(NamedTuple):
    """A mark on an axis."""

    at: float
    text: str


class Scale(NamedTuple):
    """Data to coordinates along one axis."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        return round(self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start), 1)


def round_ticks(low: float, high: float) -> tuple[float, ...]:
    """Four to seven round numbers that span the values (Heckbert 1990, Nice Numbers for Graph Labels)."""
    if high == low:
        low, high = low - (abs(low) / 10 or 1.0), high + (abs(high) / 10 or 1.0)
    raw = (high - low) / 4
    unit = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * unit for factor in (1, 2, 2.5, 5, 10) if factor * unit >= raw)
    first, last = math.floor(low / step), math.ceil(high / step)
    return tuple(round(index * step, 12) for index in range(first, max(last, first + 1) + 1))


def tick_text(value: float, ticks: Sequence[float]) -> str:
    """The value with as many decimals as tell the ticks apart."""
    step = ticks[1] - ticks[0]
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    digits += round(step * 10**digits, 6) % 1 != 0
    return f"{value:.{digits}f}".replace("-", "\N{MINUS SIGN}")
