"""Lanes that are asked together, and what becomes of their answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from tiny_lanes import Owner, Tiny, side_by_side
from tiny_training import PAD, base_model, lora, options

from job.contract.config import GenerationOptions
from job.contract.documents import ScoredSplit
from job.contract.errors import DataError, StoppedError
from job.evaluation.generation import Decoding
from job.lanes.course import Answers, Guest
from job.lanes.exam import Asked, Exam
from job.lanes.pack import Pack
from job.stopping import StopSignal

if TYPE_CHECKING:
    from transformers import PreTrainedModel

NAMES = ("a" * 12, "b" * 12)
TRIALS = tuple(Tiny(name, lora(r=2 + index), options(eval_steps=2), seed=index) for index, name in enumerate(NAMES))


def asking(trial: Tiny, *, told: list[str]) -> Owner:
    """Asks what comes after its own rows."""
    end = GenerationOptions(max_new_tokens=5)

    def questions(step: int, final: bool) -> dict[ScoredSplit, Asked]:
        def on_batch(done: int, total: int, seconds: float) -> None:
            told.append(f"{trial.name[0]} {step} {done}/{total}")

        split: ScoredSplit = "test" if final else "validation"
        return {split: Asked(trial.rows, Decoding(end, (PAD,), PAD, 64), f"{split}, step {step}", 8, on_batch)}

    return Owner(questions=questions)


@dataclass
class Baseline:
    """Asks the first trial's rows of the model as it is, and looks at what that gives when it is told the answers."""

    model: PreTrainedModel
    fails: bool = False
    answers: list[Answers] = field(default_factory=list)
    logits: list[torch.Tensor] = field(default_factory=list)

    def asks(self) -> Mapping[ScoredSplit, Asked]:
        if self.fails:
            return {}
        end = GenerationOptions(max_new_tokens=5)
        decoding = Decoding(end, (PAD,), PAD, 64)
        return {"test": Asked(TRIALS[0].rows, decoding, "test, step 0", 8, lambda done, total, seconds: None)}

    def finish(self, answers: Answers) -> None:
        self.answers.append(answers)
        self.logits.append(plain_logits(self.model))


def plain_logits(model: PreTrainedModel) -> torch.Tensor:
    with torch.no_grad():
        logits: torch.Tensor = model(input_ids=torch.tensor([[1, 2, 3]])).logits
        return logits


def test_guests_are_answered_by_the_model_as_it_is_in_the_final_exam_of_the_lanes(tiny_gpt2_folder: Path) -> None:
    guests: list[Baseline] = []

    def two(model: PreTrainedModel) -> list[Guest]:
        guests.extend((Baseline(model), Baseline(model, fails=True)))
        return list(guests)

    trials = [Tiny(name, lora(r=2), options(eval_steps=2), seed=seed) for seed, name in enumerate(NAMES)]
    owners = {trial.name: asking(trial, told=[]) for trial in trials}
    unasked: list[Guest] = []
    side_by_side(
        tiny_gpt2_folder, trials, owners=owners, guests=two, unasked=unasked, scored_together=True, dtype=torch.float64
    )
    guest, failing = guests
    assert unasked == [failing] and not failing.answers
    (answers,) = guest.answers
    base = base_model(tiny_gpt2_folder).to(torch.float64)
    assert torch.equal(guest.logits[0], plain_logits(base)), "what it asks by itself has no adapter, too"
    exam = Exam(base, lanes=None, joined=None, pad_id=PAD, seats=1)
    expected = exam.hold({0: guest.asks()["test"]}, stop=StopSignal())[0]
    found = answers["test"]
    assert not isinstance(found, Exception) and not isinstance(expected, Exception)
    assert [one.generated for one in found] == [one.generated for one in expected]
    assert [one.loss.nll for one in found] == pytest.approx([one.loss.nll for one in expected], abs=1e-5)
    lanes = owners[NAMES[0]].answers[-1]["test"]
    assert not isinstance(lanes, Exception)
    assert [one.loss.nll for one in lanes] != pytest.approx([one.loss.nll for one in found], abs=1e-3)
    alone = {trial.name: asking(trial, told=[]) for trial in trials}
    side_by_side(tiny_gpt2_folder, trials, owners=alone, scored_together=True, dtype=torch.float64)
    for name in NAMES:
        ours, theirs = owners[name].trained, alone[name].trained
        assert ours is not None and theirs is not None and torch.equal(ours.flat(), theirs.flat())


