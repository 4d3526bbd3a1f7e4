"""Many lanes asked in one batch: each row gets what its lane alone gives it."""

from __future__ import annotations

import gc
import math
import weakref
from collections.abc import Sequence
from typing import NamedTuple

import pytest
import torch
from evaluated import load_tiny, tiny_encoded
from transformers import PreTrainedModel

from job.contract.config import GenerationOptions
from job.contract.errors import DivergedError, GpuMemoryError, HungError, StoppedError
from job.evaluation.evaluate import measuring
from job.evaluation.generation import Decoding
from job.evaluation.prompt_cache import read_prompts
from job.evaluation.scoring import RowResult, score_batch
from job.lanes import exam as examined
from job.lanes.decode import Decoder, _Memory
from job.lanes.exam import Asked, Exam, can_examine
from job.lanes.joined import Joined
from job.lanes.layer import Lanes
from job.lanes.stack import Factors, LaneAdapter, Stack
from job.prompts import EncodedRow
from job.stopping import StopSignal

RANKS = (2, 5, 3)


class Tiny(NamedTuple):
    model: PreTrainedModel
    rows: list[EncodedRow]
    stack: Stack
    lanes: Lanes
    end: int


@pytest.fixture(params=["tiny_gpt2_folder", "tiny_llama_folder"])
def tiny(request: pytest.FixtureRequest) -> Tiny:
    """A model in float64 with three adapters of differing ranks that change what it writes."""
    loaded = load_tiny(request.getfixturevalue(request.param))
    model = loaded.model.to(torch.float64).eval()
    generator = torch.Generator().manual_seed(3)

    def factors(rank: int) -> dict[str, Factors]:
        def drawn(*shape: int) -> torch.Tensor:
            return torch.randn(*shape, generator=generator, dtype=torch.float64)

        found = {}
        for name, module in model.named_modules():
            if name.endswith(("c_attn", "q_proj", "v_proj", "down_proj")):
                inputs, outputs = (getattr(module, "nf", 0) and module.weight.shape) or module.weight.T.shape
                found[name] = Factors(drawn(inputs, rank), drawn(rank, outputs))
        return found

    adapters = [LaneAdapter(of := factors(rank), dict.fromkeys(of, 0.2 * rank), 0.0) for rank in RANKS]
    stack = Stack(adapters, device=model.device)
    end = int(loaded.tokenizer.eos_token_id)
    return Tiny(model, tiny_encoded(loaded.tokenizer), stack, Lanes(model, stack), end)


def decoding_of(tiny: Tiny, **options: object) -> Decoding:
    asked = GenerationOptions.model_validate({"max_new_tokens": 12} | options)
    return Decoding(asked, (tiny.end,), tiny.end, tiny.model.config.max_position_embeddings)


def asked(
    tiny: Tiny, *, decoding: Decoding | None = None, at_once: int = 64, told: list[tuple[int, int]] | None = None
) -> Asked:
    def on_batch(done: int, total: int, seconds: float) -> None:
        assert seconds > 0
        if told is not None:
            told.append((done, total))

    return Asked(tiny.rows, decoding or decoding_of(tiny), "validation, step 3", at_once, on_batch)


def exam_of(tiny: Tiny) -> Exam:
    joined = Joined(tiny.stack, lanes=range(len(RANKS)))
    return Exam(tiny.model, lanes=tiny.lanes, joined=joined, pad_id=tiny.end, seats=len(RANKS))


def alone(tiny: Tiny, lane: int | None, *, decoding: Decoding | None = None) -> list[RowResult]:
    """By transformers' generate, row by row."""
    how = decoding or decoding_of(tiny)
    if lane is None:
        tiny.lanes.detach()
    with measuring(tiny.model, seed=0), tiny.lanes.only(lane or 0):
        return [
            score_batch(model=tiny.model, rows=[row], decoding=how, stop=StopSignal(), where="here")[0]
            for row in tiny.rows
        ]


def agree(found: Sequence[RowResult] | Exception, expected: Sequence[RowResult]) -> None:
    assert not isinstance(found, Exception), found
    assert [result.generated for result in found] == [result.generated for result in expected]
    assert [result.loss.target_tokens for result in found] == [result.loss.target_tokens for result in expected]
    for one, other in zip(found, expected, strict=True):
        assert one.loss.nll == pytest.approx(other.loss.nll, abs=1e-6)  # summed in float32


