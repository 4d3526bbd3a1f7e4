"""The scores that the same texts have when they are cut at their first newline.

A base model that was never taught to stop often writes the answer in its first line and then goes on with something
else: a next dialogue, a list, an explanation. Cutting there needs no training, so a baseline that is not cut would be
easier to beat than what anybody can have for nothing. docs/evaluation.md says how the report uses it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from job.evaluation.evaluate import SplitEvaluation
from job.metrics.installed import score_texts

__all__ = ["first_line", "with_first_line"]


def first_line(text: str) -> str:
    """What stands before the first newline; all of a text of one line."""
    return text.partition("\n")[0].rstrip()


def with_first_line(
    evaluation: SplitEvaluation, *, references: Mapping[str, str], metrics: Sequence[str]
) -> SplitEvaluation:
    """The evaluation, with the scores of the cut texts beside its own; `references` maps example ids to texts."""
    cut = score_texts(
        metrics,
        predictions=[first_line(prediction.text) for prediction in evaluation.predictions],
        references=[references[prediction.example_id] for prediction in evaluation.predictions],
    )
    columns = {name: scores.values for name, scores in cut.items()}
    return evaluation._replace(scores=evaluation.scores.model_copy(update={"first_line": columns}))
