"""The verdict in numbers: which configurations are not shown worse than the best, and how that is beside baselines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

from controller.report.comparable import Compared
from controller.report.conclusions import BesideBaseline, BesideBest, Decided, LeftOut, MoreData, Uneven
from controller.report.numbers import has_no_spread
from controller.report.ranking import Ranking, Standing
from controller.report.text import one_line, shortened
from controller.report.variants import VARIANTS, key_of
from controller.stats.baselines import Against, against_baselines
from controller.stats.best import Best, judge
from controller.stats.components import Fit
from controller.stats.optimism import optimism_of_best
from controller.stats.power import detectable, needed
from controller.stats.scores import Direction, Scores
from controller.stats.steadiness import unsteady
from job.contract.documents import ScoredSplit

__all__ = ["SMALL", "decided", "main_table"]

SMALL = 32
"""Rows below which the intervals were not simulated (benchmarks/error_rates.md)."""
_SAME = 12  # decimals, as in the ranking
_LEVEL = 0.95
_LABEL_LIMIT = 300  # characters


class _Table(NamedTuple):
    """The table of the objective, with a fit."""

    letters: tuple[str, ...]
    candidates: tuple[int, ...]
    """Places of the trained ones, best first."""
    compared: Compared
    scores: Scores
    fitted: Fit


def main_table(ranking: Ranking) -> Compared | None:
    """The table that decides: of the objective on its split, the one with the most trained configurations."""
    goal = ranking.objective
    tables = ranking.tables.get(goal.split, {}).get(goal.metric, ())
    return next((table for table in tables if table.trained), None)


def decided(ranking: Ranking) -> Decided:
    """The verdict of a ranking, whatever it holds."""
    goal = ranking.objective
    table = _table(ranking)
    if table is None:
        return _nothing(ranking)
    best = judge(table.fitted, candidates=table.candidates, direction=goal.direction)
    several = len(table.candidates) > 1
    winner = table.letters[table.candidates[0]]
    against = _Baselines.of(ranking, winner)
    spread = optimism_of_best(table.fitted, candidates=table.candidates, direction=goal.direction)
    differ = any(one.behind > 0 for one in best.judged)
    single, alone = not several, len(best.in_set) == 1
    return Decided(
        kind="single" if single else "winner" if alone else "tied",
        nothing=None,
        metric=goal.metric,
        split=goal.split,
        rows=table.compared.rows,
        seeds=min(int(table.scores.seeds[place]) for place in table.candidates),
        best=tuple(table.letters[one.place] for one in best.judged if round(one.behind, _SAME) == 0),
        tied=tuple(table.letters[place] for place in best.in_set),
        compared=tuple(_beside(table, best)),
        baselines=against.compared,
        baselines_split=against.split,
        missing_baselines=against.missing,
        would_show=None if single or alone else _would_show(table, best),
        optimism=spread.size if several and differ else None,
        adapters_only=best.adapters_only,
        few_seeds=best.few_seeds,
        uneven=tuple(
            Uneven(letter=table.letters[one.place], seed_sd=one.seed_sd, others_sd=one.others_sd)
            for one in unsteady(table.scores)
        ),
        small=table.compared.rows < SMALL,
        without_spread=tuple(_without_spread(ranking.standings)),
        left_out=tuple(_left_out(ranking.standings, frozenset(table.letters))),
    )


def _table(ranking: Ranking) -> _Table | None:
    found = main_table(ranking)
    if found is None or found.scores is None or found.fitted is None:
        return None
    order = {standing.planned.letter: place for place, standing in enumerate(ranking.standings)}
    candidates = sorted(range(found.trained), key=lambda place: order[found.letters[place]])
    return _Table(found.letters, tuple(candidates), found, found.scores, found.fitted)


def _nothing(ranking: Ranking) -> Decided:
    goal = ranking.objective
    return Decided(
        kind="none",
        nothing=_why_nothing(ranking),
        metric=goal.metric,
        split=goal.split,
        rows=0,
        seeds=0,
        best=(),
        tied=(),
        compared=(),
        baselines=(),
        baselines_split=None,
        missing_baselines=(),
        would_show=None,
        optimism=None,
        adapters_only=False,
        few_seeds=False,
        uneven=(),
        small=False,
        without_spread=(),
        left_out=tuple(_left_out(ranking.standings, frozenset())),
    )


def _why_nothing(
    ranking: Ranking,
) -> Literal["no_trial", "no_trained", "pending", "failed", "unscored", "one_row"]:
    trained = [standing for standing in ranking.standings if standing.trained]
    if not ranking.standings:
        return "no_trial"
    if not trained:
        return "no_trained"
    if main_table(ranking) is not None:
        return "one_row"
    if any(standing.measured for standing in trained):
        return "unscored"
    return "failed" if all(t.state == "failed" for standing in trained for t in standing.trials) else "pending"


def _beside(table: _Table, best: Best) -> Iterator[BesideBest]:
    for one in best.judged:
        yield BesideBest(
            letter=table.letters[one.place],
            behind=one.behind,
            low=one.low,
            high=one.high,
            in_set=one.in_set,
            worse_than=None if one.worse_than is None else table.letters[one.worse_than],
        )


def _would_show(table: _Table, best: Best) -> MoreData:
    """For the nearest that is behind; for any other where all means are equal."""
    others = [one for one in best.judged if one.in_set and one.place != best.best]
    nearest = min(others, key=lambda one: (round(one.behind, _SAME) == 0, one.behind))
    size = nearest.behind if round(nearest.behind, _SAME) else 0.0
    more = needed(table.fitted, best.best, nearest.place, size=size, critical=best.critical) if size else None
    return MoreData(
        against=table.letters[nearest.place],
        size=size,
        rows=None if more is None else more.rows,
        seeds=None if more is None else more.seeds,
        seeds_known=not best.adapters_only,
        detectable=detectable(table.fitted, best.best, nearest.place, critical=best.critical),
    )


def _without_spread(standings: Sequence[Standing]) -> Iterator[str]:
    for standing in standings:
        if standing.trained and standing.objective is not None and has_no_spread(standing.objective):
            yield standing.planned.letter


def _left_out(standings: Sequence[Standing], compared: frozenset[str]) -> Iterator[LeftOut]:
    for standing in standings:
        letter = standing.planned.letter
        if not standing.trained or letter in compared:
            continue
        if standing.objective is not None:
            yield LeftOut(letter=letter, why="other_rows")
        elif standing.measured:
            yield LeftOut(letter=letter, why="unscored")
        else:
            failed = all(trial.state == "failed" for trial in standing.trials)
            yield LeftOut(letter=letter, why="failed" if failed else "pending")


class _Baselines(NamedTuple):
    """The winner beside its baselines."""

    compared: tuple[BesideBaseline, ...]
    split: ScoredSplit | None
    missing: tuple[str, ...]

    @classmethod
    def of(cls, ranking: Ranking, winner: str) -> _Baselines:
        """On the split that did not pick the winner, where it was scored on one."""
        goal = ranking.objective
        chosen = next(one for one in ranking.standings if one.planned.letter == winner)
        wanted = {one.planned.letter: one for one in ranking.standings if _is_baseline_of(one, chosen)}
        splits = sorted(ranking.tables, key=lambda split: split == goal.split)
        for split in splits:
            table = _with(ranking.tables[split].get(goal.metric, ()), winner)
            there = () if table is None else tuple(letter for letter in table.letters if letter in wanted)
            if table is not None and table.fitted is not None and (there or split == goal.split):
                found = _against(table, table.fitted, winner=winner, baselines=there, direction=goal.direction)
                compared = tuple(_beside_baseline(one, wanted[one.baseline], table) for one in found)
                missing = tuple(_label(one) for letter, one in wanted.items() if letter not in there)
                return cls(compared, split if compared else None, missing)
        return cls((), None, tuple(_label(one) for one in wanted.values()))


def _is_baseline_of(standing: Standing, chosen: Standing) -> bool:
    """lead-k is one of every configuration, zero-shot of those with its prompt."""
    planned = standing.planned
    return planned.kind == "lead" or (planned.kind == "zero-shot" and planned.prompt_name == chosen.planned.prompt_name)


def _with(tables: Sequence[Compared], letter: str) -> Compared | None:
    return next((table for table in tables if letter in table.letters), None)


def _against(
    table: Compared, fitted: Fit, *, winner: str, baselines: Sequence[str], direction: Direction
) -> tuple[Against, ...]:
    place = {letter: at for at, letter in enumerate(table.letters)}
    return against_baselines(
        fitted,
        winner=place[winner],
        baselines={letter: _variants(letter, place) for letter in baselines},
        direction=direction,
        level=_LEVEL,
    )


def _variants(letter: str, place: Mapping[str, int]) -> tuple[int, ...]:
    """The places of the scores of a baseline: one, and of zero-shot those of its texts' first lines as well."""
    keys = [key_of(letter, variant) for variant in VARIANTS]
    return tuple(place[key] for key in keys if key in place)


def _beside_baseline(one: Against, standing: Standing, table: Compared) -> BesideBaseline:
    counts = table.letters[one.variant]
    variants = sum(key_of(one.baseline, variant) in table.letters for variant in VARIANTS)
    # The variant that is hardest to beat was picked for it: "worse" has to hold for any of them (Bonferroni).
    worse = one.p is not None and one.p * variants <= 1 - _LEVEL and one.better_by.estimate < 0
    return BesideBaseline(
        letter=standing.planned.letter,
        label=_label(standing),
        better_by=one.better_by.estimate,
        low=one.better_by.low,
        high=one.better_by.high,
        p=one.p,
        shown="better" if one.beaten else "worse" if worse else "neither",
        variant=next(variant for variant in VARIANTS if key_of(one.baseline, variant) == counts),
    )


def _label(standing: Standing) -> str:
    return shortened(one_line(standing.planned.label), _LABEL_LIMIT)
