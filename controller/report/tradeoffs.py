"""Quality beside what it takes: training time, memory and adapter size, with the Pareto front of each. Pure.

Limits
- The front is one of means: the set of the verdict says between which of its members a difference is shown.
- Seconds are as they were measured; a busy machine makes any of them longer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from controller.collect import Collected, Measured, TrialData
from controller.report.choices import Front, Need, Option, Tradeoffs
from controller.report.conclusions import Decided
from controller.report.ranking import Ranking, Standing
from controller.report.tradeoff_words import said
from controller.report.verdict import main_table
from job.contract.documents import Plan

__all__ = ["CLEARLY", "differs", "front_of", "needed", "tradeoffs_of"]

CLEARLY: Mapping[Need, float] = {"train_s": 0.05, "peak_bytes": 0.05, "adapter_bytes": 0.0}
"""Share by which a need has to be lower to count as lower: the same work takes a few percent more or less each time,
while the size of an adapter is exact."""


def tradeoffs_of(collected: Collected, ranking: Ranking, decided: Decided) -> Tradeoffs | None:
    """The trade-offs among the configurations of the verdict and their baselines; None with fewer than two."""
    table = main_table(ranking)
    if table is None or decided.kind == "none":
        return None
    goal = ranking.objective
    source = _Source.of(collected)
    there = [one for one in ranking.standings if one.planned.letter in table.letters]
    if sum(one.trained for one in there) < 2:
        return None
    options = tuple(option for one in there for option in _option(one, source, tied=decided.tied))
    found = Tradeoffs(
        metric=goal.metric,
        split=goal.split,
        direction=goal.direction,
        options=options,
        fronts=tuple(_fronts(options, upward=goal.direction == "maximize", best_first=decided.tied)),
        sentences=(),
    )
    return found.model_copy(update={"sentences": said(found, decided, source.shared)})


def front_of(options: Sequence[Option], need: Need, *, upward: bool) -> tuple[str, ...]:
    """Letters of the Pareto front, the one that needs least first; options whose need is not known are passed over.

    Walked from the best mean down: an option is on the front when it needs clearly less than the last one that is.
    Equal means that need about the same are on it together.
    """
    sign = -1 if upward else 1
    known = [(sign * one.mean, needed(one, need), one.letter) for one in options if needed(one, need) is not None]
    front: list[tuple[float, float, str]] = []
    for loss, amount, letter in sorted((loss, amount or 0.0, letter) for loss, amount, letter in known):
        if not front or amount < front[-1][1] * (1 - CLEARLY[need]):
            front.append((loss, amount, letter))
        elif loss == front[-1][0] and amount * (1 - CLEARLY[need]) <= front[-1][1]:
            front.append((loss, front[-1][1], letter))
    return tuple(letter for _, _, letter in reversed(front))


def needed(option: Option, need: Need) -> float | None:
    """How much of it the option needs; None where that is not known."""
    return {"train_s": option.train_s, "peak_bytes": option.peak_bytes, "adapter_bytes": option.adapter_bytes}[need]


class _Source(NamedTuple):
    """Where the needs of a trial are found."""

    measured: Mapping[str, Measured]
    """By trial id."""
    shared: frozenset[str]
    """Letters of trained configurations of which a trial had a process together with others."""
    price: float | None

    @classmethod
    def of(cls, collected: Collected) -> _Source:
        together = _together(collected.plan)
        return cls(
            measured={one.planned.trial_id: one.measured for one in collected.trials if one.measured is not None},
            shared=frozenset(one.planned.letter for one in collected.trials if _has_company(one, together)),
            price=collected.spec.execution.price_per_gpu_hour,
        )

    def train_s(self, measured: Measured) -> float | None:
        """Device-seconds that the adapter took, whichever trial trained it; None where that one is not in the plan."""
        result = measured.result
        seen = {result.trial_id}
        while result.reused_from is not None:
            owner = self.measured.get(result.reused_from.removeprefix("trials/").split("/")[0])
            if owner is None or owner.result.trial_id in seen:
                return None
            result = owner.result
            seen.add(result.trial_id)
        return result.seconds.train * result.device.count


def _together(plan: Plan) -> frozenset[str]:
    return frozenset(trial_id for group in plan.groups if len(group.trial_ids) > 1 for trial_id in group.trial_ids)


def _has_company(trial: TrialData, together: frozenset[str]) -> bool:
    return trial.planned.kind == "lora" and trial.planned.trial_id in together


def _option(standing: Standing, source: _Source, *, tied: Sequence[str]) -> Iterator[Option]:
    if standing.objective is None:
        return
    planned, metric = standing.planned, standing.objective
    spent = [source.train_s(seed) for seed in standing.measured] if standing.trained else [0.0]
    known = [seconds for seconds in spent if seconds is not None]
    train_s = sum(known) / len(known) if known else None
    unknown = planned.kind == "lead" or planned.letter in source.shared
    results = [seed.result for seed in standing.measured]
    yield Option(
        letter=planned.letter,
        standing="baseline" if not standing.trained else "tied" if planned.letter in tied else "worse",
        mean=metric.mean,
        low=metric.low,
        high=metric.high,
        train_s=train_s,
        cost=None if source.price is None or train_s is None else train_s / 3600 * source.price,
        peak_bytes=None if unknown else max(result.device.peak_bytes for result in results),
        adapter_bytes=max(result.adapter_bytes for result in results),
    )


def _fronts(options: Sequence[Option], *, upward: bool, best_first: Sequence[str]) -> Iterator[Front]:
    by_letter = {one.letter: one for one in options}
    for need in CLEARLY:
        if not differs(options, need):
            continue
        amounts = {letter: needed(by_letter[letter], need) for letter in best_first if letter in by_letter}
        known = {letter: amount for letter, amount in amounts.items() if amount is not None}
        if known:
            cheapest = min(known, key=lambda letter: known[letter])
            yield Front(need=need, letters=front_of(options, need, upward=upward), cheapest_tied=cheapest)


def differs(options: Sequence[Option], need: Need) -> bool:
    """Whether some trained option needs clearly less of it than another."""
    amounts = [needed(one, need) for one in options if one.standing != "baseline"]
    known = [amount for amount in amounts if amount is not None]
    return len(known) > 1 and min(known) < max(known) * (1 - CLEARLY[need])
