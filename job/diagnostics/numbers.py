"""Numbers and times in a text, and which of them another text does not hold.

A number can be written in several ways, so each has all readings that it may have, and two are the same when they share
one: `1.000` is a thousand or one, `17:30`, `17.30`, `17h30` and `5.30 pm` are the same time on a clock, and a full hour
is also its number (`5 pm`, `17:00` and `17`). Leaning to sameness is on purpose: what is reported as unsupported is not
in the other text under any reading.

Limits
- Numbers as words are read in English alone (zero to ninety-nine, hundred, thousand, million, noon, midnight), and only
  where they may support a digit: an output that says `three` is not asked whether the input has a 3.
- What follows from numbers (a sum, a duration, `tomorrow`) is not in the input and is counted as unsupported.
- The half of the day is ignored: 5:30 and 17:30 are the same. Signs, units and currencies are ignored.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import NamedTuple

from job.diagnostics.words import folded

__all__ = ["Held", "Number", "held_by", "lacking", "numbers_of"]

_HALF_DAY = 12
_NUMBER = re.compile(r"\d+(?:[.,:h]\d+)*")
_MERIDIEM = re.compile(r"\s?[ap]\.?\s?m\b")
_SEPARATOR = re.compile(r"[.,:h]")
_ONES = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_TEENS = ("ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen")
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_SPELLED = (
    {word: number for number, word in enumerate(("zero", *_ONES, *_TEENS))}
    | {word: 10 * number for number, word in enumerate(_TENS, start=2)}
    | {"hundred": 100, "thousand": 1000, "million": 1_000_000}
)
_WORD = re.compile(rf"\b(?:(?P<tens>{'|'.join(_TENS)})[- ](?P<unit>{'|'.join(_ONES)})|(?P<alone>[a-z]+))\b")


class Time(NamedTuple):
    """On a clock of twelve hours."""

    minutes: int


Reading = Decimal | Time | tuple[Decimal, ...]
"""A value, a time, or the parts of a date or version."""


class Number(NamedTuple):
    """One number as it stands in a text."""

    readings: frozenset[Reading]
    """It is the same number as another that shares one of them."""
    parts: frozenset[Reading]
    """Of a date or a version: it holds them, and is none of them."""


Held = frozenset[Reading]
"""Every reading of everything that a text holds."""


def numbers_of(text: str) -> frozenset[Number]:
    """The distinct numbers and times of a text that are written with digits, of any script."""
    plain = folded(text)
    return frozenset(
        _number(found[0], is_hour=_MERIDIEM.match(plain, found.end()) is not None) for found in _NUMBER.finditer(plain)
    )


def held_by(text: str) -> Held:
    """What the text may support: its numbers, the parts of its dates, and its numbers in English words."""
    found = {reading for number in numbers_of(text) for reading in (*number.readings, *number.parts)}
    return frozenset(found.union(_spelled(folded(text))))


def lacking(numbers: Iterable[Number], held: Held) -> frozenset[Number]:
    """Those of `numbers` that are not held under any reading."""
    return frozenset(number for number in numbers if number.readings.isdisjoint(held))


def _number(written: str, *, is_hour: bool) -> Number:
    parts, separators = _SEPARATOR.split(written), _SEPARATOR.findall(written)
    values = tuple(map(Decimal, parts))
    if len(parts) == 1:
        return Number(frozenset({values[0], *(_full_hour(values[0]) if is_hour else ())}), frozenset())
    readings: set[Reading] = {*_decimals(parts, separators), *_times(parts, separators)}
    return Number(frozenset(readings), frozenset()) if readings else Number(frozenset({values}), frozenset(values))


def _full_hour(value: Decimal) -> Iterator[Reading]:
    """The time at that hour, and the hours that a clock shows for it."""
    if value <= 2 * _HALF_DAY:
        hour = int(value) % _HALF_DAY
        yield Time(60 * hour)
        yield Decimal(hour)
        yield Decimal(hour + _HALF_DAY)


def _times(parts: list[str], separators: list[str]) -> Iterator[Reading]:
    """`5:30`, `5.30`, `5h30`, and `5:30:00` as the same."""
    if len(parts) > 3 or any(len(part) != 2 for part in parts[1:]) or "," in separators:
        return
    hour, minute = Decimal(parts[0]), int(parts[1])
    if hour <= 2 * _HALF_DAY and minute < 60 and (len(parts) == 2 or separators == [":", ":"]):
        yield Time(60 * (int(hour) % _HALF_DAY) + minute)
        if minute == 0:
            yield from _full_hour(hour)


def _decimals(parts: list[str], separators: list[str]) -> Iterator[Reading]:
    """`1,000`, `1.000`, `3.5`, `3,5` and `1,234.50` under each reading that grouping by three allows."""
    if not set(separators) <= {".", ","}:
        return
    if len(set(separators)) == 1 and _grouped(parts):
        yield Decimal("".join(parts))
    last, before = parts[-1], parts[:-1]
    if len(before) == 1 or (_grouped(before) and separators[-1] not in separators[:-1]):
        yield Decimal(f"{''.join(before)}.{last}")


def _grouped(parts: list[str]) -> bool:
    return len(parts[0]) <= 3 and all(len(part) == 3 for part in parts[1:])


def _spelled(plain: str) -> Iterator[Reading]:
    for found in _WORD.finditer(plain):
        if found["tens"]:
            yield Decimal(_SPELLED[found["tens"]] + _SPELLED[found["unit"]])
        elif found["alone"] in _SPELLED:
            value = Decimal(_SPELLED[found["alone"]])
            yield value
            yield from _full_hour(value)
        elif found["alone"] in ("noon", "midnight"):
            yield from _full_hour(Decimal(_HALF_DAY))
