"""The metrics that a spec may name, with what computes them: a closed table, so that no spec brings code along."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple, Protocol

from job.contract.metric_names import METRIC_GROUPS, names_of
from job.metrics.rouge import rouge_settings, score_rouge

__all__ = ["INSTALLED", "TextMetric", "TextScores", "score_texts"]

Settings = Mapping[str, bool | int | float | str | None]


class _Scorer(Protocol):
    def __call__(self, *, predictions: Sequence[str], references: Sequence[str]) -> dict[str, tuple[float, ...]]: ...


class TextMetric(NamedTuple):
    """One entry of `evaluation.metrics`."""

    score: _Scorer
    """Per-example scores by name, in the order of the pairs."""
    settings: Callable[[], Settings]
    """What the scores depend on."""


class TextScores(NamedTuple):
    """Per-example scores of one name."""

    values: tuple[float, ...]
    settings: Settings


INSTALLED: Mapping[str, TextMetric] = MappingProxyType(
    {"rouge": TextMetric(score=score_rouge, settings=rouge_settings)}
)
"""Has the keys of job.contract.metric_names.METRIC_GROUPS."""


def score_texts(
    metrics: Sequence[str], *, predictions: Sequence[str], references: Sequence[str]
) -> dict[str, TextScores]:
    """Per-example scores by headline name, for each entry of `metrics`.

    Raises SpecError for an entry that is not installed.
    """
    names_of(metrics)
    scores: dict[str, TextScores] = {}
    for metric in metrics:
        entry = INSTALLED[metric]
        values = entry.score(predictions=predictions, references=references)
        scores |= {name: TextScores(values=values[name], settings=entry.settings()) for name in METRIC_GROUPS[metric]}
    return scores
