"""What becomes of lanes besides their arithmetic: memory that runs out, hooks that fail, checkpoints, own steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest
import torch
from tiny_lanes import Owner, Tiny, side_by_side
from tiny_training import TRIAL, Run, base_model, lora, options
from transformers import PreTrainedModel

from job.adapter import add_adapter
from job.contract.config import JobExecution
from job.contract.documents import StepRecord
from job.contract.errors import DataError, GpuMemoryError, StoppedError, TransientError
from job.lanes.adapters import factors_of
from job.lanes.course import Answers
from job.lanes.head import lane_losses
from job.lanes.layer import Lanes
from job.lanes.passes import Pass
from job.lanes.stack import Factors, LaneAdapter, Stack
from job.seeds import streams
from job.stopping import StopSignal

EVERY_STEP = JobExecution(checkpoint_every=1)
NAMES = ("a" * 12, "b" * 12, "c" * 12, "d" * 12)
TRIALS = tuple(Tiny(name, lora(r=2 + index), options(eval_steps=2), seed=index) for index, name in enumerate(NAMES))


def weights(owners: dict[str, Owner]) -> dict[str, torch.Tensor]:
    found = {}
    for name, owner in owners.items():
        assert owner.trained is not None, owner.error
        found[name] = owner.trained.flat()
    return found


def run_out_above(rows: int, monkeypatch: pytest.MonkeyPatch, *, calls: list[int]) -> None:
    """A device that holds passes of so many rows."""

    def limited(model: PreTrainedModel, batch: Pass) -> torch.Tensor:
        calls.append(len(batch.rows))
        if len(batch.rows) > rows:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return lane_losses(model, batch)

    monkeypatch.setattr("job.lanes.pack.lane_losses", limited)


def test_lanes_that_do_not_fit_go_on_in_halves(tiny_gpt2_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = weights(side_by_side(tiny_gpt2_folder, TRIALS, dtype=torch.float64))
    calls: list[int] = []
    run_out_above(2, monkeypatch, calls=calls)
    found = side_by_side(tiny_gpt2_folder, TRIALS, dtype=torch.float64)
    assert calls[:3] == [8, 4, 2]
    for name, vector in weights(found).items():
        assert (vector - expected[name]).abs().max() < 1e-7


def test_memory_that_runs_out_later_loses_no_step(tiny_gpt2_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = weights(side_by_side(tiny_gpt2_folder, TRIALS, dtype=torch.float64))
    owners = {name: Owner() for name in NAMES}
    owners[NAMES[0]].at_step = lambda record: (
        run_out_above(4, monkeypatch, calls=[]) if record.step == 3 else None
    )  # fmt: skip
    side_by_side(tiny_gpt2_folder, TRIALS, dtype=torch.float64, owners=owners)
    for name, vector in weights(owners).items():
        trained = owners[name].trained
        assert trained is not None
        assert [record.step for record in trained.history] == [1, 2, 3, 4, 5, 6]
        assert (vector - expected[name]).abs().max() < 1e-7


def test_a_lane_that_does_not_fit_alone_fails_with_the_remedy_and_the_next_has_its_turn(
    tiny_gpt2_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_out_above(2, monkeypatch, calls=[])
    large = Tiny(NAMES[0], training=options(per_device_train_batch_size=4))
    found = side_by_side(tiny_gpt2_folder, [large, TRIALS[1]])
    error = found[NAMES[0]].error
    assert isinstance(error, GpuMemoryError)
    assert "lower training.per_device_train_batch_size" in str(error)
    assert found[NAMES[1]].trained is not None


@pytest.mark.parametrize("error", [DataError("no such metric"), ZeroDivisionError("a bug")])
def test_a_lane_whose_evaluation_fails_ends_alone(tiny_gpt2_folder: Path, error: Exception) -> None:
    expected = weights(side_by_side(tiny_gpt2_folder, TRIALS))

    def failing(step: int) -> None:
        if step == 4:
            raise error

    owners = {name: Owner() for name in NAMES}
    owners[NAMES[2]].at_evaluation = failing
    side_by_side(tiny_gpt2_folder, TRIALS, owners=owners)
    assert owners[NAMES[2]].error is error
    assert owners[NAMES[2]].trained is None
    del owners[NAMES[2]]
    for name, vector in weights(owners).items():
        assert torch.equal(vector, expected[name])


def test_lanes_have_step_counts_of_their_own(tiny_gpt2_folder: Path) -> None:
    short = Tiny(NAMES[0], training=options(max_steps=2))
    longer = Tiny(NAMES[1], training=options(max_steps=5))
    found = side_by_side(tiny_gpt2_folder, [longer, short], dtype=torch.float64)
    for trial in (short, longer):
        ours = found[trial.name].trained
        alone = side_by_side(tiny_gpt2_folder, [trial], dtype=torch.float64)[trial.name].trained
        assert ours is not None
        assert alone is not None
        assert len(ours.history) == trial.training.max_steps
        assert (ours.flat() - alone.flat()).abs().max() < 1e-7


def test_each_lane_is_told_what_is_due_in_order(tiny_gpt2_folder: Path) -> None:
    found = side_by_side(tiny_gpt2_folder, TRIALS[:2], execution=JobExecution(checkpoint_every=3))
    for owner in found.values():
        assert owner.told == [
            ("evaluate", 2), ("checkpoint", 3), ("evaluate", 4), ("evaluate", 6), ("checkpoint", 6), ("finish", 6),
        ]  # fmt: skip
        assert owner.seconds > 0


@pytest.mark.parametrize("width", [1, 2, 99])
@pytest.mark.parametrize("at", [1, 3, 4, 6])
def test_a_stopped_group_goes_on_to_the_same_bits(tiny_gpt2_folder: Path, tmp_path: Path, width: int, at: int) -> None:
    expected = weights(side_by_side(tiny_gpt2_folder, TRIALS, width=width))
    stop = StopSignal()

    def ask(record: StepRecord) -> None:
        stop.requested = stop.requested or record.step == at

    owners = {name: Owner() for name in NAMES}
    owners[NAMES[1]].at_step = ask
    with pytest.raises(StoppedError):
        side_by_side(tiny_gpt2_folder, TRIALS, width=width, owners=owners, root=tmp_path, stop=stop)
    left = [trial for trial in TRIALS if owners[trial.name].trained is None]
    assert left
    rest = side_by_side(tiny_gpt2_folder, left, width=width, root=tmp_path, attempt="two")
    for name, vector in weights(rest).items():
        if width == 1 or len(left) == len(TRIALS):
            assert torch.equal(vector, expected[name])
        else:  # who stands beside it has changed, and with it the rounding
            assert (vector - expected[name]).norm() < 1e-3 * expected[name].norm()
    assert b"evaluate" in rest[NAMES[1]].extra or at == 1  # the owner's own files came back


def test_an_evaluation_that_was_cut_short_is_made_up_for(tiny_gpt2_folder: Path, tmp_path: Path) -> None:
    def stopping(step: int) -> None:
        if step == 4:
            raise StoppedError("stopped")

    owners = {name: Owner() for name in NAMES[:2]}
    owners[NAMES[1]].at_evaluation = stopping
    with pytest.raises(StoppedError):
        side_by_side(tiny_gpt2_folder, TRIALS[:2], owners=owners, root=tmp_path)
    rest = side_by_side(tiny_gpt2_folder, TRIALS[:2], root=tmp_path, attempt="two")
    evaluated = {name: [step for what, step in rest[name].told if what == "evaluate"] for name in NAMES[:2]}
    assert evaluated == {NAMES[0]: [6], NAMES[1]: [4, 6]}


def test_a_store_that_is_away_ends_the_group_to_be_run_again(tiny_gpt2_folder: Path) -> None:
    def away(step: int) -> None:
        raise TransientError("no answer")

    owners = {name: Owner() for name in NAMES[:2]}
    owners[NAMES[0]].at_evaluation = away
    with pytest.raises(TransientError):
        side_by_side(tiny_gpt2_folder, TRIALS[:2], owners=owners)
    assert all(owner.error is None for owner in owners.values())


def test_each_engine_passes_over_a_checkpoint_of_the_other_and_begins_anew(
    tiny_gpt2_folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = Run(tiny_gpt2_folder, tmp_path, training=options(), adapter=lora(), execution=EVERY_STEP)
    with pytest.raises(StoppedError):
        run.attempt(on_step=stop_at(3))
    trial = Tiny(TRIAL, lora(), options())
    owners = {TRIAL: Owner(at_step=stop_at(5))}
    with pytest.raises(StoppedError):
        side_by_side(tiny_gpt2_folder, [trial], root=tmp_path, owners=owners, execution=EVERY_STEP)
    assert owners[TRIAL].seconds > 0
    assert "passed over" in caplog.text
    caplog.clear()
    assert [record.step for record in run.attempt().history] == [1, 2, 3, 4, 5, 6]
    assert "state.json is not a valid" in caplog.text


def stop_at(step: int) -> Callable[[StepRecord], None]:
    def told(record: StepRecord) -> None:
        if record.step == step:
            raise StoppedError("stopped")

    return told


@pytest.mark.parametrize("architecture", ["gpt2", "llama"])
def test_a_merged_lane_answers_as_its_adapter_does_and_leaves_every_bit_of_the_base(
    architecture: str, tiny_gpt2_folder: Path, tiny_llama_folder: Path
) -> None:
    base = base_model(tiny_gpt2_folder if architecture == "gpt2" else tiny_llama_folder)
    before = {name: weight.clone() for name, weight in base.named_parameters()}
    torch.manual_seed(0)
    adapters = []
    for rank in (2, 5):
        model = add_adapter(base, lora=lora(r=rank), seed=rank)
        factors = {
            name: Factors(down, torch.randn_like(up) / 10) for name, (down, up) in factors_of(model).items()
        }  # fmt: skip
        adapters.append(LaneAdapter(factors, dict.fromkeys(factors, 0.5 * rank), dropout=0.5))
        model.unload()
    ids = torch.arange(20, 60).view(2, 20)
    with torch.inference_mode():
        plain = base(ids).logits
    lanes = Lanes(base, Stack(adapters, device=base.device))
    answers = []
    with torch.inference_mode():
        for lane in range(2):
            with lanes.only(lane):
                hooked = base(ids).logits
            with lanes.merged(lane):
                merged = base(ids).logits
            assert torch.allclose(hooked, merged, rtol=0, atol=1e-5)
            assert not torch.allclose(hooked, plain, rtol=0, atol=1e-2)
            answers.append(hooked)
    assert not torch.allclose(answers[0], answers[1], rtol=0, atol=1e-2)
    lanes.detach()
    assert all(torch.equal(weight, before[name]) for name, weight in base.named_parameters())
    with torch.inference_mode():
        assert torch.equal(base(ids).logits, plain)


def test_an_evaluation_that_fails_leaves_the_base_as_it_was(tiny_gpt2_folder: Path) -> None:
    base = base_model(tiny_gpt2_folder)
    before = {name: weight.clone() for name, weight in base.named_parameters()}
    model = add_adapter(base, lora=lora(), seed=1)
    lane = LaneAdapter(factors_of(model), dict.fromkeys(factors_of(model), 1.0), dropout=0.0)
    model.unload()
    lanes = Lanes(base, Stack([lane], device=base.device))
    with pytest.raises(StoppedError), lanes.merged(0):
        raise StoppedError("stopped")
    assert all(torch.equal(weight, before[name]) for name, weight in base.named_parameters())


def test_a_lane_whose_neighbour_is_dead_is_tried_alone_before_memory_is_said_to_be_too_small(
    tiny_gpt2_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(record: StepRecord) -> None:
        run_out_above(2, monkeypatch, calls=[])
        raise DataError("the end")

    owners = {NAMES[0]: Owner(at_step=failing), NAMES[1]: Owner()}
    side_by_side(tiny_gpt2_folder, TRIALS[:2], owners=owners)
    assert isinstance(owners[NAMES[0]].error, DataError)
    trained = owners[NAMES[1]].trained
    assert trained is not None, owners[NAMES[1]].error
    assert len(trained.history) == 6


def test_adapters_that_do_not_fit_together_are_halved_before_they_train(
    tiny_gpt2_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Small(Stack):
        def __init__(self, adapters: Sequence[LaneAdapter], *, device: torch.device) -> None:
            if len(adapters) > 2:
                raise torch.OutOfMemoryError("CUDA out of memory")
            super().__init__(adapters, device=device)

    monkeypatch.setattr("job.lanes.pack.Stack", Small)
    assert len(weights(side_by_side(tiny_gpt2_folder, TRIALS))) == len(TRIALS)


@pytest.mark.parametrize("width", [1, 2, 4])
def test_a_bug_in_one_lanes_step_fails_that_lane_and_the_others_have_their_turn(
    tiny_gpt2_folder: Path, monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    def broken(model: PreTrainedModel, batch: Pass) -> torch.Tensor:
        if any(row is not None and row.seed == streams(1).dropout for row in batch.rows):
            raise ZeroDivisionError("in the second lane")
        return lane_losses(model, batch)

    monkeypatch.setattr("job.lanes.pack.lane_losses", broken)
    found = side_by_side(tiny_gpt2_folder, TRIALS, width=width)
    assert isinstance(found.pop(NAMES[1]).error, ZeroDivisionError)
    assert len(weights(found)) == 3


def test_a_stop_while_one_lane_is_finished_saves_the_others(tiny_gpt2_folder: Path, tmp_path: Path) -> None:
    class Stopped(Owner):
        def finish(self, history: Sequence[StepRecord], factors: Mapping[str, Factors], answers: Answers) -> None:
            raise StoppedError("stopped")

    short, longer = Tiny(NAMES[0], training=options(max_steps=2)), Tiny(NAMES[1], training=options(max_steps=40))
    owners = {NAMES[0]: Stopped(), NAMES[1]: Owner()}
    with pytest.raises(StoppedError):
        side_by_side(tiny_gpt2_folder, [short, longer], owners=owners, root=tmp_path)
    rest = side_by_side(tiny_gpt2_folder, [longer], root=tmp_path, attempt="two")[NAMES[1]]
    assert b"checkpoint" not in rest.extra  # none was due: it is the one that the stop made
    assert rest.extra


def test_a_dead_lane_leaves_at_its_own_end(tiny_gpt2_folder: Path) -> None:
    """So that the bits of the others do not depend on whether it died."""
    short, longer = Tiny(NAMES[0], training=options(max_steps=3)), Tiny(NAMES[1], training=options(max_steps=6))
    calm = weights(side_by_side(tiny_gpt2_folder, [short, longer]))
    owners = {NAMES[0]: Owner(at_step=stop_with(DataError("the end"))), NAMES[1]: Owner()}
    side_by_side(tiny_gpt2_folder, [short, longer], owners=owners)
    trained = owners[NAMES[1]].trained
    assert trained is not None
    assert torch.equal(trained.flat(), calm[NAMES[1]])


def stop_with(error: Exception) -> Callable[[StepRecord], None]:
    def told(record: StepRecord) -> None:
        raise error

    return told
