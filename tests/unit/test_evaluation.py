"""What is measured of a split: the same numbers whatever the batch, the padding and the model folder's own settings."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from evaluated import NEW_TOKENS, Loaded, full_loss, score, tiny_encoded, with_adapter
from torch import nn
from transformers import PreTrainedModel

from job.contract.config import GenerationOptions
from job.evaluation.completion_loss import completion_loss_batch
from job.prompts import EncodedRow


def test_no_text_and_no_loss_depends_on_the_batch(loaded: Loaded) -> None:
    alone, together = score(loaded, batch_size=1), score(loaded, batch_size=7)

    assert alone.predictions == together.predictions
    assert [len(prediction.token_ids) for prediction in alone.predictions] == [NEW_TOKENS] * 7
    assert alone.scores.metrics["rouge1"] == together.scores.metrics["rouge1"]
    assert alone.scores.metrics["completion_nll"] == pytest.approx(together.scores.metrics["completion_nll"], abs=1e-4)


def test_a_text_is_what_greedy_decoding_of_the_prompt_alone_gives(loaded: Loaded) -> None:
    rows = tiny_encoded(loaded.tokenizer)
    ids = list(rows[2].prompt_ids)
    for _ in range(NEW_TOKENS):
        with torch.no_grad():
            ids.append(int(loaded.model.eval()(input_ids=torch.tensor([ids])).logits[0, -1].argmax()))

    prediction = score(loaded).predictions[2]

    assert list(prediction.token_ids) == ids[-NEW_TOKENS:]
    assert prediction.ended == "length"
    assert prediction.text == loaded.tokenizer.decode(ids[-NEW_TOKENS:], skip_special_tokens=True).strip()


def test_the_reference_changes_no_text(loaded: Loaded) -> None:
    rows = tiny_encoded(loaded.tokenizer)
    others = [replace(row, completion_ids=rows[0].completion_ids) for row in rows]

    assert score(loaded, rows=rows).predictions == score(loaded, rows=others).predictions


def test_rows_come_back_in_the_order_they_were_given(loaded: Loaded) -> None:
    rows = tiny_encoded(loaded.tokenizer)
    forward, backward = score(loaded, rows=rows), score(loaded, rows=rows[::-1])

    assert forward.scores.example_ids == tuple(f"row{number}" for number in range(7))
    assert forward.predictions == backward.predictions[::-1]


@pytest.mark.parametrize("wrapped", [False, True], ids=["plain", "adapter"])
def test_completion_loss_is_that_of_full_unpadded_logits(loaded: Loaded, wrapped: bool) -> None:
    model: Any = with_adapter(loaded.model) if wrapped else loaded.model
    rows = tiny_encoded(loaded.tokenizer)

    evaluation = score(loaded, model=model, batch_size=7)

    nll, targets = evaluation.scores.metrics["completion_nll"], evaluation.scores.metrics["target_tokens"]
    assert targets == tuple(len(row.completion_ids) for row in rows)
    for value, row in zip(nll, rows, strict=True):
        assert value / len(row.completion_ids) == pytest.approx(
            full_loss(model, row) / len(row.completion_ids), abs=1e-5
        )
    assert evaluation.metrics["completion_loss"].mean == pytest.approx(sum(nll) / sum(targets))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_half_precision_weights_with_a_float32_adapter_are_measured(loaded: Loaded, dtype: torch.dtype) -> None:
    exact = score(loaded).metrics["completion_loss"].mean
    adapted = with_adapter(loaded.model.to(dtype), scale=1e-3)

    evaluation = score(loaded, model=adapted)

    assert {weight.dtype for weight in adapted.parameters()} == {dtype, torch.float32}
    assert evaluation.metrics["completion_loss"].mean == pytest.approx(exact, rel=0.02)


def test_the_head_is_applied_to_the_completions_only(loaded: Loaded) -> None:
    seen: list[int] = []
    head = loaded.model.get_output_embeddings()
    head.register_forward_hook(lambda _module, _inputs, output: seen.append(output.shape[1]))
    rows = tiny_encoded(loaded.tokenizer)

    completion_loss_batch(model=loaded.model, rows=rows, pad_id=0)

    assert seen == [max(len(row.completion_ids) for row in rows) + 1]


def test_an_adapter_changes_the_numbers_and_disabling_it_gives_zero_shot(loaded: Loaded) -> None:
    before = score(loaded)
    adapted = with_adapter(loaded.model)

    tuned = score(loaded, model=adapted)
    with adapted.disable_adapter():
        disabled = score(loaded, model=adapted)

    assert tuned.metrics["completion_loss"].mean != before.metrics["completion_loss"].mean
    assert disabled == before


def _hostile(model: PreTrainedModel) -> None:
    config = model.generation_config
    config.do_sample, config.temperature, config.top_k = True, 5.0, 3
    config.repetition_penalty, config.no_repeat_ngram_size = 9.0, 1
    config.max_length, config.suppress_tokens, config.forced_eos_token_id = 3, [70, 71, 72], 5
    config.num_beams, config.min_length = 4, 50


def test_nothing_is_taken_from_the_model_folders_generation_config(loaded: Loaded) -> None:
    expected = score(loaded)
    _hostile(loaded.model)
    hostile = loaded.model.generation_config

    assert score(loaded) == expected
    assert loaded.model.generation_config is hostile, "the model's own settings are back afterwards"


def test_the_resolved_generation_settings_are_stored_with_the_length(loaded: Loaded) -> None:
    eos = int(loaded.tokenizer.eos_token_id)

    assert score(loaded).metrics["generated_tokens"].settings == {
        "max_new_tokens": NEW_TOKENS, "do_sample": False, "num_beams": 1,
        "eos_token_id": str(eos), "pad_token_id": eos, "use_cache": True,
    }  # fmt: skip


def test_an_end_token_ends_a_text_and_is_not_counted(loaded: Loaded) -> None:
    free = score(loaded).predictions[2].token_ids
    end = free[4]
    at = free.index(end)

    evaluation = score(loaded, end_token_id=end)

    prediction = evaluation.predictions[2]
    assert prediction.token_ids == free[: at + 1]
    assert prediction.ended == "eos"
    assert evaluation.scores.metrics["generated_tokens"][2] == at
    assert evaluation.metrics["generated_tokens"].settings["eos_token_id"] == f"{end},{loaded.tokenizer.eos_token_id}"


def test_a_text_that_meets_the_end_of_the_context_says_so(loaded: Loaded) -> None:
    rows = tiny_encoded(loaded.tokenizer)
    long = EncodedRow(
        example_id="row4", prompt_ids=(rows[4].prompt_ids * 7)[:250], completion_ids=rows[4].completion_ids
    )
    mixed = [*rows[:4], long, *rows[5:]]

    evaluation = score(loaded, rows=mixed, batch_size=7)

    assert evaluation.predictions[4].ended == "context"
    assert len(evaluation.predictions[4].token_ids) == 256 - 250
    assert evaluation.predictions[:4] == score(loaded).predictions[:4]


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
    free = [prediction.token_ids for prediction in score(loaded, generation=generation, batch_size=1).predictions]
    # Padding with the token that the shortest row wants to write shows a setting that counts padding as text.
    tokens = {"end_token_id": free[2][2], "pad_id": free[0][0]}

    alone = score(loaded, generation=generation, batch_size=1, **tokens)
    together = score(loaded, generation=generation, batch_size=7, **tokens)

    assert alone.predictions == together.predictions
    assert set(options) <= set(alone.metrics["generated_tokens"].settings)


def test_sampling_repeats_with_its_seed_and_differs_with_another(loaded: Loaded) -> None:
    generation = GenerationOptions(max_new_tokens=NEW_TOKENS, do_sample=True, temperature=2.0)

    first, again = (
        score(loaded, generation=generation, seed=1),
        score(loaded, generation=generation, seed=1),
    )

    assert first == again
    assert first.predictions != score(loaded, generation=generation, seed=2).predictions


def test_evaluating_leaves_modes_and_random_state_as_they_were(loaded: Loaded) -> None:
    adapted = with_adapter(loaded.model)
    adapted.train()
    frozen_part = next(module for module in adapted.modules() if isinstance(module, nn.Dropout))
    frozen_part.eval()
    modes = [module.training for module in adapted.modules()]
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)

    first = score(loaded, model=adapted)

    assert torch.equal(torch.rand(3), expected)
    assert [module.training for module in adapted.modules()] == modes
    assert score(loaded, model=adapted.eval()) == first, "dropout of 0.5 was off while measuring"
