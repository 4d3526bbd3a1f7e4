"""Everything that may page, tested, with p-values adjusted for their number. Pure.

A floor is about tonight's numbers. Where the compared runs have no table of its metric in common (one lacks it, or a
loss is only comparable in bits), it is tested on tonight's own table, and past runs say nothing of its noise.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from controller.regression.case import Case
from controller.regression.decision import adjusted, decide
from controller.regression.document import TestedLoss, Untested
from controller.regression.match import Matched, direction_of, match
from controller.regression.noise import Side, Tested, drop_from, overall, short_of
from controller.stats.components import Fit

__all__ = ["Paging", "tested"]


class Paging(NamedTuple):
    """What was tested, and what could not be."""

    losses: tuple[TestedLoss, ...]
    untested: tuple[Untested, ...]


class _Test(NamedTuple):
    """One loss before its p-value is adjusted."""

    kind: str
    metric: str
    against: tuple[str, ...]
    mean: float
    other: float
    tolerance: float
    found: Tested


def tested(
    case: Case, matched: Matched, *, reference: tuple[str, ...], past: tuple[str, ...], reason: str = ""
) -> Paging:
    """Tonight against the reference, against the anchor, and each floor, in this order.

    `reason` is why no other run could be matched, where none could.
    """
    compared = list(_compared(case, matched, reference=reference, past=past))
    floors, untested = [], list(_missing_anchor(case, matched, reason))
    alone = _alone(case, matched)
    for metric, floor in case.asked.floors.items():
        for table, nights in ((matched, past), (alone, ())):
            if table is not None and (fitted := table.fitted(metric)) is not None:
                floors.append(_of_floor(case, table, fitted, metric=metric, floor=floor, past=nights))
                break
        else:
            why = f"The floor of {metric} was not tested: this run has no {metric} on {case.objective.split}."
            untested.append(Untested(kind="floor", metric=metric, why=why))
    found = [*compared, *floors]
    return Paging(tuple(_loss(case, test, of=len(found)) for test in found), tuple(untested))


def _missing_anchor(case: Case, matched: Matched, reason: str) -> Iterator[Untested]:
    anchor = case.chosen.anchor
    if anchor is not None and anchor not in matched.nights:
        why = next((one.why for one in matched.skipped if one.run == anchor), reason or "it cannot be read")
        said = f"The anchor {anchor} was not compared: {why.rstrip('.')}."
        yield Untested(kind="anchor", metric=matched.metric, why=said)


def _alone(case: Case, matched: Matched) -> Matched | None:
    """Tonight without the others, if a floor is on something that is not comparable with them."""
    if all(matched.fitted(metric) is not None for metric in case.asked.floors):
        return None
    found = match(case.tonight, (), needed=(), metric=case.objective.metric, split=case.objective.split)
    return None if isinstance(found, str) else found


def _compared(case: Case, matched: Matched, *, reference: tuple[str, ...], past: tuple[str, ...]) -> Iterator[_Test]:
    metric = matched.metric
    fitted = matched.fitted(metric)
    if fitted is None:
        return
    anchor = case.chosen.anchor
    anchors = () if anchor is None or anchor not in matched.nights or (anchor,) == reference else (anchor,)
    tonight = matched.places[case.tonight.run]
    tolerance = case.asked.drops.get(case.objective.metric, 0.0)
    for kind, runs in (("reference", reference), ("anchor", anchors)):
        if runs:
            against = _sides(matched, runs)
            nights, direction = _sides(matched, past), direction_of(metric)
            found = drop_from(fitted, tonight, against, past=nights, direction=direction, tolerance=tolerance)
            other = float(np.mean([overall(fitted, side) for side in against]))
            yield _Test(kind, metric, runs, overall(fitted, tonight), other, tolerance, found)


def _of_floor(case: Case, table: Matched, fitted: Fit, *, metric: str, floor: float, past: Sequence[str]) -> _Test:
    tonight = table.places[case.tonight.run]
    found = short_of(fitted, tonight, floor=floor, past=_sides(table, past), direction=direction_of(metric))
    return _Test("floor", metric, (), overall(fitted, tonight), floor, 0.0, found)


def _sides(table: Matched, runs: Sequence[str]) -> list[Side]:
    return [table.places[run] for run in runs]


def _loss(case: Case, test: _Test, *, of: int) -> TestedLoss:
    found = test.found
    p = adjusted(found.p, tests=of)
    return TestedLoss.model_validate(
        {
            "kind": test.kind,
            "metric": test.metric,
            "against": test.against,
            "mean": test.mean,
            "other": test.other,
            "size": found.size,
            "low": found.low,
            "tolerance": test.tolerance,
            "p": p,
            "noise": found.noise,
            "standard_error": found.standard_error,
            "shown": "undecided" if found.noise == "none" else decide(p, stage=case.stage),
        }
    )
