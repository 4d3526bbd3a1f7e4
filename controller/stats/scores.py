"""The scores that a comparison rests on: configurations x seeds x rows, and the rows of baselines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

__all__ = ["Direction", "Scores", "make_scores"]


Direction = Literal["maximize", "minimize"]
"""Which end of a metric is the better one."""


@dataclass(frozen=True, slots=True)
class Scores:
    """One metric of one split; the rows are the same everywhere and in the same order."""

    values: NDArray[np.float64]
    """(configurations, seeds, rows); NaN in all rows of a seed that a configuration lacks. Baselines come last."""
    seeds: NDArray[np.int64]
    """(configurations,): how many seeds each has; 1 for a baseline."""
    trained: NDArray[np.bool_]
    """(configurations,): False for a baseline, which another seed would not change."""

    @property
    def rows(self) -> int:
        return int(self.values.shape[2])

    def seed_averages(self) -> NDArray[np.float64]:
        """The mean over the seeds of each configuration, (configurations, rows)."""
        averages: NDArray[np.float64] = np.nansum(self.values, axis=1) / self.seeds[:, None]
        return averages


def make_scores(configurations: Sequence[NDArray[np.float64]], baselines: Sequence[NDArray[np.float64]] = ()) -> Scores:
    """The scores of trained configurations, each (seeds, rows), and of baselines, each (rows,).

    The numbers of seeds may differ: a configuration counts with those it has, and the variance between seeds is
    pooled over all. Raises ValueError for other rows, fewer than two rows, a missing or an infinite score.
    """
    tables = [np.asarray(table, dtype=np.float64) for table in configurations]
    tables += [np.asarray(row, dtype=np.float64)[None] for row in baselines]
    if not tables:
        raise ValueError("scores of no configuration; give at least one")
    rows = tables[0].shape[-1]
    for place, table in enumerate(tables):
        _check(table, place=place, rows=rows)
    values = np.full((len(tables), max(len(table) for table in tables), rows), np.nan)
    for place, table in enumerate(tables):
        values[place, : len(table)] = table
    return Scores(
        values=values,
        seeds=np.array([len(table) for table in tables], dtype=np.int64),
        trained=np.arange(len(tables)) < len(configurations),
    )


def _check(table: NDArray[np.float64], *, place: int, rows: int) -> None:
    if table.ndim != 2 or table.shape[0] < 1 or table.shape[1] < 2:
        raise ValueError(
            f"configuration {place} has scores of the shape {table.shape}; "
            "(seeds, rows) with at least one seed and two rows is needed"
        )
    if table.shape[1] != rows:
        raise ValueError(
            f"configuration {place} has {table.shape[1]} rows and configuration 0 has {rows}; "
            "comparisons are paired by row: give the rows that all of them have"
        )
    if not np.isfinite(table).all():
        raise ValueError(
            f"configuration {place} has a score that is missing or infinite; "
            "leave out that seed, or that row everywhere"
        )