@pytest.mark.parametrize("at_once", [1, 2, 64])
def test_each_row_gets_what_its_lane_alone_gives_it(tiny: Tiny, at_once: int) -> None:
    found = exam_of(tiny).hold(dict.fromkeys(range(3), asked(tiny, at_once=at_once)), stop=StopSignal())
    for lane in range(3):
        agree(found[lane], alone(tiny, lane))
    texts = {tuple(result.generated for result in found[lane]) for lane in range(3)}  # type: ignore[union-attr]  # no lane failed
    assert len(texts) == 3, "the adapters must write differently"


def test_without_lanes_the_model_answers_as_it_is(tiny: Tiny) -> None:
    expected = alone(tiny, None)
    exam = Exam(tiny.model, lanes=None, joined=None, pad_id=tiny.end, seats=2)
    found = exam.hold({0: asked(tiny), 1: asked(tiny)}, stop=StopSignal())
    agree(found[0], expected)
    agree(found[1], expected)


def test_beside_lanes_a_number_of_none_is_answered_by_the_model_as_it_is(tiny: Tiny) -> None:
    found = exam_of(tiny).hold(dict.fromkeys((0, 2, 3, 4), asked(tiny, at_once=2)), stop=StopSignal())
    for lane in (0, 2):
        agree(found[lane], alone(tiny, lane))
    expected = alone(tiny, None)
    for guest in (3, 4):
        agree(found[guest], expected)


def test_fewer_lanes_than_seats_get_more_rows_each(tiny: Tiny) -> None:
    expected = alone(tiny, None)
    told: list[tuple[int, int]] = []
    exam = Exam(tiny.model, lanes=None, joined=None, pad_id=tiny.end, seats=len(tiny.rows))
    agree(exam.hold({0: asked(tiny, at_once=1, told=told)}, stop=StopSignal())[0], expected)
    assert told == [(len(tiny.rows), len(tiny.rows))]


@pytest.mark.parametrize("options", [{"min_new_tokens": 5}, {"max_new_tokens": 1}, {"max_new_tokens": 40}])
def test_limits_of_length_hold_for_each_row(tiny: Tiny, options: dict[str, int]) -> None:
    decoding = decoding_of(tiny, **options)
    ends = decoding._replace(end_token_ids=tuple(range(0, 60, 2)))  # so that texts end at differing tokens
    found = exam_of(tiny).hold({1: asked(tiny, decoding=ends)}, stop=StopSignal())
    agree(found[1], alone(tiny, 1, decoding=ends))


def test_a_row_near_the_end_of_the_context_is_cut_there_and_the_others_are_not(tiny: Tiny) -> None:
    longest = max(len(row.prompt_ids) for row in tiny.rows)
    decoding = decoding_of(tiny)._replace(context=longest + 3)
    found = exam_of(tiny).hold({2: asked(tiny, decoding=decoding)}, stop=StopSignal())
    agree(found[2], alone(tiny, 2, decoding=decoding))
    assert {result.generated.ended for result in found[2]} > {"context"}  # type: ignore[union-attr]  # no lane failed


