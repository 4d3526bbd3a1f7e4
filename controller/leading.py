"""Which configuration leads while a sweep goes on; the report, which reads every row, has the last word. Pure."""

from __future__ import annotations

from controller.spec.model import Objective
from controller.states import Situation
from job.contract.config import PlannedTrial
from job.contract.metric_names import DIRECTIONS

__all__ = ["leading_so_far"]


def leading_so_far(situation: Situation, objective: Objective) -> str:
    """The trained configuration whose finished seeds have the best mean, in a few words; empty before the first."""
    means: dict[str, list[float]] = {}
    seeds: dict[str, int] = {}
    first: dict[str, PlannedTrial] = {}
    for trial in situation.plan.trials:
        if trial.kind != "lora":
            continue
        first.setdefault(trial.config_id, trial)
        seeds[trial.config_id] = seeds.get(trial.config_id, 0) + 1
        result = situation.ledger.record(trial.trial_id).result
        found = None if result is None else result.metrics.get(objective.split, {}).get(objective.metric)
        if found is not None:
            means.setdefault(trial.config_id, []).append(found.mean)
    if not means:
        return ""
    direction = objective.direction or DIRECTIONS.get(objective.metric, "maximize")
    sign = -1 if direction == "minimize" else 1
    best = max(means, key=lambda config_id: sign * sum(means[config_id]) / len(means[config_id]))
    mean, trial = sum(means[best]) / len(means[best]), first[best]
    of = "" if seeds[best] == 1 else f", {len(means[best])} of {seeds[best]} seeds"
    measured = f"{len(means)} of {len(first)} configurations measured"
    where = f"{objective.metric} {mean:.3f} on {objective.split}"
    return f"{trial.letter} ({trial.label}): {where}{of}; {measured}"
