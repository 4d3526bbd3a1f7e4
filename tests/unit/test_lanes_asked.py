"""Lanes that are asked together, and what becomes of their answers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from tiny_lanes import Owner, Tiny, side_by_side
from tiny_training import PAD, lora, options

from job.contract.config import GenerationOptions
from job.contract.documents import ScoredSplit
from job.contract.errors import DataError, StoppedError
from job.evaluation.generation import Decoding
from job.lanes.exam import Asked
from job.lanes.pack import Pack
from job.stopping import StopSignal

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
