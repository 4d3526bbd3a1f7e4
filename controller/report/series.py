"""What a plot or a table of steps shows: the curves of a page, from the untrained model on. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from controller.report.document import Configuration, Curve, Report

__all__ = ["FLOOR", "Series", "few_steps", "series_of"]

FLOOR = "floor"
_LEVELS: Mapping[str, Literal["baseline", "floor"]] = {"zero-shot": "baseline", "lead": "floor"}


class Series(NamedTuple):
    """One line, in the units of the data."""

    letter: str
    """`floor` for the spec's own floor."""
    label: str
    points: tuple[tuple[int, float], ...]
    """Step and value."""
    kind: Literal["trained", "baseline", "floor"] = "trained"
    """A floor is what has to be surpassed: lead-k, or the value that the spec's `regression.floors` names."""

    @property
    def level(self) -> bool:
        """One value for all steps."""
        return self.kind != "trained"


def series_of(report: Report, split: str, metric: str) -> list[Series]:
    """Trained configurations in the order of the ranking, then the levels of the baselines and the spec's floor."""
    levels = {} if split == "train" else _levels(report, metric)
    zero_shots = {found.prompt: value for found, value in levels.values() if found.kind == "zero-shot"}
    series = []
    for found in report.configurations:
        for curve in found.curves:
            if (curve.split, curve.metric) == (split, metric):
                points = _from_zero(curve, zero_shots.get(found.prompt))
                series.append(Series(found.letter, found.label, points))
    last = max((line.points[-1][0] for line in series), default=1)
    first = 0 if zero_shots else min((line.points[0][0] for line in series), default=0)
    flat = [
        Series(found.letter, found.label, ((first, value), (last, value)), _LEVELS[found.kind])
        for found, value in levels.values()
    ]
    if split == report.objective.split and metric in report.setup.floors:
        floor = report.setup.floors[metric]
        flat.append(Series(FLOOR, "regression.floors", ((first, floor), (last, floor)), "floor"))
    return [*series, *flat]


def few_steps(series: Sequence[Series], count: int) -> list[int]:
    """At most `count` of the steps of the curves, evenly spread, the first and the last among them."""
    steps = sorted({step for line in series if not line.level for step, _ in line.points})
    if len(steps) <= count:
        return steps
    stride = -(-(len(steps) - 1) // (count - 1))
    return sorted({steps[0], *steps[:0:-1][::stride]})


def _levels(report: Report, metric: str) -> dict[str, tuple[Configuration, float]]:
    baselines = [found for found in report.configurations if found.kind != "lora"]
    return {
        found.letter: (found, found.metrics["validation"][metric].mean)
        for found in baselines
        if metric in found.metrics.get("validation", {})
    }


def _from_zero(curve: Curve, zero_shot: float | None) -> tuple[tuple[int, float], ...]:
    """The curve, from the untrained model on: nothing is evaluated at step 0, as the baseline already was."""
    points = tuple((point.step, point.value) for point in curve.points)
    return points if zero_shot is None or points[0][0] == 0 else ((0, zero_shot), *points)
