"""Which adapter is meant by a letter, an id or `best`, and what the sweep says about it. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from controller.collect import Measured, TrialData
from controller.report.comparable import BITS, LOSS
from controller.report.ranking import Ranking, Standing
from controller.report.verdict import decided
from job.contract.config import PlannedTrial
from job.contract.errors import NotFoundError, SpecError

__all__ = ["BEST", "Chosen", "choose"]

BEST = "best"
_ID = re.compile(r"[0-9a-f]{1,12}")
_LISTED = 20


class Chosen(NamedTuple):
    """One trained and finished trial, and the configuration that it is a seed of."""

    planned: PlannedTrial
    measured: Measured
    standing: Standing
    """The configuration with all its seeds."""
    ranked: int
    """Trained configurations that have a rank."""
    tied: tuple[str, ...]
    """Letters of those that are not shown worse than any other."""


def choose(word: str, ranking: Ranking) -> Chosen:
    """The adapter that `word` names.

    A letter or `best` names a configuration: of its finished seeds the one with the best mean of the objective is
    taken. Raises SpecError for a word that names none, several, or a baseline; NotFoundError for what has no result.
    """
    standings = ranking.standings
    if word == BEST:
        standing = _best(standings)
        return _chosen(_best_seed(standing, ranking), standing, ranking)
    by_letter = next((one for one in standings if one.planned.letter == word), None)
    if by_letter is not None:
        _check_trained(by_letter.planned)
        return _chosen(_best_seed(by_letter, ranking), by_letter, ranking)
    found = [(trial, one) for one in standings for trial in one.trials if _is_meant(trial, word)]
    if len(found) == 1:
        _check_trained(found[0][0].planned)
        return _chosen(*found[0], ranking)
    candidates = [trial.planned for trial, _ in found] or [
        trial.planned for one in standings if one.trained for trial in one.trials
    ]
    why = "may be any of" if found else "is none of this run; adapters are"
    raise SpecError(f"trial {word!r} {why} {_listed(candidates)}; or write `{BEST}` for the best of the ranking")


def _is_meant(trial: TrialData, word: str) -> bool:
    return _ID.fullmatch(word) is not None and trial.planned.trial_id.startswith(word)


def _best(standings: Sequence[Standing]) -> Standing:
    for standing in standings:
        if standing.rank is not None:
            return standing
    raise NotFoundError("no trained configuration has the objective yet; `lorasweep status` says where the run is")


def _check_trained(planned: PlannedTrial) -> None:
    if planned.kind != "lora":
        raise SpecError(f"{planned.letter} ({planned.label}) is a baseline: nothing was trained, it has no adapter")


def _best_seed(standing: Standing, ranking: Ranking) -> TrialData:
    """The first of the best where several are equal; any that is there where none has the objective."""
    finished = [trial for trial in standing.trials if trial.measured is not None]
    goal = ranking.objective
    name = LOSS if goal.metric == BITS else goal.metric  # of one prompt, both have the same order
    sign = 1 if goal.direction == "maximize" else -1
    scored = [
        (sign * value.mean, trial)
        for trial in finished
        if trial.measured and (value := trial.measured.result.metrics.get(goal.split, {}).get(name)) is not None
    ]
    if scored:
        return max(scored, key=lambda pair: pair[0])[1]
    return finished[0] if finished else standing.trials[0]


def _chosen(trial: TrialData, standing: Standing, ranking: Ranking) -> Chosen:
    if trial.measured is None:
        planned = trial.planned
        why = "it is not finished" if trial.trouble is None else f"it failed ({trial.trouble.reason})"
        raise NotFoundError(
            f"{planned.letter} {planned.trial_id} has no adapter: {why}; `lorasweep status` says where the run is"
        )
    ranked = sum(one.rank is not None for one in ranking.standings)
    return Chosen(trial.planned, trial.measured, standing, ranked, decided(ranking).tied)


def _listed(trials: Sequence[PlannedTrial]) -> str:
    by_letter = sorted(trials, key=lambda trial: (len(trial.letter), trial.letter))
    named = [f"{trial.letter} = {trial.trial_id}" for trial in by_letter[:_LISTED]]
    more = len(trials) - len(named)
    return ", ".join(named) + (f" and {more} more" if more else "")
