"""Per-example scores of one split: what the model wrote, how that compares, and how surprised it is by the reference.

Every trial is scored by this one function, trained or not, so that two numbers of a sweep differ only by the model.
docs/evaluation.md says what each number means.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal, NamedTuple

import torch
from peft import PeftModel
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from job.contract.config import GenerationOptions
from job.contract.documents import MetricValue, Prediction, SplitScores
from job.contract.errors import DataError, ResultError
from job.contract.metric_names import names_of
from job.evaluation.batches import length_batches, run_batches
from job.evaluation.completion_loss import RowLoss
from job.evaluation.generation import Decoding, Generated
from job.evaluation.scoring import RowResult, score_batch
from job.metrics.installed import TextScores, score_texts
from job.model import context_length
from job.stopping import StopSignal

if TYPE_CHECKING:
    from job.data import Row
    from job.prompts import EncodedRow

__all__ = ["SplitEvaluation", "check_rows", "decoding_of", "evaluate_lead", "evaluate_split", "measuring"]

ScoredSplit = Literal["validation", "test"]


class SplitEvaluation(NamedTuple):
    """One evaluation of one split, rows in the order they were given."""

    scores: SplitScores
    metrics: dict[str, MetricValue]
    """Headline numbers by name."""
    predictions: tuple[Prediction, ...]


def evaluate_split(
    *,
    model: PreTrainedModel | PeftModel,
    tokenizer: PreTrainedTokenizerBase,
    rows: Sequence[EncodedRow],
    references: Mapping[str, str],
    generation: GenerationOptions,
    metrics: Sequence[str],
    split: ScoredSplit,
    step: int,
    batch_size: int,
    end_token_id: int,
    pad_id: int,
    seed: int,
    stop: StopSignal,
    on_batch: Callable[[int, int], None] | None = None,
    answers: Sequence[RowResult] | None = None,
) -> SplitEvaluation:
    """Scores, headline numbers and texts of `rows`, each asked with its prompt alone.

    `answers` are those of the rows, where the model was asked already; else it is asked here.
    `references` maps example ids to texts; `seed` decides what is sampled when generation samples. After each batch
    `on_batch(done, total)` is called with counts of rows. Afterwards the model's modes and every random state are as
    they were.

    Raises DataError for a row that cannot be asked, DivergedError for a loss that is not finite, GpuMemoryError when
    one row does not fit, StoppedError after SIGTERM.
    """
    names_of(metrics)
    base = model.get_base_model() if isinstance(model, PeftModel) else model
    decoding = decoding_of(
        model=base, tokenizer=tokenizer, generation=generation, end_token_id=end_token_id, pad_id=pad_id
    )
    check_rows(rows, references=references, decoding=decoding)
    ordered = answers
    if ordered is None:
        ordered = _asked(
            model=base, rows=rows, decoding=decoding, batch_size=batch_size, seed=seed, stop=stop, on_batch=on_batch,
            where=f"{split}, step {step}",
        )  # fmt: skip
    predictions = tuple(
        Prediction(
            example_id=row.example_id,
            split=split,
            step=step,
            text=_text_of(result.generated, tokenizer=tokenizer),
            token_ids=result.generated.token_ids,
            ended=result.generated.ended,
        )
        for row, result in zip(rows, ordered, strict=True)
    )
    texts = _text_scores(predictions, references=references, metrics=metrics)
    lengths = [result.generated.content_tokens for result in ordered]
    return _evaluation(
        predictions,
        texts=texts,
        lengths=TextScores(values=tuple(lengths), settings=decoding.recorded()),
        losses=[result.loss for result in ordered],
    )


def _asked(
    *,
    model: PreTrainedModel,
    rows: Sequence[EncodedRow],
    decoding: Decoding,
    batch_size: int,
    seed: int,
    stop: StopSignal,
    on_batch: Callable[[int, int], None] | None,
    where: str,
) -> list[RowResult]:
    results: dict[int, RowResult] = {}

    def work(batch: tuple[int, ...]) -> None:
        stop.check()
        chosen = [rows[index] for index in batch]
        scored = score_batch(model=model, rows=chosen, decoding=decoding, stop=stop, where=where)
        results.update(zip(batch, scored, strict=True))
        if on_batch is not None:
            on_batch(len(results), len(rows))

    with measuring(model, seed=seed):
        run_batches(_batches(rows, decoding=decoding, size=batch_size), work=work)
    return [results[index] for index in range(len(rows))]


def decoding_of(
    *,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    generation: GenerationOptions,
    end_token_id: int,
    pad_id: int,
) -> Decoding:
    """How the model's texts are written, and where they end."""
    return Decoding(
        options=generation,
        end_token_ids=_end_tokens(end_token_id, tokenizer=tokenizer),
        pad_id=pad_id,
        context=context_length(model.config),
    )


def evaluate_lead(
    *,
    rows: Sequence[Row],
    k: int,
    tokenizer: PreTrainedTokenizerBase,
    metrics: Sequence[str],
    split: ScoredSplit,
) -> SplitEvaluation:
    """The evaluation of a summary that is the first `k` lines of the input that are not blank; no model is asked.

    Has no completion_loss. Lead is the customary floor of summarisation (See et al. 2017, sec. 6,
    https://arxiv.org/abs/1704.04368); in a dialogue a line is a turn.
    """
    predictions = tuple(_lead_prediction(row, k=k, tokenizer=tokenizer, split=split) for row in rows)
    texts = _text_scores(predictions, references={row.example_id: row.target for row in rows}, metrics=metrics)
    lengths = tuple(len(prediction.token_ids) for prediction in predictions)
    return _evaluation(predictions, texts=texts, lengths=TextScores(values=lengths, settings={"lead_k": k}), losses=())


