"""The value beyond the edge of a range that was tried: one more step, as far as the field takes it. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Literal

from controller.spec.varied import admit_value, is_whole
from job.contract.errors import SpecError

__all__ = ["End", "Numeral", "beyond", "end_of", "is_ordered", "stretched"]

Numeral = int | float
End = Literal["lowest", "highest"]

_MOST = 4.0
"""The largest factor of one step: rank 8 and 64 say little about 512."""
_WIDER = 0.25
"""Share of its width by which a range that is drawn from grows."""
_UNORDERED = frozenset({"training.eval_steps"})
"""Numbers that decide no number of a trial's end."""


def is_ordered(path: str, values: Sequence[object]) -> bool:
    """Whether the values are numbers of which more may be better: at least two, and no flags."""
    numbers = [value for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
    return path not in _UNORDERED and len(numbers) == len(values) and len(set(numbers)) > 1


def end_of(values: Sequence[Numeral], found: Sequence[Numeral]) -> End | None:
    """The end of `values` at which all of `found` are; None where they are elsewhere, or not together."""
    ends: tuple[tuple[End, Numeral], ...] = (("lowest", min(values)), ("highest", max(values)))
    for end, edge in ends:
        if found and all(math.isclose(value, edge, rel_tol=1e-9) for value in found):
            return end
    return None


def beyond(path: str, values: Sequence[Numeral], end: End) -> Numeral | None:
    """The next value at that end: the step between the last two once more; None where the field takes none.

    Numbers above 0 go on by a factor, and shares (dropout, decays) and ranges that reach 0 by a difference; where
    that leaves the field's range, halfway to its end.
    """
    known = sorted(set(values), reverse=end == "lowest")
    edge, neighbour = known[-1], known[-2]
    share = _is_share(path)
    tries = [edge + (edge - neighbour)] if share or min(known) <= 0 else [_factor(edge, neighbour)]
    tries += [(edge + 1) / 2] if share and end == "highest" else [edge / 2] if end == "lowest" and edge > 0 else []
    return next(_admitted(path, tries, edge=edge, end=end), None)


def stretched(path: str, low: Numeral, high: Numeral, *, log: bool, end: End) -> Numeral | None:
    """The end of a range that is drawn from, moved outwards by a quarter of its width; None where the field ends."""
    edge = high if end == "highest" else low
    sign = 1 if end == "highest" else -1
    moved = edge * (high / low) ** (sign * _WIDER) if log else edge + sign * _WIDER * (high - low)
    return next(_admitted(path, [moved], edge=edge, end=end), None)


def _factor(edge: Numeral, neighbour: Numeral) -> float:
    ratio = edge / neighbour
    return edge * min(max(ratio, 1 / _MOST), _MOST)


def _is_share(path: str) -> bool:
    """Whether the field takes fractions and nothing above 1."""
    return _takes(path, 0.5) and not _takes(path, 1.5)


def _takes(path: str, value: object) -> bool:
    try:
        admit_value(path, value)
    except (ValueError, SpecError):
        return False
    return True


def _admitted(path: str, tries: Sequence[float], *, edge: Numeral, end: End) -> Iterator[Numeral]:
    for number in tries:
        for value in _rounded(number, whole=is_whole(path)):
            outside = value > edge if end == "highest" else value < edge
            if outside and _takes(path, value):
                yield value


def _rounded(number: float, *, whole: bool) -> Iterator[Numeral]:
    """From the roundest on."""
    if not math.isfinite(number):
        return
    if whole:
        yield round(number)
        return
    for digits in (1, 2, 4):
        rounded = float(f"{number:.{digits}g}")
        if abs(rounded - number) <= abs(number) / 4:
            yield rounded