def test_ended_texts_leave_the_batch_and_the_others_go_on(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    rows: list[int] = []
    step = Decoder._slots

    def seen(self: object, count: int, **arguments: object) -> object:
        rows.append(count)
        return step(self, count, **arguments)  # type: ignore[arg-type]  # handed on as they came

    monkeypatch.setattr(Decoder, "_slots", seen)
    monkeypatch.setattr("job.lanes.decode._FEWEST", 1)
    monkeypatch.setattr("job.lanes.decode._LOOKS_EVERY", 1)
    longest = max(len(row.prompt_ids) for row in tiny.rows)
    decoding = decoding_of(tiny, max_new_tokens=40)._replace(context=longest + 4)  # the shorter prompts have more room
    found = exam_of(tiny).hold(dict.fromkeys(range(3), asked(tiny, decoding=decoding)), stop=StopSignal())
    for lane in range(3):
        agree(found[lane], alone(tiny, lane, decoding=decoding))
    assert rows[0] == 21 and len(rows) >= 3 and rows == sorted(rows, reverse=True), rows


def test_a_second_exam_asks_the_present_factors(tiny: Tiny) -> None:
    exam = exam_of(tiny)
    exam.hold({0: asked(tiny)}, stop=StopSignal())
    with torch.no_grad():
        tiny.stack.values[0] *= -1.5
    agree(exam.hold({0: asked(tiny)}, stop=StopSignal())[0], alone(tiny, 0))


def test_a_lane_with_a_loss_that_is_not_finite_fails_alone(tiny: Tiny) -> None:
    with torch.no_grad():
        tiny.stack.ups[next(iter(tiny.stack.ups))][1] = 1e308  # a number, but what it gives is none
    found = exam_of(tiny).hold(dict.fromkeys(range(3), asked(tiny)), stop=StopSignal())
    assert isinstance(found[1], DivergedError)
    for lane in (0, 2):
        agree(found[lane], alone(tiny, lane))


def test_weights_that_are_not_numbers_spoil_no_other_lane(tiny: Tiny) -> None:
    with torch.no_grad():
        tiny.stack.values[1] = math.nan
    found = exam_of(tiny).hold(dict.fromkeys(range(3), asked(tiny)), stop=StopSignal())
    assert isinstance(found[1], DivergedError)
    for lane in (0, 2):
        agree(found[lane], alone(tiny, lane))


def test_a_lane_that_is_told_of_progress_may_end_there_and_the_others_go_on(tiny: Tiny) -> None:
    def hung(done: int, total: int, seconds: float) -> None:
        raise HungError("too long")

    told: list[tuple[int, int]] = []
    late = Asked(tiny.rows, decoding_of(tiny), "test, step 3", 2, hung)
    found = exam_of(tiny).hold({0: late, 1: asked(tiny, at_once=2, told=told)}, stop=StopSignal())
    assert isinstance(found[0], HungError)
    agree(found[1], alone(tiny, 1))
    assert told[-1] == (7, 7) and told == sorted(told)


def test_a_batch_that_does_not_fit_goes_on_in_halves(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    read, sizes = read_prompts, []

    def limited(*, model: PreTrainedModel, prompts: Sequence[Sequence[int]], pad_id: int) -> object:
        sizes.append(len(prompts))
        if len(prompts) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return read(model=model, prompts=prompts, pad_id=pad_id)

    monkeypatch.setattr(examined, "length_runs", lambda lengths: [slice(0, len(lengths))])
    monkeypatch.setattr(examined, "read_prompts", limited)
    found = exam_of(tiny).hold(dict.fromkeys(range(3), asked(tiny)), stop=StopSignal())
    for lane in range(3):
        agree(found[lane], alone(tiny, lane))
    assert max(sizes) > 2
    monkeypatch.setattr(examined, "read_prompts", lambda **_: (_ for _ in ()).throw(torch.OutOfMemoryError("none")))
    with pytest.raises(GpuMemoryError):
        exam_of(tiny).hold({0: asked(tiny)}, stop=StopSignal())


def test_a_stop_ends_an_exam_between_two_tokens(tiny: Tiny) -> None:
    stop = StopSignal()
    stop.requested = True
    with pytest.raises(StoppedError):
        exam_of(tiny).hold({0: asked(tiny)}, stop=stop)


@pytest.mark.parametrize("options", [{"num_beams": 2}, {"do_sample": True}, {"repetition_penalty": 1.2}])
def test_what_is_not_greedy_is_not_asked_together(tiny: Tiny, options: dict[str, object]) -> None:
    assert can_examine(tiny.model, asked(tiny))
    assert not can_examine(tiny.model, asked(tiny, decoding=decoding_of(tiny, **options)))


def test_after_an_exam_its_memory_is_free_at_once(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[weakref.ref[object]] = []
    begin = _Memory.begin

    def seen(self: _Memory, *arguments: object, **others: object) -> None:
        made.append(weakref.ref(self))
        begin(self, *arguments, **others)  # type: ignore[arg-type]  # handed on as they came

    monkeypatch.setattr(_Memory, "begin", seen)
    exam = exam_of(tiny)
    gc.disable()  # a GPU is full before anybody looks for cycles
    try:
        exam.hold({0: asked(tiny)}, stop=StopSignal())
        assert made
        assert [one() for one in made] == [None] * len(made)
    finally:
        gc.enable()


def test_layers_that_get_the_tokens_of_all_rows_as_one_list_add_the_same(tiny: Tiny) -> None:
    joined = Joined(tiny.stack, lanes=range(len(RANKS)))
    joined.refresh()
    layer, down = next(iter(joined.downs.items()))
    x, foreign = torch.randn(3, 5, len(down), dtype=torch.float64), joined.foreign([2, 0, 1])
    whole = joined.update(x, layer=layer, foreign=foreign)
    assert torch.equal(joined.update(x.flatten(0, 1), layer=layer, foreign=foreign), whole.flatten(0, 1))
