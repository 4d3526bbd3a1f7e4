"""ROUGE as an `evaluate.Metric`, so that it is used like any other metric of Hugging Face's library.

    from job.metrics.rouge_metric import Rouge
    Rouge().compute(predictions=["a cat sat"], references=["the cat sat"])

Needs no network, where `evaluate.load("rouge")` downloads a script, and leaves no files: examples stay in memory and
no cache folder is made. Apart from job.metrics.rouge because importing `evaluate` takes seconds and the job needs none.
"""

from __future__ import annotations

import datasets
import evaluate

from job.metrics.rouge import ROUGE_NAMES, rouge_settings, score_rouge

__all__ = ["Rouge"]

_DESCRIPTION = "ROUGE-1, ROUGE-2, ROUGE-L and ROUGE-Lsum F-measures with Porter stemming, equal to rouge-score."
_INPUTS = """
Args:
    predictions: texts to score; for rougeLsum with one sentence per line.
    references: one text per prediction.
    use_aggregator: True (default) gives the mean of each score, False a list with one score per pair.
Returns:
    rouge1, rouge2, rougeL and rougeLsum, each in 0..1.
"""
_CITATION = """@inproceedings{lin-2004-rouge,
    title = "{ROUGE}: A Package for Automatic Evaluation of Summaries",
    author = "Lin, Chin-Yew",
    booktitle = "Text Summarization Branches Out",
    year = "2004",
    url = "https://aclanthology.org/W04-1013",
}"""


class Rouge(evaluate.Metric):  # type: ignore[misc]  # `evaluate` ships no types
    """The four ROUGE scores of this project behind evaluate's `compute`, `add` and `add_batch`."""

    def __init__(self) -> None:
        super().__init__(keep_in_memory=True)

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=f"{_DESCRIPTION} Settings: {dict(rouge_settings())}",
            citation=_CITATION,
            inputs_description=_INPUTS,
            features=datasets.Features(
                {"predictions": datasets.Value("string"), "references": datasets.Value("string")}
            ),
            reference_urls=[
                "https://aclanthology.org/W04-1013",
                "https://github.com/google-research/google-research/tree/master/rouge",
            ],
        )

    def _build_data_dir(self) -> str:
        """The folder that evaluate would write to; named but never made, as everything stays in memory."""
        return str(self._data_dir_root)

    def _compute(
        self, *, predictions: list[str], references: list[str], use_aggregator: bool = True
    ) -> dict[str, float] | dict[str, list[float]]:
        if len(predictions) == 0:
            raise ValueError("no pair of texts to score")
        scores = score_rouge(predictions=predictions, references=references)
        if not use_aggregator:
            return {name: list(scores[name]) for name in ROUGE_NAMES}
        return {name: sum(scores[name]) / len(scores[name]) for name in ROUGE_NAMES}
