"""From scores to what ROUGE does not show. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from controller.collect import Measured
from controller.report.comparable import BITS, LOSS
from controller.report.diagnosis import FaultFound, LossGap, LossOrder, Shortcomings, Texts
from controller.report.diagnosis_words import shortcomings_words
from controller.report.ranking import Ranking, Standing
from controller.report.text import one_line, shortened
from controller.stats.agreement import agreement
from controller.texts import TextSums, added
from job.contract import diagnostic_names as names
from job.contract.documents import ScoredSplit
from job.contract.metric_names import METRIC_GROUPS

__all__ = ["loss_gap", "loss_order", "shortcomings_of", "texts_of"]

_LAST = 10  # the last tenth of the steps
_ID_LIMIT = 80  # characters
_FEWEST = 3  # configurations: two have an order by chance every second time
_ROUGE = "rougeL"


def texts_of(measured: Sequence[Measured]) -> dict[ScoredSplit, Texts]:
    """What the outputs of all seeds are like, by split; a split that some seed has no diagnostics of is not there."""
    splits: dict[ScoredSplit, None] = dict.fromkeys(split for one in measured for split in one.scores)
    found = {split: _sums(measured, split) for split in splits}
    return {split: _texts(sums) for split, sums in found.items() if sums is not None}


def loss_gap(standing: Standing) -> LossGap | None:
    """None for a baseline, and where nothing was trained or scored on validation."""
    found = standing.metrics.get("validation", {}).get(LOSS)
    ends = [seed.losses[-max(1, len(seed.losses) // _LAST) :] for seed in standing.measured if seed.losses]
    if found is None or not ends or not standing.trained:
        return None
    train = sum(sum(point.value for point in end) / len(end) for end in ends) / len(ends)
    return LossGap(train=train, validation=found.mean, gap=found.mean - train)


def loss_order(ranking: Ranking) -> LossOrder | None:
    """None where fewer than three trained configurations have both, or one of the two orders nothing."""
    goal = ranking.objective
    loss = BITS if BITS in ranking.tables.get(goal.split, {}) else LOSS
    metric = goal.metric if goal.metric in METRIC_GROUPS["rouge"] else _ROUGE
    both = {
        one.planned.letter: (found[loss].mean, found[metric].mean)
        for one in ranking.standings
        if one.trained and {loss, metric} <= set(found := one.metrics.get(goal.split, {}))
    }
    agreed = agreement([-loss for loss, _ in both.values()], [score for _, score in both.values()])
    if len(both) < _FEWEST or agreed is None:
        return None
    return LossOrder(
        split=goal.split,
        loss=loss,
        metric=metric,
        configurations=len(both),
        tau=agreed.tau,
        pairs=agreed.pairs,
        alike=agreed.alike,
        best_by_loss=min(both, key=lambda letter: both[letter][0]),
        best_by_metric=max(both, key=lambda letter: both[letter][1]),
    )


def shortcomings_of(ranking: Ranking) -> Shortcomings | None:
    """Where the first of the ranking still fails; None without a trained configuration that is ranked."""
    best = next((one for one in ranking.standings if one.trained and one.objective is not None), None)
    if best is None:
        return None
    split = ranking.objective.split
    sums = _sums(best.measured, split)
    beside = next((one for one in ranking.standings if _is_zero_shot_of(one, best)), None)
    baseline = None if beside is None else _sums(beside.measured, split)
    found = () if sums is None else tuple(_faults(sums, baseline))
    plain = Shortcomings(
        letter=best.planned.letter,
        split=split,
        state="not_measured" if sums is None else "measured",
        outputs=0 if sums is None else sums.outputs,
        faults=found,
        without=() if sums is None else tuple(fault for fault, count in sums.faults.items() if count == 0),
        sentences=(),
    )
    texts = None if sums is None else _texts(sums)
    words = shortcomings_words(plain, texts=texts, gap=loss_gap(best), order=loss_order(ranking))
    return plain.model_copy(update={"sentences": tuple(words)})


def _is_zero_shot_of(one: Standing, best: Standing) -> bool:
    return one.planned.kind == "zero-shot" and one.planned.prompt_name == best.planned.prompt_name


def _sums(measured: Sequence[Measured], split: ScoredSplit) -> TextSums | None:
    seeds = [one.texts[split] for one in measured if split in one.texts]
    return added(seeds) if len(seeds) == len(measured) else None


def _faults(sums: TextSums, baseline: TextSums | None) -> Iterator[FaultFound]:
    for fault in sorted(sums.faults, key=lambda one: -sums.faults[one]):
        if sums.faults[fault]:
            known = baseline is not None and fault in baseline.faults
            yield FaultFound(
                fault=fault,
                outputs=sums.faults[fault],
                share=sums.faults[fault] / sums.outputs,
                baseline_share=baseline.faults[fault] / baseline.outputs if baseline is not None and known else None,
                examples=tuple(shortened(one_line(example_id), _ID_LIMIT) for example_id in sums.worst[fault]),
            )


def _texts(sums: TextSums) -> Texts:
    return Texts(
        outputs=sums.outputs,
        faults=dict(sums.faults),
        numbers=_count(sums, names.OUTPUT_NUMBERS),
        unsupported_ratio=_ratio(sums, names.UNSUPPORTED_NUMBERS, by=names.OUTPUT_NUMBERS),
        reference_numbers=_count(sums, names.REFERENCE_NUMBERS),
        missed_ratio=_ratio(sums, names.MISSED_NUMBERS, by=names.REFERENCE_NUMBERS),
        length_ratio=_ratio(sums, names.OUTPUT_CHARACTERS, by=names.REFERENCE_CHARACTERS),
        coverage=_mean(sums, names.COVERAGE),
        density=_mean(sums, names.DENSITY),
        train_overlap=_mean(sums, names.TRAIN_OVERLAP),
    )


def _count(sums: TextSums, name: str) -> int | None:
    return None if name not in sums.totals else round(sums.totals[name])


def _ratio(sums: TextSums, name: str, *, by: str) -> float | None:
    """None where one of the two was not measured, or there is nothing to have a share of."""
    whole = sums.totals.get(by)
    return sums.totals[name] / whole if whole and name in sums.totals else None


def _mean(sums: TextSums, name: str) -> float | None:
    return None if name not in sums.totals else sums.totals[name] / sums.outputs
