"""The best configuration of a run that is still going on, with its error: the report's means, before the end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from controller.collect import Measured, TrialData, measured_of, read_examples
from controller.ledger import Ledger
from controller.report.comparable import LOSS, scores_behind
from controller.report.content import objective_of
from controller.report.document import Metric, Objective
from controller.report.numbers import counted, plus_minus, title
from controller.report.ranking import ranking_of
from controller.report.text import one_line
from controller.spec.model import SweepSpec
from job.contract.documents import Plan, Result
from job.contract.errors import ResultError
from job.store import Store

__all__ = ["Leader", "Leaders", "leader_of", "leader_text"]

_READERS = 8  # reading is waiting for the store


@dataclass(frozen=True, slots=True)
class Leader:
    """The configuration that is ahead."""

    letter: str
    label: str
    objective: Objective
    metric: Metric
    of: int
    """Trained configurations that have the objective, this one included."""


class Leaders:
    """Who is ahead at each look; the scores of a result are read once."""

    def __init__(self, store: Store, plan: Plan, spec: SweepSpec) -> None:
        self._store = store
        self._plan = plan
        self._objective = objective_of(spec)
        self._measured: dict[tuple[str, str], Measured | None] = {}
        """By trial and attempt; None for scores that are damaged, which the report says."""
        self._characters: Mapping[tuple[str, str], int] | None = None
        self._leader: Leader | None = None

    def now(self, ledger: Ledger) -> Leader | None:
        """The best of what has finished, or None. Raises TransientError and ConfigurationError as the store does."""
        records = [ledger.record(trial.trial_id) for trial in self._plan.trials]
        results = [record.result for record in records if record.result is not None]
        known = {(result.trial_id, result.attempt) for result in results}
        if known == self._measured.keys():
            return self._leader
        new = [result for result in results if (result.trial_id, result.attempt) not in self._measured]
        with ThreadPoolExecutor(max_workers=_READERS) as pool:
            read = dict(zip(((one.trial_id, one.attempt) for one in new), pool.map(self._scores, new), strict=True))
        found = {name: measured for name, measured in (self._measured | read).items() if name in known}
        self._leader = leader_of(self._trials(found), self._objective, characters=self._lengths())
        self._measured = found
        return self._leader

    def _trials(self, found: Mapping[tuple[str, str], Measured | None]) -> list[TrialData]:
        by_trial = {trial_id: measured for (trial_id, _), measured in found.items() if measured is not None}
        return [
            TrialData(trial, "succeeded", measured=by_trial[trial.trial_id])
            for trial in self._plan.trials
            if trial.trial_id in by_trial
        ]

    def _scores(self, result: Result) -> Measured | None:
        """Only what the objective needs: a large run has many metrics of many rows."""
        try:
            measured = measured_of(self._store, result)
        except ResultError:
            return None
        split, needed = self._objective.split, scores_behind(self._objective.metric)
        if split not in measured.scores:
            return None
        table = measured.scores[split]
        kept = {name: column for name, column in table.values.items() if name in needed}
        return replace(measured, scores={split: replace(table, values=kept)}, losses=(), evaluations=())

    def _lengths(self) -> Mapping[tuple[str, str], int]:
        if self._objective.metric != LOSS:
            return {}
        if not self._characters:
            try:
                examples = read_examples(self._store, self._plan)
            except ResultError:  # losses of different prompts are then not compared, as in the report
                return {}
            self._characters = {key: len(example.reference) for key, example in examples.items()}
        return self._characters


def leader_of(
    trials: Sequence[TrialData], objective: Objective, *, characters: Mapping[tuple[str, str], int]
) -> Leader | None:
    """The trained configuration that ranks first among finished trials, by the seeds that it has; None without one."""
    ranking = ranking_of(trials, objective, characters=characters)
    trained = [standing for standing in ranking.standings if standing.trained and standing.objective is not None]
    if not trained or trained[0].objective is None:
        return None
    first = trained[0]
    return Leader(first.planned.letter, first.planned.label, ranking.objective, trained[0].objective, len(trained))


def leader_text(leader: Leader | None) -> str:
    """`best so far: C (prompt=v1), ROUGE-L 0.231 +- 0.021 on validation, 32 rows, 1 seed`; empty without one."""
    if leader is None:
        return ""
    goal, metric = leader.objective, leader.metric
    size = f"{counted(metric.rows, 'row')}, {counted(metric.seeds, 'seed')}"
    score = f"{title(goal.metric)} {plus_minus(metric, goal.metric)} on {goal.split}"
    return f"best so far: {leader.letter} ({one_line(leader.label)}), {score}, {size}"
