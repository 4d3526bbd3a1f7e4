"""Effects as people read them: lines of a table, sentences, and where their intervals lie. Pure."""

from __future__ import annotations

from typing import NamedTuple

from controller.report.conclusions import Effects, Interaction
from controller.report.numbers import counted, spoken, title, written_number
from controller.report.verdict_words import spanned

__all__ = ["EFFECTS_LEGEND", "EffectLine", "effect_lines", "effects_heading", "effects_sentences", "interaction_words"]

_SHOWN = {"better": "better", "worse": "worse", "neither": "not shown"}
EFFECTS_LEGEND = (
    "All other settings equal, row by row: a set is of configurations that differ in this setting alone. The 95 % "
    "intervals of all effects hold together."
)
_LISTED = 20
"""Lines of a page; report.json has all of them."""


class EffectLine(NamedTuple):
    """One effect on a page; positions are percent of the width of a column that all lines share."""

    factor: str
    against: str
    level: str
    change: str
    span: str
    shown: str
    """`better`, `worse` or `not shown`: what the level is beside the other one."""
    rests_on: str
    low: float
    at: float
    high: float
    zero: float


def effects_heading(found: Effects) -> str:
    """What the section is called."""
    return f"Why: what mattered for {title(found.metric)} on {found.split}"


def effect_lines(found: Effects) -> tuple[EffectLine, ...]:
    """The main effects that a page shows, in the order of the spec."""
    shown = found.main[:_LISTED]
    ends = [
        (one.estimate if one.low is None else one.low, one.estimate if one.high is None else one.high) for one in shown
    ]
    least, most = min((0.0, *(low for low, _ in ends))), max((0.0, *(high for _, high in ends)))
    return tuple(
        EffectLine(
            factor=one.change.factor,
            against=one.change.against,
            level=one.change.level,
            change=_signed(one.estimate, found.metric),
            span=spanned(one.low, one.high, found.metric),
            shown=_SHOWN[one.shown],
            rests_on=counted(one.blocks, "set"),
            low=_percent(low, least, most),
            at=_percent(one.estimate, least, most),
            high=_percent(high, least, most),
            zero=_percent(0.0, least, most),
        )
        for one, (low, high) in zip(shown, ends, strict=True)
    )


def effects_sentences(found: Effects) -> tuple[str, ...]:
    """What is shown and what is not, then gaps and confounds."""
    said = []
    if len(found.main) > _LISTED:
        said.append(f"{len(found.main) - _LISTED} more effects are in report.json.")
    if len({one.change.factor for one in found.main}) > 1:
        said.append(_interactions(found))
    shown = [one for one in found.interactions if one.shown]
    said += [interaction_words(one, found.metric) for one in shown[:_LISTED]]
    return (*said, *found.notes)


def interaction_words(one: Interaction, metric: str) -> str:
    """One interaction in a sentence."""
    way, sign = ("up", 1) if one.estimate > 0 else ("down", -1)
    ends = sorted(sign * end for end in (one.low, one.high) if end is not None)
    low, high = ends if ends else (None, None)
    return (
        f"From {one.first.factor}={one.first.against} to {one.first.level} the mean goes further {way} by "
        f"{written_number(abs(one.estimate), metric)} ({spanned(low, high, metric)}) at "
        f"{one.second.factor}={one.second.level} than at {one.second.factor}={one.second.against}."
    )


def _interactions(found: Effects) -> str:
    count, shown = len(found.interactions), sum(one.shown for one in found.interactions)
    if not count:
        return (
            "Whether one setting's effect depends on another was not compared: no configurations differ in two alone."
        )
    many = "the one interaction" if count == 1 else f"the {count:,} interactions"
    if not shown:
        return f"None of {many} of two settings is shown: no effect is shown to depend on another setting."
    return (
        f"{shown} of {many} of two settings {'is' if shown == 1 else 'are'} shown, so the effect of one setting on "
        f"{spoken(found.metric)} depends on the other:"
    )


def _signed(value: float, metric: str) -> str:
    written = written_number(value, metric)
    return f"+{written}" if value > 0 else written


def _percent(value: float, least: float, most: float) -> float:
    return round(3 + 94 * (value - least) / (most - least), 1) if most > least else 50.0
