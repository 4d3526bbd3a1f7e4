"""One run beside earlier ones: everything that may page is tested, everything else is a warning. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

import numpy as np

from controller.regression.causes import causes_of
from controller.regression.decision import Stage, adjusted, decide
from controller.regression.document import Regression, Status, TestedLoss, TrendPoint
from controller.regression.match import Matched, Night, direction_of, match
from controller.regression.noise import Tested, drop_from, overall, seeds_variance, short_of
from controller.regression.references import Chosen
from controller.regression.warnings import warnings_of
from controller.regression.words import heading_of, sentences_of
from controller.report.document import Objective
from controller.spec.model import Regression as Asked
from controller.stats.student import t_quantile

__all__ = ["Case", "Judgement", "Loser", "judge"]

_AFFECTED = 5


class Case(NamedTuple):
    """What is to be judged, and by what."""

    tonight: Night
    others: Sequence[Night]
    """Those of `chosen` that can be read."""
    chosen: Chosen
    asked: Asked
    objective: Objective
    stage: Stage
    evidence: str
    statuses: Mapping[str, Status]
    """Of earlier runs, as far as they were judged."""
    troubles: tuple[str, ...] = ()
    """Why some could not be read."""


class Loser(NamedTuple):
    """A row that lost, and the configuration whose texts show it."""

    example_id: str
    label: str
    before: float
    after: float
    run: str
    """Of the reference, whose text is the one before."""


class Judgement(NamedTuple):
    """The verdict, and the rows that a reader wants to see."""

    regression: Regression
    losers: tuple[Loser, ...]


def judge(case: Case) -> Judgement:
    """The verdict on tonight."""
    goal = case.objective
    first = [*case.chosen.reference, *([case.chosen.anchor] if case.chosen.anchor else [])]
    found = match(case.tonight, case.others, needed=first, metric=goal.metric, split=goal.split)
    reason = found if isinstance(found, str) else ""
    if isinstance(found, str):
        found = match(case.tonight, (), needed=(), metric=goal.metric, split=goal.split)
    if isinstance(found, str):
        return Judgement(_without_tests(case, found), ())
    return _judged(case, found, reason)


def _judged(case: Case, matched: Matched, reason: str) -> Judgement:
    here = set(matched.nights)
    reference = matched.different([run for run in case.chosen.reference if run in here])
    past = matched.different([run for run in case.chosen.past if run in here and _alike(matched, run, reference)])
    tests = tuple(_tests(case, matched, reference=reference, past=past))
    reason = reason or (" ".join(case.troubles) if case.chosen.reference and not reference else _undecided(tests))
    status = _status(case, tests, reason=reason, compared=bool(reference))
    before = matched.nights[reference[0]] if reference else None
    tonight = case.tonight
    regression = Regression(
        run=tonight.run,
        status=status,
        complete=all(trial.state == "succeeded" for trial in tonight.collected.trials),
        evidence=case.evidence,
        spec_sha256=case.tonight.collected.plan.spec_sha256,
        data_until=_moment(tonight),
        metric=matched.metric,
        split=case.objective.split,
        seeds=min(len(tonight.configurations[label]) for label in matched.labels),
        stage=case.stage,
        reference=reference,
        past=len(past),
        heading=heading_of(status, tests),
        sentences=sentences_of(status, tests, reason=reason or case.chosen.why_none, past=len(past)),
        warnings=(*case.troubles, *warnings_of(matched, tonight.run, reference=reference, past=past, asked=case.asked)),
        tests=tests,
        causes=() if before is None else causes_of(tonight, before, matched.labels),
        trend=tuple(_trend(case, matched, status)),
    )
    return Judgement(regression, () if before is None else tuple(_losers(matched, tonight.run, before.run)))


def _alike(matched: Matched, run: str, reference: Sequence[str]) -> bool:
    """Whether a run trained what the newest reference did: another prompt's level is no noise between nights."""
    return not reference or matched.configured(run) == matched.configured(reference[0])


