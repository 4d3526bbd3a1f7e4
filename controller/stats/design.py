"""Which configurations to compare for an effect: weights over the design."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from controller.stats.factors import Group, Level, Settings, blocks

__all__ = ["Change", "Weighed", "changes", "crossed_weights", "main_weights"]


class Change(NamedTuple):
    """From one level of a factor to another."""

    factor: Group
    """Several paths where they vary together."""
    against: tuple[Level, ...]
    level: tuple[Level, ...]
    """Values of those paths."""


class Weighed(NamedTuple):
    """A contrast over the configurations of the design."""

    weights: NDArray[np.float64]
    """(configurations,); all zero where no block holds what is compared."""
    blocks: int
    left_out: int
    """Configurations at these levels in no such block."""


def changes(settings: Settings, group: Group) -> tuple[Change, ...]:
    """From the first level to each of the others, in the order in which the configurations have them first."""
    first, *others = dict.fromkeys(_level(setting, group) for setting in settings)
    return tuple(Change(factor=group, against=first, level=other) for other in others)


def main_weights(settings: Settings, factors: Sequence[str], change: Change) -> Weighed:
    """The mean over blocks of (level - against)."""
    signs = {change.level: 1.0, change.against: -1.0}
    found = [
        {place: signs[_level(settings[place], change.factor)] for place in members}
        for members in _at(settings, factors, change.factor, levels=set(signs))
    ]
    return _weighed(found, whole=2, configurations=len(settings))


def crossed_weights(settings: Settings, factors: Sequence[str], first: Change, second: Change) -> Weighed:
    """The mean over blocks of the difference of two differences."""
    signs = {
        (*one, *two): sign * turn
        for one, sign in ((first.level, 1.0), (first.against, -1.0))
        for two, turn in ((second.level, 1.0), (second.against, -1.0))
    }
    group = (*first.factor, *second.factor)
    found = [
        {place: signs[_level(settings[place], group)] for place in members}
        for members in _at(settings, factors, group, levels=set(signs))
    ]
    return _weighed(found, whole=4, configurations=len(settings))


def _at(settings: Settings, factors: Sequence[str], group: Group, *, levels: set[tuple[Level, ...]]) -> list[list[int]]:
    every = blocks(settings, group, factors).values()
    return [[place for place in members if _level(settings[place], group) in levels] for members in every]


def _weighed(found: Sequence[dict[int, float]], *, whole: int, configurations: int) -> Weighed:
    complete = [signs for signs in found if len(signs) == whole]
    weights = np.zeros(configurations)
    for signs in complete:
        weights[list(signs)] = np.fromiter(signs.values(), dtype=np.float64) / len(complete)
    return Weighed(
        weights=weights, blocks=len(complete), left_out=sum(len(signs) for signs in found if len(signs) < whole)
    )


def _level(setting: Mapping[str, Level], group: Group) -> tuple[Level, ...]:
    return tuple(setting[path] for path in group)
