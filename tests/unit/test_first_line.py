"""Texts cut at their first newline are scored beside the whole ones, and leave those as they are."""

from __future__ import annotations

import pytest

from job.contract.documents import Prediction, SplitScores
from job.evaluation.evaluate import SplitEvaluation
from job.evaluation.first_line import first_line, with_first_line


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", ""),
        ("Ann meets Ben.", "Ann meets Ben."),
        ("Ann meets Ben.\nDialogue: and so on", "Ann meets Ben."),
        ("Ann meets Ben. \r\nmore", "Ann meets Ben."),
        ("one\n\ntwo\nthree", "one"),
    ],
)
def test_a_text_ends_before_its_first_newline(text: str, line: str) -> None:
    assert first_line(text) == line


def test_scores_of_the_cut_texts_stand_beside_those_of_the_whole_ones() -> None:
    texts = {"a": "Ann meets Ben.\nAnn asks Ben again and again.", "b": "Ann meets Ben."}
    evaluation = SplitEvaluation(
        scores=SplitScores(example_ids=("a", "b"), metrics={"rougeL": (0.5, 1.0)}),
        metrics={},
        predictions=tuple(
            Prediction(example_id=row, split="test", step=0, text=text, token_ids=(1,), ended="eos")
            for row, text in texts.items()
        ),
    )

    both = with_first_line(evaluation, references=dict.fromkeys(texts, "Ann meets Ben."), metrics=("rouge",))

    assert both.scores.metrics == {"rougeL": (0.5, 1.0)}
    assert both.scores.first_line["rougeL"] == (1.0, 1.0)
    assert set(both.scores.first_line) == {"rouge1", "rouge2", "rougeL", "rougeLsum"}
    assert both.predictions == evaluation.predictions


def test_a_column_that_lacks_a_row_is_refused_in_both() -> None:
    with pytest.raises(ValueError, match="has 1 scores for 2 rows"):
        SplitScores(example_ids=("a", "b"), metrics={}, first_line={"rougeL": (0.5,)})