def _tests(case: Case, matched: Matched, *, reference: tuple[str, ...], past: tuple[str, ...]) -> Iterator[TestedLoss]:
    """All that may page, with p-values adjusted for their number."""
    compared = [("reference", reference)] if reference else []
    anchor = case.chosen.anchor
    if anchor is not None and anchor in matched.nights and (anchor,) != reference:
        compared.append(("anchor", (anchor,)))
    floors = {name: floor for name, floor in case.asked.floors.items() if matched.fitted(name) is not None}
    count = len(compared) + len(floors)
    nights = [matched.places[run] for run in past]
    tonight = matched.places[case.tonight.run]
    tolerance = case.asked.drops.get(case.objective.metric, 0.0)
    for kind, runs in compared:
        fitted = matched.fitted(matched.metric)
        against = [matched.places[run] for run in runs]
        if fitted is None:
            continue
        direction = direction_of(matched.metric)
        tested = drop_from(fitted, tonight, against, past=nights, direction=direction, tolerance=tolerance)
        other = float(np.mean([overall(fitted, side) for side in against]))
        mean = overall(fitted, tonight)
        yield _loss(case, tested, kind=kind, metric=matched.metric, against=runs, mean=mean, other=other, of=count)
    for name, floor in floors.items():
        if (fitted := matched.fitted(name)) is not None:
            tested = short_of(fitted, tonight, floor=floor, past=nights, direction=direction_of(name))
            mean = overall(fitted, tonight)
            yield _loss(case, tested, kind="floor", metric=name, against=(), mean=mean, other=floor, of=count)


def _loss(
    case: Case,
    tested: Tested,
    *,
    kind: str,
    metric: str,
    against: tuple[str, ...],
    mean: float,
    other: float,
    of: int,
) -> TestedLoss:
    p = adjusted(tested.p, tests=of)
    return TestedLoss.model_validate(
        {
            "kind": kind,
            "metric": metric,
            "against": against,
            "mean": mean,
            "other": other,
            "size": tested.size,
            "low": tested.low,
            "tolerance": 0.0 if kind == "floor" else case.asked.drops.get(case.objective.metric, 0.0),
            "p": p,
            "noise": tested.noise,
            "standard_error": tested.standard_error,
            "shown": "undecided" if tested.noise == "none" else decide(p, stage=case.stage),
        }
    )


def _undecided(tests: Sequence[TestedLoss]) -> str:
    if any(test.kind != "floor" and test.shown == "undecided" for test in tests):
        return (
            "Every configuration has one seed and fewer than 5 good runs came before, so nothing says how much runs "
            "vary. Give vary.seeds two or more."
        )
    return ""


def _status(case: Case, tests: Sequence[TestedLoss], *, reason: str, compared: bool) -> Status:
    shown = {test.shown for test in tests}
    if "regressed" in shown:
        return "regression"
    if "suspected" in shown:
        return "suspicion"
    if not compared:
        return "not_comparable" if case.chosen.reference and (reason or case.troubles) else "no_reference"
    return "not_comparable" if reason else "ok"


def _without_tests(case: Case, reason: str) -> Regression:
    return Regression(
        run=case.tonight.run,
        status="not_comparable",
        complete=False,
        evidence=case.evidence,
        spec_sha256=case.tonight.collected.plan.spec_sha256,
        data_until=_moment(case.tonight),
        metric=case.objective.metric,
        split=case.objective.split,
        seeds=0,
        stage=case.stage,
        heading=heading_of("not_comparable", ()),
        sentences=(reason,),
        warnings=case.troubles,
    )


def _moment(night: Night) -> datetime:
    moment = night.collected.data_until
    if moment is None:
        raise ValueError(f"run {night.run!r} has no result, so there is nothing to judge")
    return moment


def _trend(case: Case, matched: Matched, status: Status) -> Iterator[TrendPoint]:
    """The runs of the table in the order of time, tonight last."""
    fitted = matched.fitted(matched.metric)
    if fitted is None:
        return
    half = t_quantile(0.975, fitted.components.seed_df) if fitted.components.seed_df else 0.0
    others = [run for run in matched.nights if run != case.tonight.run]
    for run in [*sorted(others, key=lambda name: (_moment(matched.nights[name]), name)), case.tonight.run]:
        side = matched.places[run]
        yield TrendPoint(
            run=run,
            at=_moment(matched.nights[run]),
            mean=overall(fitted, side),
            half=half * math.sqrt(seeds_variance(fitted, side)),
            status=status if run == case.tonight.run else case.statuses.get(run, "ok"),
        )


def _losers(matched: Matched, run: str, before: str) -> Iterator[Loser]:
    """The rows that lost most on average over the configurations, with the texts of the one that lost most."""
    table = matched.tables[matched.metric]
    sign = 1.0 if direction_of(matched.metric) == "maximize" else -1.0
    old, new = (
        np.array([table.tables[place].mean(axis=0) for place in matched.places[name].places]) for name in (before, run)
    )
    lost = sign * (old - new)
    label = matched.labels[int(lost.mean(axis=1).argmax())]
    whole = lost.mean(axis=0)
    for at in np.argsort(-whole, kind="stable")[:_AFFECTED] if matched.rows else ():
        if whole[at] > 0:
            yield Loser(matched.rows[at], label, float(old[:, at].mean()), float(new[:, at].mean()), before)
