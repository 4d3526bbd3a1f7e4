"""A training that was interrupted anywhere ends as if it had not been: same bytes, same history, same evaluations."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tiny_training import TRIAL, Run, options

from job.contract.config import JobExecution
from job.contract.documents import StepRecord
from job.contract.errors import StoppedError, TransientError
from job.stopping import StopSignal
from job.store import Keys
from job.store.folder import FolderStore
from job.windows import Cadence

EVERY_STEP = JobExecution(checkpoint_every=1)
TRAINING = options(eval_steps=2)
FOLDER = "tiny_gpt2_folder"
KEPT = {"dropout": "keep"}


class Killed(BaseException):
    """As a SIGKILL is to a process: nothing in it can react."""


class Recorder:
    """What a trial keeps through a checkpoint, beside the training itself."""

    def __init__(self) -> None:
        self.evaluated: list[int] = []

    def evaluate(self, step: int) -> None:
        self.evaluated.append(step)

    def save(self) -> dict[str, bytes]:
        return {"evaluated.json": json.dumps(self.evaluated).encode()}

    def load(self, files: Mapping[str, bytes]) -> None:
        self.evaluated = json.loads(files["evaluated.json"])

    def hooks(self) -> dict[str, Any]:
        return {"evaluate": self.evaluate, "save_extra": self.save, "load_extra": self.load}


def straight(folder: Path, root: Path) -> tuple[str, tuple[StepRecord, ...]]:
    """Adapter digest and history of the run that nothing disturbs."""
    run = Run(folder, root / "straight", training=TRAINING, base=KEPT)
    history = run.attempt().history
    return run.digest(), history


@pytest.fixture(autouse=True)
def no_wait_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred files are written here, and none has to survive a power cut."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@pytest.fixture(scope="module")
def expected(tiny_gpt2_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, tuple[StepRecord, ...]]:
    return straight(tiny_gpt2_folder, tmp_path_factory.mktemp("straight"))


def finish(run: Run, *, expected: tuple[str, tuple[StepRecord, ...]]) -> None:
    """One more attempt, which has to end as the undisturbed run did."""
    recorder = Recorder()
    history = run.attempt(**recorder.hooks()).history
    assert (run.digest(), history) == expected
    assert recorder.evaluated == [2, 4, 6]


@pytest.mark.parametrize("step", range(1, 7))
def test_killed_at_any_step_and_run_again_gives_the_same_run(
    tiny_gpt2_folder: Path, tmp_path: Path, expected: tuple[str, tuple[StepRecord, ...]], step: int
) -> None:
    run = Run(tiny_gpt2_folder, tmp_path, training=TRAINING, base=KEPT)
    with pytest.raises(Killed):
        run.attempt(on_step=kill_at(step), **Recorder().hooks())
    finish(run, expected=expected)


@pytest.mark.parametrize("step", range(1, 7))
def test_stopped_by_sigterm_at_any_step_and_run_again_gives_the_same_run(
    tiny_gpt2_folder: Path, tmp_path: Path, expected: tuple[str, tuple[StepRecord, ...]], step: int
) -> None:
    run = Run(tiny_gpt2_folder, tmp_path, training=TRAINING, base=KEPT)
    stop = StopSignal()
    recorder = Recorder()

    def ask(record: StepRecord) -> None:
        stop.requested = record.step == step

    with pytest.raises(StoppedError):
        run.attempt(on_step=ask, stop=stop, **recorder.hooks())
    newest = run.checkpoints().newest()
    assert newest is not None
    assert newest.step == step
    finish(run, expected=expected)


def test_stopped_in_an_evaluation_takes_that_evaluation_up_again(
    tiny_gpt2_folder: Path, tmp_path: Path, expected: tuple[str, tuple[StepRecord, ...]]
) -> None:
    run = Run(tiny_gpt2_folder, tmp_path, training=TRAINING, base=KEPT)
    recorder = Recorder()

    def stop_in_the_second(step: int) -> None:
        if step == 4:
            raise StoppedError("SIGTERM")
        recorder.evaluate(step)

    with pytest.raises(StoppedError):
        run.attempt(**recorder.hooks() | {"evaluate": stop_in_the_second})
    newest = run.checkpoints().newest()
    assert newest is not None
    assert newest.step == 4
    finish(run, expected=expected)


def test_many_interruptions_in_a_row_give_the_same_run(
    tiny_gpt2_folder: Path, tmp_path: Path, expected: tuple[str, tuple[StepRecord, ...]]
) -> None:
    run = Run(tiny_gpt2_folder, tmp_path, training=TRAINING, base=KEPT, execution=EVERY_STEP)
    for _ in range(5):
        steps: list[int] = []

        def kill(record: StepRecord, steps: list[int] = steps) -> None:
            steps.append(record.step)
            if len(steps) == 2:
                raise Killed

        with pytest.raises(Killed):
            run.attempt(on_step=kill, **Recorder().hooks())
    finish(run, expected=expected)


def test_run_again_after_the_last_step_trains_nothing(
    tiny_gpt2_folder: Path, tmp_path: Path, expected: tuple[str, tuple[StepRecord, ...]]
) -> None:
    run = Run(tiny_gpt2_folder, tmp_path, training=TRAINING, base=KEPT)
    run.attempt(**Recorder().hooks())
    again: list[StepRecord] = []
    recorder = Recorder()
    history = run.attempt(on_step=again.append, **recorder.hooks()).history
    assert again == []
    assert (run.digest(), history) == expected
    assert recorder.evaluated == [2, 4, 6]


def test_a_damaged_newest_checkpoint_falls_back_to_the_one_before(
    tiny_gpt2_folder: Path,
    tmp_path: Path,
    expected: tuple[str, tuple[StepRecord, ...]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    run = Run(tiny_gpt2_folder, tmp_path, training=TRAINING, base=KEPT, execution=EVERY_STEP)
    with pytest.raises(Killed):
        run.attempt(on_step=kill_at(5), **Recorder().hooks())
    path = Path(run.store.uri) / Keys.checkpoint(TRIAL, "attempt-1", 4) / "optimizer.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    first: list[int] = []
    recorder = Recorder()
    history = run.attempt(on_step=lambda record: first.append(record.step), **recorder.hooks()).history
    assert first == [4, 5, 6]
    assert (run.digest(), history) == expected
    assert recorder.evaluated == [2, 4, 6]
    assert "checkpoint of step 4 by attempt-1 passed over" in caplog.text


def test_a_checkpoint_of_another_engine_or_release_is_passed_over(
    tiny_gpt2_folder: Path, tmp_path: Path, expected: tuple[str, tuple[StepRecord, ...]]
) -> None:
    run = Run(tiny_gpt2_folder, tmp_path, training=TRAINING, base=KEPT)
    checkpoints = run.checkpoints("attempt-of-lanes")
    folder = checkpoints.new_folder()
    (folder / "state.json").write_text('{"schema_version": 1, "engine": "lanes", "step": 3}')
    checkpoints.save(3, folder)
    finish(run, expected=expected)


def test_a_full_store_keeps_the_previous_checkpoint_and_says_try_again(
    tiny_gpt2_folder: Path,
    tmp_path: Path,
    expected: tuple[str, tuple[StepRecord, ...]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = Run(tiny_gpt2_folder, tmp_path, training=TRAINING, base=KEPT, execution=EVERY_STEP)
    upload = FolderStore.upload

    def full_after_three(self: FolderStore, key: str, path: Path) -> None:
        if "step-000004" in key and key.endswith("optimizer.safetensors"):
            raise TransientError("no space left; 0 bytes are free")
        upload(self, key, path)

    with monkeypatch.context() as patch:
        patch.setattr(FolderStore, "upload", full_after_three)
        with pytest.raises(TransientError, match="0 bytes are free"):
            run.attempt(**Recorder().hooks())
    newest = run.checkpoints().newest()
    assert newest is not None
    assert newest.step == 3
    finish(run, expected=expected)


def test_a_full_scratch_disk_names_the_file_and_the_free_bytes(
    tiny_gpt2_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(tiny_gpt2_folder, tmp_path, training=TRAINING, base=KEPT, execution=EVERY_STEP)
    write = Path.write_bytes

    def full(self: Path, body: bytes) -> int:
        if self.name == "optimizer.safetensors" and "spool-attempt-2" in str(self):
            raise OSError(28, "No space left on device", str(self))  # errno.ENOSPC, as the kernel gives it
        return write(self, body)

    with pytest.raises(Killed):
        run.attempt(on_step=kill_at(3), **Recorder().hooks())
    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        with pytest.raises(
            TransientError, match=r"optimizer\.safetensors: No space left on device; \d+ bytes are free"
        ):
            run.attempt(**Recorder().hooks())
    newest = run.checkpoints().newest()
    assert newest is not None
    assert newest.step == 2


@pytest.mark.parametrize(
    ("total", "every", "steps"),
    [(6, None, [2, 4, 6]), (5, None, [2, 4, 5]), (9, None, [3, 6, 9]), (2, None, [1, 2]), (7, 3, [3, 6, 7])],
)
def test_a_checkpoint_is_due_every_quarter_and_after_the_last_step(
    total: int, every: int | None, steps: list[int]
) -> None:
    cadence = Cadence(total=total, eval_steps=None, checkpoint_every=every)
    assert [step for step in range(1, total + 1) if cadence.saves(step)] == steps


def test_every_checkpoint_that_is_stored_is_announced(tiny_gpt2_folder: Path, tmp_path: Path) -> None:
    announced: list[int] = []
    Run(tiny_gpt2_folder, tmp_path).attempt(on_checkpoint=announced.append)
    assert announced == [2, 4, 6]


@pytest.mark.parametrize("changes", [{"bf16": True}, {"lr_scheduler_type": "cosine", "warmup_steps": 2}])
def test_resume_is_exact_with_autocast_and_other_schedules_too(
    tiny_llama_folder: Path, tmp_path: Path, changes: dict[str, Any]
) -> None:
    whole = Run(tiny_llama_folder, tmp_path / "whole", training=options(**changes), execution=EVERY_STEP)
    history = whole.attempt().history
    cut = replace(whole, root=tmp_path / "cut", attempts=0)
    with pytest.raises(Killed):
        cut.attempt(on_step=kill_at(4))
    assert cut.attempt().history == history
    assert cut.digest() == whole.digest()


def kill_at(step: int) -> Any:
    def kill(record: StepRecord) -> None:
        if record.step == step:
            raise Killed

    return kill
