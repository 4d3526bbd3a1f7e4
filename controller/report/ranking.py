"""The configurations with their means and intervals, in the order of the objective. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from controller.collect import Measured, TrialData
from controller.report.comparable import BITS, LOSS, Compared, Subject, Tables, tables_of
from controller.report.document import Metric, Objective
from controller.report.variants import VARIANTS, Variant, key_of
from controller.stats.contrasts import means
from job.contract.config import PlannedTrial
from job.contract.documents import ScoredSplit
from job.contract.metric_names import ALWAYS, METRIC_GROUPS

__all__ = ["Ranking", "Standing", "ranking_of"]


class _Range(NamedTuple):
    """From the lowest to the highest value of a metric."""

    low: float
    high: float


_ANY = _Range(-math.inf, math.inf)
_RANGES: Mapping[str, _Range] = {
    **dict.fromkeys(METRIC_GROUPS["rouge"], _Range(0.0, 1.0)),
    **dict.fromkeys((*ALWAYS, BITS), _Range(0.0, math.inf)),
}
"""Values that a metric can have; a symmetric interval of a few rows may reach beyond them."""
_SAME = 12  # decimals; means of the same scores differ only by the order of their addition


@dataclass(frozen=True, slots=True)
class Standing:
    """One configuration: its seeds and what they measured."""

    trials: tuple[TrialData, ...]
    metrics: Mapping[ScoredSplit, Mapping[str, Metric]]
    objective: Metric | None
    rank: int | None
    """Of trained configurations alone."""
    variant: Variant = "whole"
    """Of a zero-shot baseline: which scores of its texts `metrics` has, the better ones by the objective."""
    other: Metric | None = None
    """The objective of the other variant; None where there is no other."""

    @property
    def planned(self) -> PlannedTrial:
        """Any of its seeds, where the seed does not matter."""
        return self.trials[0].planned

    @property
    def measured(self) -> tuple[Measured, ...]:
        """The finished seeds."""
        return tuple(trial.measured for trial in self.trials if trial.measured is not None)

    @property
    def trained(self) -> bool:
        return self.planned.kind == "lora"


@dataclass(frozen=True, slots=True)
class Ranking:
    """The configurations in their order, and the scores that it comes from."""

    standings: tuple[Standing, ...]
    """Those that have the objective, best first, then the others; ties stay in plan order."""
    objective: Objective
    """The spec's; bits per character in the place of a loss whose targets differ between prompts."""
    tables: Tables


def ranking_of(
    trials: Sequence[TrialData], objective: Objective, *, characters: Mapping[tuple[str, str], int]
) -> Ranking:
    """The ranking; `characters` are the lengths of target texts by split and example id, as far as they are known."""
    by_config: dict[str, list[TrialData]] = {}
    for trial in trials:
        by_config.setdefault(trial.planned.config_id, []).append(trial)
    plain = [Standing(tuple(seeds), metrics={}, objective=None, rank=None) for seeds in by_config.values()]
    tables = tables_of([subject for one in plain for subject in _subjects(one)], characters)
    goal = _comparable_goal(objective, tables)
    metrics = _metrics(tables)
    unranked = [_standing(one, metrics, goal) for one in plain]
    sign = -1 if goal.direction == "maximize" else 1
    best_first = sorted(
        (standing for standing in unranked if standing.objective is not None),
        key=lambda standing: sign * _comparable(standing),
    )
    others = [standing for standing in unranked if standing.objective is None]
    return Ranking(standings=(*_ranked(best_first), *others), objective=goal, tables=tables)


def _comparable_goal(objective: Objective, tables: Tables) -> Objective:
    in_bits = objective.metric == LOSS and BITS in tables.get(objective.split, {})
    return objective.model_copy(update={"metric": BITS}) if in_bits else objective


def _subjects(one: Standing) -> list[Subject]:
    """What is compared of a configuration: of zero-shot also its texts cut at their first newline."""
    of = one.planned
    variants = VARIANTS if of.kind == "zero-shot" else VARIANTS[:1]
    return [Subject(of.letter, one.trained, one.measured, variant) for variant in variants]


ByLetter = Mapping[str, Mapping[ScoredSplit, Mapping[str, Metric]]]
"""Key of a variant, split, metric."""


def _standing(plain: Standing, found: ByLetter, objective: Objective) -> Standing:
    """With its metrics; of zero-shot those of the variant that is harder to beat, beside losses and lengths of all."""
    letter, splits = plain.planned.letter, plain.planned.config.evaluation.final_splits
    of_variant = {variant: found.get(key_of(letter, variant), {}) for variant in VARIANTS}
    goals = {
        variant: metrics[objective.split][objective.metric]
        for variant, metrics in of_variant.items()
        if objective.metric in metrics.get(objective.split, {})
    }
    sign = -1 if objective.direction == "maximize" else 1
    ranked: list[Variant] = sorted(goals, key=lambda one: sign * round(goals[one].mean, _SAME))
    variant = ranked[0] if ranked else "whole"
    whole, chosen = of_variant["whole"], of_variant[variant]
    return replace(
        plain,
        metrics={split: {**whole[split], **chosen.get(split, {})} for split in splits if split in whole},
        objective=goals.get(variant),
        variant=variant,
        other=goals[ranked[1]] if len(ranked) > 1 else None,
    )


def _ranked(best_first: Sequence[Standing]) -> list[Standing]:
    ranked: list[Standing] = []
    place, rank, before = 0, 0, None
    for standing in best_first:
        if not standing.trained:
            ranked.append(standing)
            continue
        place += 1
        here = _comparable(standing)
        rank = rank if here == before else place
        before = here
        ranked.append(replace(standing, rank=rank))
    return ranked


def _comparable(standing: Standing) -> float:
    return round(standing.objective.mean, _SAME) if standing.objective else 0.0


def _metrics(tables: Tables) -> dict[str, dict[ScoredSplit, dict[str, Metric]]]:
    """Letter to split to metric."""
    found: dict[str, dict[ScoredSplit, dict[str, Metric]]] = {}
    for split, of_split in tables.items():
        for name, compared in of_split.items():
            for table in compared:
                for letter, metric in zip(table.letters, _estimates(table, _RANGES.get(name, _ANY)), strict=True):
                    found.setdefault(letter, {}).setdefault(split, {})[name] = metric
    return found


def _estimates(table: Compared, range_of: _Range) -> list[Metric]:
    sizes = [scores.shape for scores in table.tables]
    if table.fitted is None:
        alone = [float(scores.mean()) for scores in table.tables]
        return [
            Metric(mean=mean, low=None, high=None, half=None, rows=rows, seeds=seeds)
            for mean, (seeds, rows) in zip(alone, sizes, strict=True)
        ]
    return [
        Metric(
            mean=one.estimate,
            low=None if one.low is None else max(one.low, range_of.low),
            high=None if one.high is None else min(one.high, range_of.high),
            half=None if one.high is None else one.high - one.estimate,
            rows=rows,
            seeds=seeds,
        )
        for one, (seeds, rows) in zip(means(table.fitted), sizes, strict=True)
    ]
