"""Reading a prompt once gives what reading it twice gave, and only models that allow it are read once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    FalconMambaConfig,
    FalconMambaForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedModel,
)

from job.contract.config import GenerationOptions
from job.evaluation.completion_loss import completion_loss_after, completion_loss_batch
from job.evaluation.generation import Decoding
from job.evaluation.prompt_cache import can_read_once, join, read_prompts
from job.evaluation.scoring import score_batch
from job.prompts import EncodedRow
from job.stopping import StopSignal

ROWS = [
    EncodedRow(
        example_id=str(number), prompt_ids=tuple(range(10, 10 + prompt)), completion_ids=(7, 8, 9, 3)[:completion]
    )
    for number, (prompt, completion) in enumerate([(40, 2), (39, 4), (12, 1), (11, 3), (2, 4)])
]
DECODING = Decoding(GenerationOptions(max_new_tokens=10), end_token_ids=(3,), pad_id=3, context=256)
SMALL: dict[str, Any] = {
    "vocab_size": 100, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 256,
}  # fmt: skip


@pytest.fixture(params=["gpt2", "llama"])
def model(request: pytest.FixtureRequest) -> PreTrainedModel:
    folder: Path = request.getfixturevalue(f"tiny_{request.param}_folder")
    return AutoModelForCausalLM.from_pretrained(folder).eval()


def _seeded(kind: Any, config: Any) -> PreTrainedModel:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made: PreTrainedModel = kind(config).eval()
        return made


@torch.no_grad()
def _score(model: PreTrainedModel, rows: list[EncodedRow]) -> list[Any]:
    return list(score_batch(model=model, rows=rows, decoding=DECODING, stop=StopSignal(), where="test, step 0"))


@torch.no_grad()
def test_the_loss_after_a_read_prompt_is_that_of_one_pass_over_the_row(model: PreTrainedModel) -> None:
    read = read_prompts(model=model, prompts=[row.prompt_ids for row in ROWS], pad_id=3)

    after = completion_loss_after(read, model=model, rows=ROWS, pad_id=3)
    again = completion_loss_after(read, model=model, rows=ROWS, pad_id=3)

    plain = completion_loss_batch(model=model, rows=ROWS, pad_id=3)
    assert [row.nll for row in after] == pytest.approx([row.nll for row in plain], abs=1e-5)
    assert [row.target_tokens for row in after] == [len(row.completion_ids) for row in ROWS]
    assert after == again, "what was read is as it was"


@torch.no_grad()
def test_joined_parts_are_what_one_reading_of_all_gives(model: PreTrainedModel) -> None:
    prompts = [row.prompt_ids for row in ROWS]

    joined = join(
        [read_prompts(model=model, prompts=part, pad_id=3) for part in (prompts[:2], prompts[2:4], prompts[4:])]
    )

    whole = read_prompts(model=model, prompts=prompts, pad_id=3)
    assert torch.equal(joined.prompts.mask, whole.prompts.mask)
    real = whole.prompts.mask[:, None, :-1, None].bool()
    for ours, theirs in zip(joined.layers, whole.layers, strict=True):
        torch.testing.assert_close(ours.keys * real, theirs.keys * real)
        torch.testing.assert_close(ours.values * real, theirs.values * real)


def test_gpt2_and_llama_are_read_once(model: PreTrainedModel) -> None:
    assert can_read_once(model)


SLIDING = _seeded(MistralForCausalLM, MistralConfig(**SMALL, sliding_window=8))
STRETCHED = _seeded(
    LlamaForCausalLM, LlamaConfig(**SMALL, rope_parameters={"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e4})
)


@pytest.mark.parametrize("model", [SLIDING, STRETCHED], ids=["sliding window", "dynamic rope"])
def test_models_that_forget_or_stretch_are_read_twice_with_the_same_result_in_any_batch(model: PreTrainedModel) -> None:
    assert not can_read_once(model)

    together, alone = _score(model, ROWS), [_score(model, [row])[0] for row in ROWS]

    assert [result.generated for result in together] == [result.generated for result in alone]
    assert [result.loss.nll for result in together] == pytest.approx([result.loss.nll for result in alone], abs=1e-4)


def test_a_state_space_model_is_read_twice() -> None:
    config = FalconMambaConfig(vocab_size=100, hidden_size=16, num_hidden_layers=2, state_size=4)

    assert not can_read_once(_seeded(FalconMambaForCausalLM, config))


def test_a_prompt_of_one_token_is_scored_in_any_batch(model: PreTrainedModel) -> None:
    rows = [*ROWS, EncodedRow(example_id="one", prompt_ids=(5,), completion_ids=(6, 3))]

    together, alone = _score(model, rows), [_score(model, [row])[0] for row in rows]

    assert [result.generated for result in together] == [result.generated for result in alone]
    assert [result.loss.nll for result in together] == pytest.approx([result.loss.nll for result in alone], abs=1e-4)


def test_each_prompt_token_goes_through_the_model_once(model: PreTrainedModel) -> None:
    seen: list[int] = []
    model.register_forward_pre_hook(
        lambda _module, _inputs, arguments: seen.append(arguments["input_ids"].numel()), with_kwargs=True
    )

    _score(model, ROWS[:1])

    assert seen[:3] == [39, 2, 1], "the prompt but its last token; the loss; the last token, to write the first"