@pytest.mark.parametrize("together", [True, False])
def test_guests_whom_nobody_could_ask_are_given_back(
    tiny_gpt2_folder: Path, monkeypatch: pytest.MonkeyPatch, together: bool
) -> None:
    guests: list[Baseline] = []

    def one(model: PreTrainedModel) -> list[Guest]:
        guests.append(Baseline(model))
        return list(guests)

    def lost(step: int, final: bool) -> dict[ScoredSplit, Asked]:
        raise DataError("no rows")

    owners = {name: Owner(questions=lost) for name in NAMES}
    unasked: list[Guest] = []
    side_by_side(
        tiny_gpt2_folder, TRIALS, owners=owners, guests=one, unasked=unasked, scored_together=together
    )  # fmt: skip
    assert all(isinstance(owner.error, DataError) == together for owner in owners.values())
    assert unasked == guests and not guests[0].answers


def test_lanes_that_are_due_at_the_same_step_are_asked_together_and_get_their_own_answers(
    tiny_gpt2_folder: Path,
) -> None:
    trials = [Tiny(name, lora(r=2), options(eval_steps=2), seed=seed) for seed, name in enumerate(NAMES)]
    told: list[str] = []
    owners = {trial.name: asking(trial, told=told) for trial in trials}
    side_by_side(tiny_gpt2_folder, trials, owners=owners, scored_together=True, dtype=torch.float64)
    assert sorted(told[:2]) == ["a 2 7/7", "b 2 7/7"]
    assert told[-2][2:] == told[-1][2:] == "6 7/7"
    for trial in trials:
        asked = owners[trial.name].answers
        assert [list(one) for one in asked] == [["validation"], ["validation"], ["validation"], ["test"]]
        alone = asking(trial, told=[])
        side_by_side(
            tiny_gpt2_folder, [trial], owners={trial.name: alone}, scored_together=True, dtype=torch.float64
        )  # fmt: skip
        for ours, theirs in zip(asked, alone.answers, strict=True):
            for split, answers in theirs.items():
                mine = ours[split]
                assert not isinstance(mine, Exception) and not isinstance(answers, Exception)
                assert [one.generated for one in mine] == [one.generated for one in answers]
                assert [one.loss.nll for one in mine] == pytest.approx([one.loss.nll for one in answers], abs=1e-5)
    losses = [owners[name].answers[-1]["test"] for name in NAMES]
    assert losses[0] != losses[1]


def test_a_lane_that_cannot_say_what_it_asks_fails_alone(tiny_gpt2_folder: Path) -> None:
    def lost(step: int, final: bool) -> dict[ScoredSplit, Asked]:
        raise DataError("no rows")

    trials = TRIALS
    owners = {NAMES[0]: Owner(questions=lost), NAMES[1]: asking(trials[1], told=[])}
    side_by_side(tiny_gpt2_folder, trials, owners=owners, scored_together=True)
    assert isinstance(owners[NAMES[0]].error, DataError)
    assert owners[NAMES[1]].trained is not None


def test_a_stop_while_lanes_are_asked_saves_all_of_them(tiny_gpt2_folder: Path, tmp_path: Path) -> None:
    stop = StopSignal()
    owners = {trial.name: asking(trial, told=[]) for trial in TRIALS}

    def stopping(step: int, final: bool) -> Mapping[ScoredSplit, Asked]:
        stop.requested = True
        return asking(TRIALS[1], told=[]).questions(step, final)

    owners[NAMES[1]].questions = stopping
    with pytest.raises(StoppedError):
        side_by_side(
            tiny_gpt2_folder, TRIALS, owners=owners, scored_together=True, stop=stop, root=tmp_path, attempt="one"
        )  # fmt: skip
    again = {trial.name: asking(trial, told=[]) for trial in TRIALS}
    side_by_side(tiny_gpt2_folder, TRIALS, owners=again, scored_together=True, root=tmp_path, attempt="two")
    for name in NAMES:
        assert again[name].told[0] == ("evaluate", 2), "the evaluation that was due is made first"
        assert again[name].extra == b"[]"


def test_lanes_that_cannot_be_asked_together_are_asked_one_by_one(
    tiny_gpt2_folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(self: Pack, asked: object, *, stop: StopSignal) -> None:
        raise RuntimeError("a kernel is missing")

    monkeypatch.setattr(Pack, "answers", broken)
    owners = {trial.name: asking(trial, told=[]) for trial in TRIALS}
    side_by_side(tiny_gpt2_folder, TRIALS, owners=owners, scored_together=True)
    for owner in owners.values():
        assert owner.trained is not None
        assert not any(owner.answers)
    assert "are asked one by one" in caplog.text
