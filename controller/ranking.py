"""The short ranked table that `run` and `status` end with; the report has the intervals. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Literal

from controller.ledger import Ledger
from controller.spec import Objective
from job.contract.config import PlannedTrial
from job.contract.documents import Plan, Result

__all__ = ["RankedRow", "columns_of", "rank"]

_ROUGE = ("rouge1", "rouge2", "rougeL")


@dataclass(frozen=True, slots=True)
class RankedRow:
    """One configuration: means over its seeds that have a result."""

    letter: str
    label: str
    seeds: int
    metrics: Mapping[str, float]
    """On the objective's split."""


def columns_of(objective: Objective) -> tuple[str, ...]:
    """The metrics of the table, the objective first."""
    rest = (*_ROUGE, "completion_loss", "generated_tokens")
    return (objective.metric, *(name for name in rest if name != objective.metric))


def rank(
    plan: Plan, ledger: Ledger, objective: Objective, *, direction: Literal["maximize", "minimize"]
) -> tuple[RankedRow, ...]:
    """Configurations with a result, best first by the objective; those without the metric last."""
    by_config: dict[str, list[tuple[PlannedTrial, Result]]] = {}
    for trial in plan.trials:
        if (result := ledger.record(trial.trial_id).result) is not None:
            by_config.setdefault(trial.config_id, []).append((trial, result))
    rows = [_row(trials, objective) for trials in by_config.values()]
    sign = -1.0 if direction == "maximize" else 1.0
    missing = float("inf")
    return tuple(sorted(rows, key=lambda row: sign * row.metrics.get(objective.metric, sign * missing)))


def _row(trials: Sequence[tuple[PlannedTrial, Result]], objective: Objective) -> RankedRow:
    scored = [result.metrics.get(objective.split, {}) for _, result in trials]
    metrics = {
        name: fmean(values)
        for name in columns_of(objective)
        if (values := [metrics[name].mean for metrics in scored if name in metrics])
    }
    return RankedRow(trials[0][0].letter, trials[0][0].label, len(trials), metrics)
