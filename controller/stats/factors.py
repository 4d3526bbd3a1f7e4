"""What was varied: levels, factors that cannot be told apart, and which configurations differ in one thing alone."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Literal, NamedTuple

__all__ = ["Confound", "Group", "Level", "Settings", "blocks", "confounds", "levels", "told_apart"]

Level = Hashable
Group = tuple[str, ...]
"""Paths that vary together and count as one factor."""
Settings = Sequence[Mapping[str, Level]]
"""Of each configuration: path to value, with the same paths everywhere; None where a path does not apply."""

RANK, ALPHA, RATIO = "lora.r", "lora.lora_alpha", "lora.alpha_ratio"


class Confound(NamedTuple):
    """Why a difference may be due to something else than the factor."""

    factor: str
    other: str
    kind: Literal["same", "decided", "scale"]
    """`same`: both vary together, and no comparison can tell them apart. `decided`: the factor's level decides the
    other's, not the reverse. `scale`: lora_alpha is the same for several ranks, so lora_alpha / r changes with r."""


def levels(settings: Settings, factor: str) -> tuple[Level, ...]:
    """The values of a factor, in the order in which the configurations have them first."""
    return tuple(dict.fromkeys(setting[factor] for setting in settings))


def told_apart(settings: Settings, factors: Sequence[str]) -> tuple[Group, ...]:
    """The factors that vary, grouped: those of a group vary together and count as one."""
    groups: dict[tuple[int, ...], list[str]] = {}
    for factor in factors:
        order = {level: place for place, level in enumerate(levels(settings, factor))}
        if len(order) > 1:
            pattern = tuple(order[setting[factor]] for setting in settings)
            groups.setdefault(pattern, []).append(factor)
    return tuple(tuple(group) for group in groups.values())


def blocks(settings: Settings, group: Group, factors: Sequence[str]) -> dict[tuple[Level, ...], list[int]]:
    """Configurations by what they have besides `group`: those of a block differ in `group` alone."""
    others = [factor for factor in factors if factor not in group]
    found: dict[tuple[Level, ...], list[int]] = {}
    for place, setting in enumerate(settings):
        found.setdefault(tuple(setting[factor] for factor in others), []).append(place)
    return found


def confounds(settings: Settings, factors: Sequence[str]) -> tuple[Confound, ...]:
    """What a reader has to know before a difference is put down to a factor.

    `factors` are the varied paths; `settings` may hold more, and of these lora.lora_alpha is looked at.
    """
    varied = [factor for factor in factors if len(levels(settings, factor)) > 1]
    found: list[Confound] = []
    for place, factor in enumerate(varied):
        for other in varied[place + 1 :]:
            forth, back = _decides(settings, factor, other), _decides(settings, other, factor)
            if forth and back:
                found.append(Confound(factor, other, "same"))
            elif forth or back:
                found.append(Confound(*((factor, other) if forth else (other, factor)), "decided"))
    if RANK in varied and RATIO not in varied and _ranks_share_alpha(settings):
        found.append(Confound(RANK, ALPHA, "scale"))
    return tuple(found)


def _decides(settings: Settings, factor: str, other: str) -> bool:
    pairs = {(setting[factor], setting[other]) for setting in settings}
    return len(pairs) == len(levels(settings, factor))


def _ranks_share_alpha(settings: Settings) -> bool:
    ranks: dict[Level, set[Level]] = {}
    for setting in settings:
        if setting.get(ALPHA) is not None:
            ranks.setdefault(setting[ALPHA], set()).add(setting[RANK])
    return any(len(found) > 1 for found in ranks.values())
