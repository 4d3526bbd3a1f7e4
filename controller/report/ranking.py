"""The configurations with their means and intervals, in the order of the objective. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from controller.collect import Measured, ScoreTable, TrialData
from controller.report.document import Metric, Objective
from controller.stats.intervals import Interval, mean_interval, ratio_interval
from job.contract.config import PlannedTrial
from job.contract.documents import ScoredSplit
from job.contract.metric_names import ALWAYS, METRIC_GROUPS

__all__ = ["Standing", "standings"]


class _Range(NamedTuple):
    """From the lowest to the highest value of a metric."""

    low: float
    high: float


_RATIOS: Mapping[str, tuple[str, str]] = {"completion_loss": ("completion_nll", "target_tokens")}
"""Headline number to the per-example scores whose sums it divides."""
_ANY = _Range(-math.inf, math.inf)
_RANGES: Mapping[str, _Range] = {
    **dict.fromkeys(METRIC_GROUPS["rouge"], _Range(0.0, 1.0)),
    **dict.fromkeys(ALWAYS, _Range(0.0, math.inf)),
}
"""Values that a metric can have; a symmetric interval of a few rows may reach beyond them."""
_PARTS = frozenset(part for parts in _RATIOS.values() for part in parts)
_SAME = 12  # decimals; means of the same scores differ only by the order of their addition


@dataclass(frozen=True, slots=True)
class Standing:
    """One configuration: its seeds and what they measured."""

    trials: tuple[TrialData, ...]
    metrics: Mapping[ScoredSplit, Mapping[str, Metric]]
    objective: Metric | None
    rank: int | None
    """Of trained configurations alone."""

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


def standings(trials: Sequence[TrialData], objective: Objective) -> tuple[Standing, ...]:
    """The configurations that have the objective, best first, then the others; ties stay in plan order."""
    by_config: dict[str, list[TrialData]] = {}
    for trial in trials:
        by_config.setdefault(trial.planned.config_id, []).append(trial)
    unranked = [_standing(tuple(seeds), objective) for seeds in by_config.values()]
    sign = -1 if objective.direction == "maximize" else 1
    best_first = sorted(
        (standing for standing in unranked if standing.objective is not None),
        key=lambda standing: sign * _comparable(standing),
    )
    others = [standing for standing in unranked if standing.objective is None]
    return (*_ranked(best_first), *others)


def _standing(trials: tuple[TrialData, ...], objective: Objective) -> Standing:
    measured = [trial.measured for trial in trials if trial.measured is not None]
    splits = trials[0].planned.config.evaluation.final_splits
    metrics = {
        split: _metrics([seed.scores[split] for seed in measured])
        for split in splits
        if measured and all(split in seed.scores for seed in measured)
    }
    found = metrics.get(objective.split, {}).get(objective.metric)
    return Standing(trials=trials, metrics=metrics, objective=found, rank=None)


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
        ranked.append(Standing(standing.trials, standing.metrics, standing.objective, rank))
    return ranked


def _comparable(standing: Standing) -> float:
    return round(standing.objective.mean, _SAME) if standing.objective else 0.0


def _metrics(tables: Sequence[ScoreTable]) -> dict[str, Metric]:
    """Each score that all seeds have, over the rows that all seeds have."""
    names = [name for name in tables[0].values if all(name in table.values for table in tables)]
    rows = _common_rows(tables)
    if not rows:
        return {}
    columns = {name: np.stack([_column(table, name, rows) for table in tables]) for name in names}
    found = {name: mean_interval(column) for name, column in columns.items() if name not in _PARTS}
    for name, (above, below) in _RATIOS.items():
        if above in columns and below in columns and columns[below].sum() > 0:
            found[name] = ratio_interval(columns[above], columns[below])
    return {name: _metric(interval, range_of=_RANGES.get(name, _ANY)) for name, interval in found.items()}


def _common_rows(tables: Sequence[ScoreTable]) -> tuple[str, ...]:
    first = tables[0].example_ids
    if all(table.example_ids == first for table in tables):
        return first
    common = reduce(frozenset.intersection, (frozenset(table.example_ids) for table in tables))
    return tuple(example_id for example_id in first if example_id in common)


def _column(table: ScoreTable, name: str, rows: tuple[str, ...]) -> NDArray[np.float64]:
    if table.example_ids == rows:
        return table.values[name]
    place = {example_id: index for index, example_id in enumerate(table.example_ids)}
    return table.values[name][[place[example_id] for example_id in rows]]


def _metric(interval: Interval, *, range_of: _Range) -> Metric:
    mean, low, high = interval.mean, interval.low, interval.high
    return Metric(
        mean=mean,
        low=None if low is None else max(low, range_of.low),
        high=None if high is None else min(high, range_of.high),
        half=None if high is None else high - mean,
        rows=interval.rows,
        seeds=interval.seeds,
    )
