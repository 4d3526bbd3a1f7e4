"""Evaluations that are interrupted, starved, fed wrongly or follow one another."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
import torch
from evaluated import PROMPTS, Loaded, score, tiny_encoded
from peft import LoraConfig, get_peft_model
from torch import nn

from job.contract.base import canonical_json
from job.contract.errors import DataError, DivergedError, GpuMemoryError, ResultError, SpecError, StoppedError
from job.contract.metric_names import names_of
from job.data import Row
from job.evaluation.evaluate import evaluate_lead
from job.metrics.installed import TextMetric
from job.stopping import StopSignal


@pytest.mark.parametrize("use_dora", [False, True], ids=["lora", "dora"])
def test_training_goes_on_after_an_evaluation(loaded: Loaded, use_dora: bool) -> None:
    adapted = get_peft_model(loaded.model, LoraConfig(r=2, target_modules="all-linear", use_dora=use_dora))
    score(loaded, model=adapted)

    ids = torch.tensor([[*PROMPTS[2].encode()]])
    adapted(input_ids=ids, labels=ids).loss.backward()

    assert all(weight.grad is not None for weight in adapted.parameters() if weight.requires_grad)


def test_progress_is_told_in_rows_up_to_the_last(loaded: Loaded) -> None:
    told: list[tuple[int, int]] = []

    score(loaded, batch_size=3, on_batch=lambda done, total: told.append((done, total)))

    assert told == [(3, 7), (6, 7), (7, 7)]


@pytest.mark.parametrize("passes", [1, 2, 3, 9])
def test_sigterm_ends_the_evaluation_before_the_next_token(loaded: Loaded, passes: int) -> None:
    stop = StopSignal()
    steps: list[int] = []

    def count(_module: nn.Module, _inputs: object, _output: object) -> None:
        steps.append(1)
        stop.requested = stop.requested or len(steps) == passes

    loaded.model.register_forward_hook(count)
    own = loaded.model.generation_config

    with pytest.raises(StoppedError):
        score(loaded, stop=stop, rows=tiny_encoded(loaded.tokenizer)[2:3])
    assert len(steps) == passes, "the token after which SIGTERM came is the last"
    assert loaded.model.generation_config is own


def _out_of_memory_above(rows: int) -> Callable[..., None]:
    def check(_module: nn.Module, _inputs: object, arguments: dict[str, torch.Tensor]) -> None:
        if arguments["input_ids"].shape[0] > rows:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nGPU 0 ...")

    return check


def test_a_batch_too_large_for_the_gpu_is_halved_without_changing_a_result(loaded: Loaded) -> None:
    expected = score(loaded, batch_size=1)
    sizes: list[int] = []
    loaded.model.register_forward_pre_hook(_out_of_memory_above(3), with_kwargs=True)

    evaluation = score(loaded, batch_size=7, on_batch=lambda done, _total: sizes.append(done))

    assert evaluation.predictions == expected.predictions
    assert sizes == [3, 6, 7]


def test_one_row_too_large_for_the_gpu_is_the_reason_gpu_oom(loaded: Loaded) -> None:
    loaded.model.register_forward_pre_hook(_out_of_memory_above(0), with_kwargs=True)

    with pytest.raises(GpuMemoryError, match=r"single row .* 2\.00 GiB\.; lower generation\.max_new_tokens"):
        score(loaded)


def test_a_loss_that_is_not_finite_is_divergence_and_not_a_number(loaded: Loaded) -> None:
    with torch.no_grad():
        next(loaded.model.parameters())[:] = math.nan

    with pytest.raises(DivergedError, match=r"row 'row4' \(validation, step 3\) is nan"):
        score(loaded)


def test_a_missing_reference_an_empty_row_and_an_empty_split_are_faults_of_the_data(loaded: Loaded) -> None:
    rows = tiny_encoded(loaded.tokenizer)

    with pytest.raises(DataError, match="'row0' has no reference"):
        score(loaded, references={})
    with pytest.raises(DataError, match="'row1' has an empty prompt"):
        score(loaded, rows=[rows[0], replace(rows[1], prompt_ids=())])
    with pytest.raises(DataError, match="no row to evaluate"):
        score(loaded, rows=[])
    with pytest.raises(DataError, match="context is 256"):
        score(loaded, rows=[replace(rows[0], prompt_ids=rows[0].prompt_ids * 256)])


def test_a_metric_that_gives_no_number_is_no_result(loaded: Loaded, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*, predictions: Sequence[str], references: Sequence[str]) -> dict[str, tuple[float, ...]]:
        del references
        return dict.fromkeys(names_of(["rouge"]), (math.nan,) * len(predictions))

    monkeypatch.setattr("job.metrics.installed.INSTALLED", {"rouge": TextMetric(score=broken, settings=dict)})

    with pytest.raises(ResultError, match="'rouge1' did not give a finite score"):
        score(loaded)


def test_a_metric_that_is_not_installed_is_refused_before_any_work(loaded: Loaded) -> None:
    loaded.model.register_forward_pre_hook(_out_of_memory_above(0), with_kwargs=True)

    with pytest.raises(SpecError, match="bleu"):
        score(loaded, metrics=("bleu",))


def test_headline_names_are_those_of_the_contract(loaded: Loaded) -> None:
    evaluation = score(loaded)

    assert set(evaluation.metrics) == set(names_of(["rouge"]))
    assert all(value.n == 7 for value in evaluation.metrics.values())
    for name in ("rouge1", "rouge2", "rougeL", "rougeLsum", "generated_tokens"):
        assert evaluation.metrics[name].mean == pytest.approx(sum(evaluation.scores.metrics[name]) / 7)
    assert canonical_json(evaluation.scores.model_dump(mode="json"))


def test_lead_is_the_first_lines_that_are_not_blank(loaded: Loaded) -> None:
    rows = [
        Row(
            example_id="a",
            fields={},
            input="\nTom: hi\n \nAnna: hello\nTom: bye\nAnna: ok",
            target="Tom: hi\nAnna: hello",
        ),
        Row(example_id="b", fields={}, input="only one line", target="something else"),
    ]

    evaluation = evaluate_lead(rows=rows, k=2, tokenizer=loaded.tokenizer, metrics=("rouge",), split="test")

    assert [prediction.text for prediction in evaluation.predictions] == ["Tom: hi\nAnna: hello", "only one line"]
    assert evaluation.scores.metrics["rougeLsum"] == (1.0, 0.0)
    assert evaluation.scores.metrics["generated_tokens"] == (len("Tom: hi\nAnna: hello"), len("only one line"))
    assert "completion_loss" not in evaluation.metrics
    assert {prediction.step for prediction in evaluation.predictions} == {0}
