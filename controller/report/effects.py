"""What mattered: the effects of the varied settings on the objective, and what cannot be told apart. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

from controller.report.conclusions import Changed, Effect, Effects, Interaction
from controller.report.ranking import Ranking, Standing
from controller.report.setup import settings_of
from controller.report.text import one_line, shortened
from controller.report.verdict import main_table
from controller.spec.model import SweepSpec
from controller.stats import effects as stats
from controller.stats.design import Change
from controller.stats.factors import Confound, Group, Settings, confounds, levels, told_apart
from controller.stats.scores import Direction

__all__ = ["effects_of"]

_NAME_LIMIT = 200  # characters
_NOT_SET = "\N{EN DASH}"


def effects_of(ranking: Ranking, spec: SweepSpec) -> Effects | None:
    """The effects among the configurations of the verdict; None where they differ in nothing, or cannot be compared."""
    table = main_table(ranking)
    if table is None or table.fitted is None:
        return None
    by_letter = {one.planned.letter: one for one in ranking.standings}
    places = sorted(range(table.trained), key=lambda at: (len(table.letters[at]), table.letters[at]))
    settings = [_settings(by_letter[table.letters[place]], spec) for place in places]
    factors = tuple(spec.vary.paths)
    groups = told_apart(settings, factors)
    if not groups or len({tuple(one[path] for path in factors) for one in settings}) < len(settings):
        return None
    goal = ranking.objective
    if _all_at_once(settings, groups) or _drawn(settings, groups, spec):
        found = stats.Effects(main=(), interactions=(), without=groups, balanced=False)
    else:
        found = stats.effects(table.fitted, places=places, settings=settings, factors=factors)
    return Effects(
        metric=goal.metric,
        split=goal.split,
        main=tuple(_effect(one, direction=goal.direction) for one in found.main),
        interactions=tuple(map(_interaction, found.interactions)),
        without=tuple(map(_joined, found.without)),
        balanced=found.balanced,
        notes=tuple(_notes(found, settings, factors)),
    )


def _all_at_once(settings: Settings, groups: Sequence[Group]) -> bool:
    """Whether each configuration differs from each other in everything that varies."""
    return len(groups) == 1 and len(groups[0]) > 1 and len(levels(settings, groups[0][0])) == len(settings)


def _drawn(settings: Settings, groups: Sequence[Group], spec: SweepSpec) -> bool:
    """Whether some value was drawn anew for each configuration: a draw is no level that others are compared with."""
    drawn = spec.vary.random.ranges if spec.vary.random is not None else {}
    of_draws = [group for group in groups if any(path in drawn for path in group)]
    return any(len(levels(settings, group[0])) == len(settings) for group in of_draws)


def _settings(standing: Standing, spec: SweepSpec) -> Mapping[str, str]:
    """All that is set, and an empty text for a varied path that does not apply."""
    return {**dict.fromkeys(spec.vary.paths, ""), **settings_of(standing.planned)}


def _effect(one: stats.Effect, *, direction: Direction) -> Effect:
    size = one.size
    return Effect(
        change=_changed(one.change),
        estimate=size.estimate,
        low=size.low,
        high=size.high,
        blocks=size.blocks,
        left_out=size.left_out,
        shown=_shown(size, direction),
    )


def _shown(size: stats.Size, direction: Direction) -> Literal["better", "worse", "neither"]:
    if not _excludes_zero(size):
        return "neither"
    return "better" if (size.estimate > 0) == (direction == "maximize") else "worse"


def _excludes_zero(size: stats.Size) -> bool:
    return size.low is not None and size.high is not None and (size.low > 0 or size.high < 0)


def _interaction(one: stats.Interaction) -> Interaction:
    size = one.size
    return Interaction(
        first=_changed(one.first),
        second=_changed(one.second),
        estimate=size.estimate,
        low=size.low,
        high=size.high,
        blocks=size.blocks,
        left_out=size.left_out,
        shown=_excludes_zero(size),
    )


def _changed(change: Change) -> Changed:
    return Changed(factor=_joined(change.factor), against=_joined(change.against), level=_joined(change.level))


def _joined(parts: Sequence[object]) -> str:
    """Paths that vary together, or their values, as one."""
    return shortened(one_line(" with ".join(str(part) or _NOT_SET for part in parts)), _NAME_LIMIT)


def _notes(found: stats.Effects, settings: Settings, factors: Sequence[str]) -> Iterator[str]:
    for confound in confounds(settings, factors):
        yield _confounded(confound)
    for group in found.without:
        yield _nothing_about(group)
    if found.main and not found.balanced:
        yield "Not every combination was compared: each effect rests on the configurations that differ in it alone."


def _confounded(confound: Confound) -> str:
    factor, other = one_line(confound.factor), one_line(confound.other)
    if confound.kind == "same":
        return f"{factor} and {other} vary together: no comparison tells their effects apart."
    if confound.kind == "decided":
        return f"Each {factor} comes with one {other}, so an effect of {factor} may be one of {other}."
    return f"{other} is the same for several {factor}: the update is scaled by alpha / r, which changes with the rank."


def _nothing_about(group: Group) -> str:
    return f"{_joined(group)}: no two configurations differ in this alone, so no effect can be estimated."
