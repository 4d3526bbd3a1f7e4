"""What is measured of a split: the same numbers whatever the batch, the padding and the model folder's own settings."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import nn
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from job.contract.base import canonical_json
from job.contract.config import GenerationOptions
from job.contract.errors import DataError, DivergedError, GpuMemoryError, ResultError, SpecError, StoppedError
from job.contract.metric_names import names_of
from job.data import Row
from job.evaluation.completion_loss import completion_loss_batch
from job.evaluation.evaluate import SplitEvaluation, evaluate_lead, evaluate_split
from job.metrics.installed import TextMetric
from job.prompts import EncodedRow
from job.stopping import StopSignal

PROMPTS = [
    "Al",
    "Tom: hi there",
    "Anna: shall we meet?\nTom: yes, at five",
    "B: ok",
    "x" * 40,
    "Lea: no!",
    "hello\nyou",
]
ANSWERS = [" Tom greets.", " ok", " Anna and Tom will meet at five today.", " B agrees.", " x", " Lea says no", " hi"]
NEW_TOKENS = 12


class Loaded(NamedTuple):
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase


@pytest.fixture(params=["gpt2", "llama"])
def loaded(request: pytest.FixtureRequest) -> Loaded:
    folder: Path = request.getfixturevalue(f"tiny_{request.param}_folder")
    return Loaded(AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder))


def _rows(tokenizer: PreTrainedTokenizerBase) -> list[EncodedRow]:
    return [
        EncodedRow(
            example_id=f"row{number}",
            prompt_ids=tuple(tokenizer.encode(prompt)),
            completion_ids=(*tokenizer.encode(answer), int(tokenizer.eos_token_id)),
        )
        for number, (prompt, answer) in enumerate(zip(PROMPTS, ANSWERS, strict=True))
    ]


def _evaluate(loaded: Loaded, **changed: Any) -> SplitEvaluation:
    arguments: dict[str, Any] = {
        "model": loaded.model,
        "tokenizer": loaded.tokenizer,
        "rows": _rows(loaded.tokenizer),
        "references": {f"row{number}": answer for number, answer in enumerate(ANSWERS)},
        "generation": GenerationOptions(max_new_tokens=NEW_TOKENS),
        "metrics": ("rouge",),
        "split": "validation",
        "step": 3,
        "batch_size": 4,
        "end_token_id": int(loaded.tokenizer.eos_token_id),
        "pad_id": int(loaded.tokenizer.eos_token_id),
        "seed": 0,
        "stop": StopSignal(),
    }
    return evaluate_split(**{**arguments, **changed})


def _adapted(model: PreTrainedModel, *, scale: float = 0.5) -> PeftModel:
    """`model` with an adapter that changes its outputs visibly."""
    config = LoraConfig(r=4, target_modules="all-linear", lora_dropout=0.5, fan_in_fan_out=False)
    adapted = get_peft_model(model, config)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, weight in adapted.named_parameters():
            if "lora_B" in name:
                weight.copy_(torch.randn(weight.shape, generator=generator) * scale)
    return adapted


def _full_loss(model: nn.Module, row: EncodedRow) -> float:
    """The plain definition: one row, no padding, all logits."""
    ids = torch.tensor([[*row.prompt_ids, *row.completion_ids]])
    with torch.no_grad():
        logits = model.eval()(input_ids=ids).logits
    log_probabilities = logits[0, :-1].float().log_softmax(-1)
    picked = log_probabilities.gather(1, ids[0, 1:, None])[:, 0]
    return -float(picked[len(row.prompt_ids) - 1 :].sum())


def test_no_text_and_no_loss_depends_on_the_batch(loaded: Loaded) -> None:
    alone, together = _evaluate(loaded, batch_size=1), _evaluate(loaded, batch_size=7)

    assert alone.predictions == together.predictions
    assert [len(prediction.token_ids) for prediction in alone.predictions] == [NEW_TOKENS] * 7
    assert alone.scores.metrics["rouge1"] == together.scores.metrics["rouge1"]
    assert alone.scores.metrics["completion_nll"] == pytest.approx(together.scores.metrics["completion_nll"], abs=1e-4)


def test_a_text_is_what_greedy_decoding_of_the_prompt_alone_gives(loaded: Loaded) -> None:
    rows = _rows(loaded.tokenizer)
    ids = list(rows[2].prompt_ids)
    for _ in range(NEW_TOKENS):
        with torch.no_grad():
            ids.append(int(loaded.model.eval()(input_ids=torch.tensor([ids])).logits[0, -1].argmax()))

    prediction = _evaluate(loaded).predictions[2]

    assert list(prediction.token_ids) == ids[-NEW_TOKENS:]
    assert prediction.ended == "length"
    assert prediction.text == loaded.tokenizer.decode(ids[-NEW_TOKENS:], skip_special_tokens=True).strip()


def test_the_reference_changes_no_text(loaded: Loaded) -> None:
    rows = _rows(loaded.tokenizer)
    others = [replace(row, completion_ids=rows[0].completion_ids) for row in rows]

    assert _evaluate(loaded, rows=rows).predictions == _evaluate(loaded, rows=others).predictions


def test_rows_come_back_in_the_order_they_were_given(loaded: Loaded) -> None:
    rows = _rows(loaded.tokenizer)
    forward, backward = _evaluate(loaded, rows=rows), _evaluate(loaded, rows=rows[::-1])

    assert forward.scores.example_ids == tuple(f"row{number}" for number in range(7))
    assert forward.predictions == backward.predictions[::-1]


@pytest.mark.parametrize("wrapped", [False, True], ids=["plain", "adapter"])
def test_completion_loss_is_that_of_full_unpadded_logits(loaded: Loaded, wrapped: bool) -> None:
    model: Any = _adapted(loaded.model) if wrapped else loaded.model
    rows = _rows(loaded.tokenizer)

    evaluation = _evaluate(loaded, model=model, batch_size=7)

    nll, targets = evaluation.scores.metrics["completion_nll"], evaluation.scores.metrics["target_tokens"]
    assert targets == tuple(len(row.completion_ids) for row in rows)
    for value, row in zip(nll, rows, strict=True):
        assert value / len(row.completion_ids) == pytest.approx(
            _full_loss(model, row) / len(row.completion_ids), abs=1e-5
        )
    assert evaluation.metrics["completion_loss"].mean == pytest.approx(sum(nll) / sum(targets))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_half_precision_weights_with_a_float32_adapter_are_measured(loaded: Loaded, dtype: torch.dtype) -> None:
    exact = _evaluate(loaded).metrics["completion_loss"].mean
    adapted = _adapted(loaded.model.to(dtype), scale=1e-3)

    evaluation = _evaluate(loaded, model=adapted)

    assert {weight.dtype for weight in adapted.parameters()} == {dtype, torch.float32}
    assert evaluation.metrics["completion_loss"].mean == pytest.approx(exact, rel=0.02)


def test_the_head_is_applied_to_the_completions_only(loaded: Loaded) -> None:
    seen: list[int] = []
    head = loaded.model.get_output_embeddings()
    head.register_forward_hook(lambda _module, _inputs, output: seen.append(output.shape[1]))
    rows = _rows(loaded.tokenizer)

    completion_loss_batch(model=loaded.model, rows=rows, pad_id=0)

    assert seen == [max(len(row.completion_ids) for row in rows) + 1]


def test_an_adapter_changes_the_numbers_and_disabling_it_gives_zero_shot(loaded: Loaded) -> None:
    before = _evaluate(loaded)
    adapted = _adapted(loaded.model)

    tuned = _evaluate(loaded, model=adapted)
    with adapted.disable_adapter():
        disabled = _evaluate(loaded, model=adapted)

    assert tuned.metrics["completion_loss"].mean != before.metrics["completion_loss"].mean
    assert disabled == before


def _hostile(model: PreTrainedModel) -> None:
    config = model.generation_config
    config.do_sample, config.temperature, config.top_k = True, 5.0, 3
    config.repetition_penalty, config.no_repeat_ngram_size = 9.0, 1
    config.max_length, config.suppress_tokens, config.forced_eos_token_id = 3, [70, 71, 72], 5
    config.num_beams, config.min_length = 4, 50


def test_nothing_is_taken_from_the_model_folders_generation_config(loaded: Loaded) -> None:
    expected = _evaluate(loaded)
    _hostile(loaded.model)
    hostile = loaded.model.generation_config

    assert _evaluate(loaded) == expected
    assert loaded.model.generation_config is hostile, "the model's own settings are back afterwards"


def test_the_resolved_generation_settings_are_stored_with_the_length(loaded: Loaded) -> None:
    eos = int(loaded.tokenizer.eos_token_id)

    assert _evaluate(loaded).metrics["generated_tokens"].settings == {
        "max_new_tokens": NEW_TOKENS, "do_sample": False, "num_beams": 1,
        "eos_token_id": str(eos), "pad_token_id": eos, "use_cache": True,
    }  # fmt: skip


def test_an_end_token_ends_a_text_and_is_not_counted(loaded: Loaded) -> None:
    free = _evaluate(loaded).predictions[2].token_ids
    end = free[4]
    at = free.index(end)

    evaluation = _evaluate(loaded, end_token_id=end)

    prediction = evaluation.predictions[2]
    assert prediction.token_ids == free[: at + 1]
    assert prediction.ended == "eos"
    assert evaluation.scores.metrics["generated_tokens"][2] == at
    assert evaluation.metrics["generated_tokens"].settings["eos_token_id"] == f"{end},{loaded.tokenizer.eos_token_id}"


def test_a_text_that_meets_the_end_of_the_context_says_so(loaded: Loaded) -> None:
    rows = _rows(loaded.tokenizer)
    long = EncodedRow(
        example_id="row4", prompt_ids=(rows[4].prompt_ids * 7)[:250], completion_ids=rows[4].completion_ids
    )
    mixed = [*rows[:4], long, *rows[5:]]

    evaluation = _evaluate(loaded, rows=mixed, batch_size=7)

    assert evaluation.predictions[4].ended == "context"
    assert len(evaluation.predictions[4].token_ids) == 256 - 250
    assert evaluation.predictions[:4] == _evaluate(loaded).predictions[:4]


@pytest.mark.parametrize(
    "options",
    [
        {"repetition_penalty": 8.0},
        {"no_repeat_ngram_size": 2},
        {"num_beams": 3, "length_penalty": 0.5},
        {"min_new_tokens": 5},
        {"do_sample": True, "top_k": 1},
    ],
    ids=str,
)
def test_settings_take_effect_without_the_batch_changing_a_text(loaded: Loaded, options: dict[str, Any]) -> None:
    generation = GenerationOptions(max_new_tokens=NEW_TOKENS, **options)
    free = [prediction.token_ids for prediction in _evaluate(loaded, generation=generation, batch_size=1).predictions]
    # Padding with the token that the shortest row wants to write shows a setting that counts padding as text.
    tokens = {"end_token_id": free[2][2], "pad_id": free[0][0]}

    alone = _evaluate(loaded, generation=generation, batch_size=1, **tokens)
    together = _evaluate(loaded, generation=generation, batch_size=7, **tokens)

    assert alone.predictions == together.predictions
    assert set(options) <= set(alone.metrics["generated_tokens"].settings)


def test_sampling_repeats_with_its_seed_and_differs_with_another(loaded: Loaded) -> None:
    generation = GenerationOptions(max_new_tokens=NEW_TOKENS, do_sample=True, temperature=2.0)

    first, again = _evaluate(loaded, generation=generation, seed=1), _evaluate(loaded, generation=generation, seed=1)

    assert first == again
    assert first.predictions != _evaluate(loaded, generation=generation, seed=2).predictions


def test_evaluating_leaves_modes_and_random_state_as_they_were(loaded: Loaded) -> None:
    adapted = _adapted(loaded.model)
    adapted.train()
    frozen_part = next(module for module in adapted.modules() if isinstance(module, nn.Dropout))
    frozen_part.eval()
    modes = [module.training for module in adapted.modules()]
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)

    first = _evaluate(loaded, model=adapted)

    assert torch.equal(torch.rand(3), expected)
    assert [module.training for module in adapted.modules()] == modes
    assert _evaluate(loaded, model=adapted.eval()) == first, "dropout of 0.5 was off while measuring"


@pytest.mark.parametrize("use_dora", [False, True], ids=["lora", "dora"])
def test_training_goes_on_after_an_evaluation(loaded: Loaded, use_dora: bool) -> None:
    adapted = get_peft_model(loaded.model, LoraConfig(r=2, target_modules="all-linear", use_dora=use_dora))
    _evaluate(loaded, model=adapted)

    ids = torch.tensor([[*PROMPTS[2].encode()]])
    adapted(input_ids=ids, labels=ids).loss.backward()

    assert all(weight.grad is not None for weight in adapted.parameters() if weight.requires_grad)


def test_progress_is_told_in_rows_up_to_the_last(loaded: Loaded) -> None:
    told: list[tuple[int, int]] = []

    _evaluate(loaded, batch_size=3, on_batch=lambda done, total: told.append((done, total)))

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
        _evaluate(loaded, stop=stop, rows=_rows(loaded.tokenizer)[2:3])
    assert len(steps) == passes, "the token after which SIGTERM came is the last"
    assert loaded.model.generation_config is own


def _out_of_memory_above(rows: int) -> Callable[..., None]:
    def check(_module: nn.Module, _inputs: object, arguments: dict[str, torch.Tensor]) -> None:
        if arguments["input_ids"].shape[0] > rows:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nGPU 0 ...")

    return check


def test_a_batch_too_large_for_the_gpu_is_halved_without_changing_a_result(loaded: Loaded) -> None:
    expected = _evaluate(loaded, batch_size=1)
    sizes: list[int] = []
    loaded.model.register_forward_pre_hook(_out_of_memory_above(3), with_kwargs=True)

    evaluation = _evaluate(loaded, batch_size=7, on_batch=lambda done, _total: sizes.append(done))

    assert evaluation.predictions == expected.predictions
    assert sizes == [3, 6, 7]


def test_one_row_too_large_for_the_gpu_is_the_reason_gpu_oom(loaded: Loaded) -> None:
    loaded.model.register_forward_pre_hook(_out_of_memory_above(0), with_kwargs=True)

    with pytest.raises(GpuMemoryError, match=r"single row .* 2\.00 GiB\.; lower generation\.max_new_tokens"):
        _evaluate(loaded)


def test_a_loss_that_is_not_finite_is_divergence_and_not_a_number(loaded: Loaded) -> None:
    with torch.no_grad():
        next(loaded.model.parameters())[:] = math.nan

    with pytest.raises(DivergedError, match=r"row 'row4' \(validation, step 3\) is nan"):
        _evaluate(loaded)


def test_a_missing_reference_an_empty_row_and_an_empty_split_are_faults_of_the_data(loaded: Loaded) -> None:
    rows = _rows(loaded.tokenizer)

    with pytest.raises(DataError, match="'row0' has no reference"):
        _evaluate(loaded, references={})
    with pytest.raises(DataError, match="'row1' has an empty prompt"):
        _evaluate(loaded, rows=[rows[0], replace(rows[1], prompt_ids=())])
    with pytest.raises(DataError, match="no row to evaluate"):
        _evaluate(loaded, rows=[])
    with pytest.raises(DataError, match="context is 256"):
        _evaluate(loaded, rows=[replace(rows[0], prompt_ids=rows[0].prompt_ids * 256)])


def test_a_metric_that_gives_no_number_is_no_result(loaded: Loaded, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*, predictions: Sequence[str], references: Sequence[str]) -> dict[str, tuple[float, ...]]:
        del references
        return dict.fromkeys(names_of(["rouge"]), (math.nan,) * len(predictions))

    monkeypatch.setattr("job.metrics.installed.INSTALLED", {"rouge": TextMetric(score=broken, settings=dict)})

    with pytest.raises(ResultError, match="'rouge1' did not give a finite score"):
        _evaluate(loaded)


def test_a_metric_that_is_not_installed_is_refused_before_any_work(loaded: Loaded) -> None:
    loaded.model.register_forward_pre_hook(_out_of_memory_above(0), with_kwargs=True)

    with pytest.raises(SpecError, match="bleu"):
        _evaluate(loaded, metrics=("bleu",))


def test_headline_names_are_those_of_the_contract(loaded: Loaded) -> None:
    evaluation = _evaluate(loaded)

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
