"""One run beside earlier ones: everything that may page is tested, everything else is a warning. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import NamedTuple

import numpy as np

from controller.regression.case import Case
from controller.regression.causes import causes_of
from controller.regression.document import Regression, Status, TestedLoss, TrendPoint
from controller.regression.match import Matched, Night, direction_of, match
from controller.regression.noise import overall, seeds_variance
from controller.regression.paging import tested
from controller.regression.warnings import warnings_of
from controller.regression.words import heading_of, sentences_of
from controller.stats.student import t_quantile

__all__ = ["Judgement", "Loser", "judge"]

_AFFECTED = 5


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
    tests, untested = tested(case, matched, reference=reference, past=past, reason=reason)
    reason = reason or (" ".join(case.troubles) if case.chosen.reference and not reference else _undecided(tests))
    status = _status(case, tests, reason=reason, compared=bool(reference))
    before = _before(matched, tests, reference=reference)
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
        warnings=(
            *case.troubles,
            *(one.why for one in untested if one.kind == "floor"),
            *_unsure_floors(tests),
            *_unfinished(matched),
            *warnings_of(matched, tonight.run, reference=reference, past=past, asked=case.asked),
        ),
        tests=tests,
        untested=untested,
        causes=() if before is None else causes_of(tonight, before, matched.labels),
        trend=tuple(_trend(case, matched, status)),
    )
    return Judgement(regression, () if before is None else tuple(_losers(matched, tonight.run, before.run)))


def _alike(matched: Matched, run: str, reference: Sequence[str]) -> bool:
    """Whether a run trained what the newest reference did: another prompt's level is no noise between nights."""
    return not reference or matched.configured(run) == matched.configured(reference[0])


def _before(matched: Matched, tests: Sequence[TestedLoss], *, reference: Sequence[str]) -> Night | None:
    """The run whose differences to tonight are worth a look: of what was lost to, the first; else the newest."""
    order = ("regressed", "suspected")
    lost = sorted((test for test in tests if test.shown in order and test.against), key=lambda t: order.index(t.shown))
    runs = lost[0].against if lost else reference
    return matched.nights[runs[0]] if runs else None


def _unfinished(matched: Matched) -> Iterator[str]:
    """A sentence for each run of which some trials were still to come when it was read."""
    for night in matched.nights.values():
        states = [trial.state for trial in night.collected.trials]
        waiting = sum(state not in ("succeeded", "failed") for state in states)
        if waiting:
            count = f"{waiting:,} of {len(states):,} trials were to come"
            yield f"Run {night.run} was not finished when it was read: {count}."


def _unsure_floors(tests: Sequence[TestedLoss]) -> Iterator[str]:
    for test in tests:
        if test.kind == "floor" and test.shown == "undecided" and test.size > 0:
            yield f"One seed does not say whether {test.metric} misses its floor by chance: vary more seeds."


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
