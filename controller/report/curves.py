"""What happened during training, step by step. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from controller.collect import Measured, Point
from controller.report.document import Curve, CurvePoint, Objective
from controller.report.ranking import Standing

__all__ = ["curves_of"]

POINTS = 100


def curves_of(standing: Standing, objective: Objective) -> tuple[Curve, ...]:
    """Training loss, and the objective and completion loss on validation, of a trained configuration."""
    if not standing.trained or not standing.measured:
        return ()
    metrics = dict.fromkeys([objective.metric, "completion_loss"])
    curves = [_curve("train", "loss", [dict(seed.losses) for seed in standing.measured])]
    curves += [_curve("validation", name, [_evaluated(seed, name) for seed in standing.measured]) for name in metrics]
    return tuple(curve for curve in curves if curve.points)


def _evaluated(seed: Measured, metric: str) -> dict[int, float]:
    records = [record for record in seed.evaluations if record.split == "validation" and metric in record.metrics]
    return {record.step: record.metrics[metric].mean for record in records}


def _curve(split: str, metric: str, seeds: Sequence[Mapping[int, float]]) -> Curve:
    """The mean of the seeds at the steps that all of them have."""
    steps = sorted(set(seeds[0]).intersection(*seeds[1:]))
    means = [Point(step, sum(seed[step] for seed in seeds) / len(seeds)) for step in steps]
    points = tuple(CurvePoint(step=point.step, value=point.value) for point in _thinned(means))
    return Curve.model_validate({"split": split, "metric": metric, "seeds": len(seeds), "points": points})


def _thinned(points: Sequence[Point]) -> list[Point]:
    """At most POINTS of them, each the mean of its neighbours."""
    width = -(-len(points) // POINTS)
    windows = [points[start : start + width] for start in range(0, len(points), max(width, 1))]
    return [Point(window[-1].step, sum(point.value for point in window) / len(window)) for window in windows]
