"""The model card of a promoted adapter: the job's card, with intervals and with what the sweep says about it. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from controller.promotion.chosen import Chosen
from controller.report.document import Metric, Objective
from controller.report.numbers import counted, plus_minus, spoken, title
from job.contract.documents import ScoredSplit
from job.contract.errors import ResultError

__all__ = ["Evidence", "promoted_card"]

Metrics = Mapping[ScoredSplit, Mapping[str, Metric]]
_TABLE = re.compile(r"^\| split \| metric \| mean \| rows \|\n(?:\|.*\n)+", re.MULTILINE)
_LEVEL = 0.95
_DECIMALS = 6


class Evidence(NamedTuple):
    """What is known about an adapter."""

    chosen: Chosen
    objective: Objective
    metrics: Metrics
    """Of this adapter alone."""


def promoted_card(card: str, evidence: Evidence) -> str:
    """The card with every metric of its `model-index` and of its table with an interval, and a paragraph on the choice.

    Raises ResultError for a card whose metadata nobody can read.
    """
    from huggingface_hub import ModelCard, ModelCardData
    from yaml import YAMLError

    try:
        written = ModelCard(card)
    except (ValueError, YAMLError) as err:
        raise ResultError(f"README.md of the adapter has metadata that cannot be read: {err}") from err
    for result in (written.data.eval_results or ()) if isinstance(written.data, ModelCardData) else ():
        split: ScoredSplit | None = next((known for known in evidence.metrics if known == result.dataset_split), None)
        metric = None if split is None else evidence.metrics[split].get(result.metric_type)
        if metric is not None:
            result.metric_name = title(result.metric_type)
            result.metric_value = round(metric.mean, _DECIMALS)
            result.metric_args = _arguments(metric)
    block = f"{_table(evidence.metrics)}\n{' '.join(_sentences(evidence))}\n"
    body, replaced = _TABLE.subn(lambda _: block, written.text, count=1)
    written.text = body if replaced else f"{written.text.rstrip()}\n\n{block}"
    return str(written)


def _arguments(metric: Metric) -> dict[str, float | int]:
    """`args` of a metric in a `model-index`, the only place there for what a value rests on."""
    found: dict[str, float | int] = {"rows": metric.rows}
    if metric.low is not None and metric.high is not None:
        low, high = round(metric.low, _DECIMALS), round(metric.high, _DECIMALS)
        found |= {"confidence_level": _LEVEL, "confidence_low": low, "confidence_high": high}
    return found


def _table(metrics: Metrics) -> str:
    lines = ["| split | metric | mean | 95 % interval | rows |", "|---|---|---|---|---|"]
    lines += [
        f"| {split} | {name} | {metric.mean:.4f} | {_interval(metric)} | {metric.rows} |"
        for split, values in sorted(metrics.items())
        for name, metric in sorted(values.items())
    ]
    return "\n".join(lines) + "\n"


def _interval(metric: Metric) -> str:
    return "" if metric.low is None or metric.high is None else f"{metric.low:.4f} to {metric.high:.4f}"


def _sentences(evidence: Evidence) -> Iterator[str]:
    chosen, goal = evidence.chosen, evidence.objective
    standing = chosen.standing
    yield "The intervals are those of this adapter's means over other rows of the same kind."
    if len(standing.measured) > 1 and standing.objective is not None:
        yield (
            f"It is one of {counted(len(standing.measured), 'seed')} of its configuration, whose {spoken(goal.metric)} "
            f"on {goal.split} over all of them is {plus_minus(standing.objective, goal.metric)}."
        )
    if standing.rank is None:
        return
    yield (
        f"By {spoken(goal.metric)} on {goal.split} the configuration ranks {standing.rank} of "
        f"{counted(chosen.ranked, 'trained configuration')}."
    )
    if chosen.ranked > 1 and chosen.tied:
        yield _beside_others(standing.planned.letter, chosen.tied)


def _beside_others(letter: str, tied: tuple[str, ...]) -> str:
    """What the sweep shows about the configuration of this letter; `tied` are not shown worse than any other."""
    others = _listed([other for other in tied if other != letter])
    if letter not in tied:
        return f"It is shown worse than another; not shown worse than any other: {others}."
    return f"It is not shown better than {others}." if others else "It is shown better than every other."


def _listed(letters: list[str]) -> str:
    return ", ".join(letters[:20]) + (f" and {len(letters) - 20} more" if len(letters) > 20 else "")
