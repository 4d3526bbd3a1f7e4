"""Random points of a search space, the same on every machine and in every release.

The n-th value of a path is a function of (seed, path, n) alone: the first 53 bits of SHA-256 over the text
`lorasweep draw 1\\n<seed>\\n<path>\\n<n>` as a fraction u in [0, 1). So a longer search keeps its earlier points, and
a further path changes no other path's values.
"""

from __future__ import annotations

import hashlib
import math

from controller.spec.vary import RandomRange

__all__ = ["draw"]

# More digits would only make labels unreadable; rounding also hides a last-bit difference between math libraries.
_SIGNIFICANT_DIGITS = 4


def draw(bounds: RandomRange, *, seed: int, path: str, index: int, whole: bool) -> float | int:
    """The value of `path` at point `index`: uniform over the range, or over its logarithm; both ends may come up."""
    fraction = _fraction(f"lorasweep draw 1\n{seed}\n{path}\n{index}")
    low, high = (bounds.low - 0.5, bounds.high + 0.5) if whole else (bounds.low, bounds.high)
    if bounds.log:
        value = math.exp(math.log(low) + fraction * (math.log(high) - math.log(low)))
    else:
        value = low + fraction * (high - low)
    if whole:
        return int(min(max(round(value), math.ceil(bounds.low)), math.floor(bounds.high)))
    return min(max(float(f"{value:.{_SIGNIFICANT_DIGITS}g}"), bounds.low), bounds.high)


def _fraction(text: str) -> float:
    return (int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 11) * 2.0**-53