def _lead_prediction(row: Row, *, k: int, tokenizer: PreTrainedTokenizerBase, split: ScoredSplit) -> Prediction:
    text = "\n".join([line.strip() for line in row.input.splitlines() if line.strip()][:k])
    token_ids = tuple(tokenizer.encode(text, add_special_tokens=False))
    return Prediction(example_id=row.example_id, split=split, step=0, text=text, token_ids=token_ids, ended="eos")


def _end_tokens(end_token_id: int, *, tokenizer: PreTrainedTokenizerBase) -> tuple[int, ...]:
    """The prompt's own end token first; a model asked without a chat template may still end with the other one."""
    eos = tokenizer.eos_token_id
    return (end_token_id,) if eos is None or eos == end_token_id else (end_token_id, int(eos))


def check_rows(rows: Sequence[EncodedRow], *, references: Mapping[str, str], decoding: Decoding) -> None:
    """Raises DataError for a row that cannot be asked, and when there is none."""
    if not rows:
        raise DataError("there is no row to evaluate; the split is empty after filtering")
    for row in rows:
        if row.example_id not in references:
            raise DataError(f"row {row.example_id!r} has no reference to be scored against")
        if not row.prompt_ids or not row.completion_ids:
            raise DataError(f"row {row.example_id!r} has an empty prompt or completion after tokenising")
        if (
            decoding.allowed(len(row.prompt_ids)) < 1
            or len(row.prompt_ids) + len(row.completion_ids) > decoding.context
        ):
            raise DataError(
                f"row {row.example_id!r} has {len(row.prompt_ids)} prompt and {len(row.completion_ids)} completion "
                f"tokens, the model's context is {decoding.context}; set data.overflow to cut_left or cut_right"
            )


def _batches(rows: Sequence[EncodedRow], *, decoding: Decoding, size: int) -> list[tuple[int, ...]]:
    """Rows of like length together, where they may be together without changing each other's text."""
    lengths = [len(row.prompt_ids) for row in rows]
    if decoding.sees_padding:
        return length_batches(lengths, size=size, key=lambda index: lengths[index])
    return length_batches(lengths, size=size, key=lambda index: decoding.allowed(lengths[index]))


@contextmanager
def measuring(model: PreTrainedModel, *, seed: int) -> Iterator[None]:
    """Inside: no gradients, no dropout, its own random state. Afterwards everything is as it was."""
    training = [module for module in model.modules() if module.training]
    devices = [model.device] if model.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices), torch.inference_mode():
        torch.manual_seed(seed)
        model.eval()
        try:
            yield
        finally:
            for module in training:
                module.training = True


def _text_of(generated: Generated, *, tokenizer: PreTrainedTokenizerBase) -> str:
    text: str = tokenizer.decode(list(generated.token_ids), skip_special_tokens=True)
    return text.strip()


def _text_scores(
    predictions: Sequence[Prediction], *, references: Mapping[str, str], metrics: Sequence[str]
) -> dict[str, TextScores]:
    return score_texts(
        metrics,
        predictions=[prediction.text for prediction in predictions],
        references=[references[prediction.example_id] for prediction in predictions],
    )


def _evaluation(
    predictions: tuple[Prediction, ...],
    *,
    texts: Mapping[str, TextScores],
    lengths: TextScores,
    losses: Sequence[RowLoss],
) -> SplitEvaluation:
    """Per-example scores with their headline numbers; no `losses` where no model was asked."""
    averaged = {**texts, "generated_tokens": lengths}
    scores = {name: of_name.values for name, of_name in averaged.items()}
    headlines = {name: _mean(of_name, name=name, rows=len(predictions)) for name, of_name in averaged.items()}
    if losses:
        scores["completion_nll"] = tuple(loss.nll for loss in losses)
        scores["target_tokens"] = tuple(loss.target_tokens for loss in losses)
        headlines["completion_loss"] = _completion_loss(losses)
    return SplitEvaluation(
        scores=SplitScores(example_ids=tuple(prediction.example_id for prediction in predictions), metrics=scores),
        metrics=headlines,
        predictions=predictions,
    )


def _mean(of_name: TextScores, *, name: str, rows: int) -> MetricValue:
    """The plain mean over rows. Raises ResultError when a row has no finite score."""
    if len(of_name.values) != rows or not all(map(math.isfinite, of_name.values)):
        raise ResultError(
            f"metric {name!r} did not give a finite score for each of {rows} rows: {of_name.values!r:.200}"
        )
    return MetricValue(mean=math.fsum(of_name.values) / rows, n=rows, settings=dict(of_name.settings))


def _completion_loss(losses: Sequence[RowLoss]) -> MetricValue:
    """All nats over all target tokens, so that a long reference weighs as much as its tokens."""
    targets = sum(loss.target_tokens for loss in losses)
    return MetricValue(
        mean=math.fsum(loss.nll for loss in losses) / targets,
        n=len(losses),
        settings={"unit": "nats per target token", "aggregate": "sum over sum", "target_tokens": targets},
    )
