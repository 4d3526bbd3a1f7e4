"""ROUGE-1, ROUGE-2, ROUGE-L and ROUGE-Lsum as F-measures of single pairs (Lin 2004, https://aclanthology.org/W04-1013).

The scorer is rouge-score-rs, whose numbers are those of Google's rouge-score 0.1.2 to the last bit (a test compares
1,000 pairs) at a hundredth of the time. Importing this module imports neither torch nor `evaluate`.

Limits
- Tokens are runs of a-z and 0-9 after lower-casing, as in rouge-score: a text in another script scores 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from importlib.metadata import version
from types import MappingProxyType

from rouge_score_rs.rouge_scorer import RougeScorer

from job.contract.metric_names import METRIC_GROUPS

__all__ = ["ROUGE_NAMES", "rouge_settings", "score_rouge"]

ROUGE_NAMES: tuple[str, ...] = METRIC_GROUPS["rouge"]


def score_rouge(*, predictions: Sequence[str], references: Sequence[str]) -> dict[str, tuple[float, ...]]:
    """F-measures in 0..1 by name, one per pair, in the order given.

    Words are stemmed (Porter). rougeLsum takes each line of a text as a sentence; the other three ignore lines.
    Raises ValueError when the two sequences differ in length.
    """
    if len(predictions) != len(references):
        raise ValueError(f"{len(predictions)} predictions for {len(references)} references")
    pairs = _scorer().score_batch([_valid(text) for text in references], [_valid(text) for text in predictions])
    return {name: tuple(float(pair[name].fmeasure) for pair in pairs) for name in ROUGE_NAMES}


def rouge_settings() -> Mapping[str, bool | int | float | str | None]:
    """What the numbers depend on; stored beside every mean."""
    return MappingProxyType(
        {
            "scorer": f"rouge-score-rs {version('rouge-score-rs')}",
            "use_stemmer": True,
            "split": "newline",
            "score": "fmeasure",
            "aggregate": "mean",
        }
    )


@cache
def _scorer() -> RougeScorer:
    return RougeScorer(list(ROUGE_NAMES), use_stemmer=True)


def _valid(text: str) -> str:
    """`text` with lone surrogates, which JSON can hold and UTF-8 cannot, as question marks; neither is ever a token."""
    return text.encode("utf-8", "replace").decode("utf-8")
