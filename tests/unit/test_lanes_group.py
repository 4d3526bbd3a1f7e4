"""A job whose trials share one copy of the base model: each is published as it would be alone."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file
from tiny_request import PROMPT, TinySweep, tiny_rows

import job.lanes.members
from job.__main__ import run_request
from job.attempt import Attempt
from job.context import TrialContext
from job.contract.config import PlannedTrial, Request
from job.contract.documents import DOCUMENT_LIMIT_BYTES, Failure, Prediction, Progress, Result, parse
from job.contract.errors import ConfigurationError, DataError, ExitCode, StoppedError, TransientError
from job.lanes.baseline import Baseline
from job.lanes.course import Lane
from job.lanes.exam import Asked, Exam
from job.lanes.group import _Prepared, run_group
from job.stopping import StopSignal
from job.store import Keys
from job.store.folder import FolderStore
from job.store.results import read_result
from job.trial import publish_trial

OTHER_PROMPT = PROMPT.model_copy(update={"prompt": "{dialogue}\nTL;DR:"})


@pytest.fixture
def sweep(tiny_gpt2_folder: Path, tmp_path: Path) -> TinySweep:
    return TinySweep(model=tiny_gpt2_folder, rows=tiny_rows(tmp_path / "rows"))


@pytest.fixture
def trials(sweep: TinySweep) -> tuple[PlannedTrial, ...]:
    return (
        sweep.trained(),
        sweep.zero_shot(),
        sweep.trained(seed=1, learning_rate=2e-3),
        sweep.trained(prompt=OTHER_PROMPT, max_steps=6),
    )


def attempt(request: Request, root: Path, *, name: str = "a1", stop: StopSignal | None = None) -> Attempt:
    (root / "log.txt").touch()
    return Attempt(
        request,
        store=FolderStore(root / "store"),
        name=name,
        work=root / name,
        log=root / "log.txt",
        stop=stop or StopSignal(),
    )


def run(of: Attempt) -> int:
    return run_request(of, started_s=time.monotonic())


def result_of(root: Path, trial: PlannedTrial) -> Result:
    result = read_result(FolderStore(root / "store"), trial)
    assert result is not None
    return result


def predictions(root: Path, trial: PlannedTrial) -> list[Prediction]:
    name = result_of(root, trial).attempt
    path = root / "store" / Keys.attempt_file(trial.trial_id, name, "predictions.jsonl")
    return [parse(Prediction, line, name=path.name) for line in path.read_bytes().splitlines()]


@pytest.mark.parametrize("wide", [False, True])
def test_every_trial_of_a_group_has_the_texts_and_losses_of_a_run_of_its_own(
    sweep: TinySweep, trials: tuple[PlannedTrial, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wide: bool
) -> None:
    """One lane after the other as on a CPU, and all rows of all lanes together as on a GPU."""
    monkeypatch.setattr(_Prepared, "wide", wide)
    together, alone = tmp_path / "together", tmp_path / "alone"
    for root in (together, alone):
        root.mkdir()
    assert run(attempt(sweep.request(*trials, engine="lanes"), together)) == ExitCode.DONE
    assert run(attempt(sweep.request(*trials), alone)) == ExitCode.DONE
    for trial in trials:
        ours, theirs = result_of(together, trial), result_of(alone, trial)
        assert predictions(together, trial) == predictions(alone, trial)
        assert (ours.steps, ours.train_tokens, ours.data) == (theirs.steps, theirs.train_tokens, theirs.data)
        assert ours.engine == ("none" if trial.kind == "zero-shot" else "lanes")
        for split, metrics in theirs.metrics.items():
            for name, value in metrics.items():
                assert ours.metrics[split][name].mean == pytest.approx(value.mean, abs=1e-4)


def test_a_baseline_is_asked_beside_lanes_and_waits_for_them(
    sweep: TinySweep, trials: tuple[PlannedTrial, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_Prepared, "wide", True)
    sittings: list[list[int]] = []
    hold = Exam.hold

    def seen(self: Exam, asked: Mapping[int, Asked], *, stop: StopSignal) -> object:
        sittings.append(sorted(asked))
        return hold(self, asked, stop=stop)

    monkeypatch.setattr(Exam, "hold", seen)
    assert run(attempt(sweep.request(*trials, engine="lanes"), tmp_path)) == ExitCode.DONE
    lanes = len(trials) - 1
    assert [numbers for numbers in sittings if max(numbers) >= lanes and min(numbers) < lanes]
    assert result_of(tmp_path, trials[1]).metrics.keys() == result_of(tmp_path, trials[0]).metrics.keys()


def test_a_baseline_is_asked_alone_when_no_lane_comes_to_its_end(
    sweep: TinySweep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_Prepared, "wide", True)
    lost, baseline = sweep.trained(learning_rate=1e30), sweep.zero_shot()
    assert run(attempt(sweep.request(lost, baseline, engine="lanes"), tmp_path)) == ExitCode.DONE
    store = FolderStore(tmp_path / "store")
    assert store.stat(Keys.failure(lost.trial_id, "a1")) is not None
    expected = tmp_path / "alone"
    expected.mkdir()
    assert run(attempt(sweep.request(baseline), expected)) == ExitCode.DONE
    assert predictions(tmp_path, baseline) == predictions(expected, baseline)


def test_a_published_adapter_is_what_peft_would_have_written(
    sweep: TinySweep, trials: tuple[PlannedTrial, ...], tmp_path: Path
) -> None:
    roots = tmp_path / "together", tmp_path / "alone"
    for root, engine in zip(roots, ("lanes", "reference"), strict=True):
        root.mkdir()
        assert run(attempt(sweep.request(trials[0], engine=engine), root)) == ExitCode.DONE  # type: ignore[arg-type]  # two literals
    ours, theirs = (
        root / "store" / Keys.attempt_file(trials[0].trial_id, "a1", "adapter/adapter_config.json").rpartition("/")[0]
        for root in roots
    )
    assert sorted(path.name for path in ours.iterdir()) == sorted(path.name for path in theirs.iterdir())
    assert json.loads((ours / "adapter_config.json").read_bytes()) == json.loads(
        (theirs / "adapter_config.json").read_bytes()
    )
    weights, expected = (load_file(folder / "adapter_model.safetensors") for folder in (ours, theirs))
    assert {name: tensor.shape for name, tensor in weights.items()} == {
        name: tensor.shape for name, tensor in expected.items()
    }
    for name, tensor in expected.items():
        assert (weights[name] - tensor).abs().max() < 1e-4


def test_a_trial_that_fails_spares_the_others(sweep: TinySweep, tmp_path: Path) -> None:
    good = sweep.trained()
    asking = sweep.trained(prompt=PROMPT.model_copy(update={"prompt": "{dialogue} {topic}"}))
    assert run(attempt(sweep.request(asking, good, engine="lanes"), tmp_path)) == ExitCode.DONE
    assert result_of(tmp_path, good).steps == 8
    key = Keys.failure(asking.trial_id, "a1")
    failure = parse(Failure, FolderStore(tmp_path / "store").read(key, limit_bytes=DOCUMENT_LIMIT_BYTES), name=key)
    assert failure.reason == DataError.reason


def test_what_is_wrong_with_the_rows_fails_all_of_them(sweep: TinySweep, tmp_path: Path) -> None:
    rows = Path(sweep.data.location) / "test.jsonl"
    rows.write_bytes(rows.read_bytes() + b"{}\n")
    trials = sweep.trained(), sweep.zero_shot()
    assert run(attempt(sweep.request(*trials, engine="lanes"), tmp_path)) == ExitCode.CONFIGURATION
    store = FolderStore(tmp_path / "store")
    assert all(store.stat(Keys.failure(trial.trial_id, "a1")) is not None for trial in trials)


class StopAfter(StopSignal):
    """Is asked to stop at a question of its choice; counts them."""

    def __init__(self, questions: float = float("inf")) -> None:
        super().__init__()
        self.asked = 0
        self._questions = questions

    def check(self) -> None:
        self.asked += 1
        self.requested = self.requested or self.asked > self._questions
        super().check()


def test_the_time_of_rows_that_are_asked_together_is_shared_out(
    sweep: TinySweep, trials: tuple[PlannedTrial, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_Prepared, "wide", True)
    began = time.monotonic()
    assert run(attempt(sweep.request(*trials, engine="lanes"), tmp_path)) == ExitCode.DONE
    passed = time.monotonic() - began
    seconds = [result_of(tmp_path, trial).seconds for trial in trials]
    assert all(one.evaluate > 0 for one in seconds)
    charged = sum(one.startup + one.data + one.train + one.evaluate + one.publish for one in seconds)
    assert charged <= passed + 0.01 * len(trials)  # each of them is rounded


def test_a_stopped_group_goes_on_where_it_was(
    sweep: TinySweep, trials: tuple[PlannedTrial, ...], tmp_path: Path
) -> None:
    request = sweep.request(*trials, engine="lanes")
    whole = tmp_path / "whole"
    whole.mkdir()
    counted = StopAfter()
    assert run(attempt(request, whole, stop=counted)) == ExitCode.DONE
    for share in (0.05, 0.3, 0.5, 0.7, 0.95):
        cut = tmp_path / f"cut-{share}"
        cut.mkdir()
        with pytest.raises(StoppedError):
            run(attempt(request, cut, stop=StopAfter(share * counted.asked)))
        store = FolderStore(cut / "store")
        published = {trial.trial_id for trial in trials if read_result(store, trial) is not None}
        assert run(attempt(request, cut, name="a2")) == ExitCode.DONE
        for trial in trials:
            assert predictions(cut, trial) == predictions(whole, trial)
            assert result_of(cut, trial).metrics == result_of(whole, trial).metrics
        assert not [found.key for found in store.list("trials/") if "/checkpoints/" in found.key]
        assert {trial.trial_id for trial in trials if result_of(cut, trial).attempt == "a1"} == published


class SlowStore(FolderStore):
    """Takes the result of one trial only when another one trains, which goes on only when the result is offered."""

    def __init__(self, root: Path, *, result_of: PlannedTrial, waits_for: PlannedTrial) -> None:
        super().__init__(root)
        self._slow = Keys.result(result_of.trial_id)
        self._awaited = Keys.progress(waits_for.trial_id)
        self._trains, self._offered = threading.Event(), threading.Event()

    def put(self, key: str, body: bytes) -> None:
        super().put(key, body)
        if key == self._awaited and parse(Progress, body, name=key).stage == "train":
            self._trains.set()
            assert self._offered.wait(timeout=60), "no result while the other trial trains"

    def put_once(self, key: str, body: bytes) -> bool:
        if key == self._slow:
            self._offered.set()
            assert self._trains.wait(timeout=60), "nothing trains while this trial is published"
        return super().put_once(key, body)


@pytest.mark.parametrize("slow", ["zero-shot", "lora"])
def test_the_next_trial_trains_while_one_is_published_which_costs_no_time_of_the_device(
    sweep: TinySweep, tmp_path: Path, slow: str
) -> None:
    first, last = sweep.zero_shot() if slow == "zero-shot" else sweep.trained(), sweep.trained(seed=1)
    request = sweep.request(first, last, engine="lanes").model_copy(update={"progress_every_s": 1e-6})
    of = attempt(request, tmp_path)
    assert run(replace(of, store=SlowStore(tmp_path / "store", result_of=first, waits_for=last))) == ExitCode.DONE
    assert result_of(tmp_path, first).seconds.publish == 0.0


def test_a_trial_that_cannot_be_published_fails_alone(
    sweep: TinySweep, trials: tuple[PlannedTrial, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(context: TrialContext, *args: Any, **others: Any) -> None:
        if context.trial == trials[0]:
            raise ConfigurationError("the store holds another result")
        publish_trial(context, *args, **others)

    monkeypatch.setattr(job.lanes.members, "publish_trial", broken)
    assert run(attempt(sweep.request(*trials, engine="lanes"), tmp_path)) == ExitCode.DONE
    store = FolderStore(tmp_path / "store")
    assert read_result(store, trials[0]) is None
    assert store.stat(Keys.failure(trials[0].trial_id, "a1")) is not None
    for trial in trials[1:]:
        assert result_of(tmp_path, trial).attempt == "a1"
        assert store.stat(Keys.failure(trial.trial_id, "a1")) is None


def test_a_process_that_hangs_fails_the_trials_that_it_had_begun(
    sweep: TinySweep, trials: tuple[PlannedTrial, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hung: list[PlannedTrial] = []
    tell: list[Callable[[str], None]] = []

    @contextmanager
    def watched(of: Attempt, *, on_hang: Callable[[str], None]) -> Iterator[None]:
        tell.append(on_hang)
        yield

    def begin_one_and_hang(model: object, lanes: Sequence[Lane], *, guests: Sequence[Baseline], **_: object) -> object:
        lanes[0].owner.begin()
        tell[0]("no step for half an hour")
        return guests

    monkeypatch.setattr("job.lanes.group.watched", watched)
    monkeypatch.setattr("job.lanes.group.train_lanes", begin_one_and_hang)
    run_group(
        attempt(sweep.request(*trials, engine="lanes"), tmp_path),
        started_s=time.monotonic(),
        fail=lambda trial, error: pytest.fail(f"{trial.trial_id}: {error}"),
        hung=lambda trial, message: hung.append(trial),
    )
    assert [trial for trial in hung if trial.kind == "lora"] == [trials[0]]  # the baseline may still be published


def test_a_full_disk_is_nobodys_failure_and_the_group_is_run_again(
    sweep: TinySweep, trials: tuple[PlannedTrial, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = sweep.request(*trials, engine="lanes")
    with monkeypatch.context() as patch:
        patch.setattr("job.trial.write_events", full)
        with pytest.raises(TransientError, match="the disk is full"):
            run(attempt(request, tmp_path))
    store = FolderStore(tmp_path / "store")
    assert not [found.key for found in store.list("trials/") if "/failures/" in found.key]
    assert run(attempt(request, tmp_path, name="a2")) == ExitCode.DONE


def full(*_: object, **__: object) -> None:
    raise OSError(28, "No space left on device", "events")  # errno.ENOSPC
