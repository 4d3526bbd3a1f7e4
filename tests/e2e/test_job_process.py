"""`python -m job` as Kubernetes or the local backend starts it: a process, a request, a store."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
from tiny_request import PROMPT, TinySweep, tiny_rows

from job.contract.config import PlannedTrial, Request
from job.contract.diagnostic_names import COVERAGE, DIAGNOSTICS
from job.contract.documents import DATA_LIMIT_BYTES, Failure, Prediction, Result, Scores, parse
from job.contract.errors import ExitCode
from job.store import Keys
from job.store.folder import FolderStore
from job.store.results import read_result

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "LORASWEEP_LOG": "human", "HF_HUB_OFFLINE": "1"}


class Job:
    """A job process on one request."""

    def __init__(self, folder: Path, request: Request, *, attempt: str) -> None:
        path = folder / f"request-{attempt}.json"
        path.write_text(request.model_dump_json(), encoding="utf-8")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "job", str(path), "--run-uri", str(folder / "run"), "--attempt", attempt],
            stderr=subprocess.PIPE,
            env=ENVIRONMENT,
            text=True,
        )
        self.said = ""

    def wait_for(self, words: str) -> None:
        """Read its log until `words` come."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.said += line
            if words in line:
                return
        pytest.fail(f"the job ended without saying {words!r}:\n{self.said}")

    def end(self) -> int:
        """Its exit code, once it ends."""
        _, rest = self.process.communicate(timeout=120)
        self.said += rest
        return self.process.returncode


class Finished(NamedTuple):
    """A run with a trained trial in it."""

    store: FolderStore
    trial: PlannedTrial
    sweep: TinySweep


@pytest.fixture(scope="module")
def sweep(tiny_gpt2_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> TinySweep:
    return TinySweep(model=tiny_gpt2_folder, rows=tiny_rows(tmp_path_factory.mktemp("rows")))


@pytest.fixture(scope="module")
def finished(sweep: TinySweep, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """A run whose one trained trial went straight through, beside both baselines."""
    folder = tmp_path_factory.mktemp("straight")
    trial = sweep.trained()
    job = Job(folder, sweep.request(trial, sweep.zero_shot(), sweep.lead()), attempt="a1")
    assert job.end() == ExitCode.DONE, job.said
    return Finished(FolderStore(folder / "run"), trial, sweep)


def result_of(store: FolderStore, trial: PlannedTrial) -> Result:
    result = read_result(store, trial)
    assert result is not None
    return result


def published(store: FolderStore, trial: PlannedTrial, name: str) -> bytes:
    attempt = result_of(store, trial).attempt
    return store.read(Keys.attempt_file(trial.trial_id, attempt, name), limit_bytes=DATA_LIMIT_BYTES)


SAME_AFTER_A_RESUME = (
    "adapter/adapter_model.safetensors",
    "adapter/adapter_config.json",
    "metrics.jsonl",
    "predictions.jsonl",
    "scores.json",
)


def assert_same_training(store: FolderStore, finished: Finished) -> None:
    straight, trial, _ = finished
    for name in SAME_AFTER_A_RESUME:
        assert published(store, trial, name) == published(straight, trial, name), name
    assert not list(store.list(Keys.checkpoints(trial.trial_id))), "checkpoints go after the result"


def test_a_request_ends_with_verified_results_of_every_kind(finished: Finished, sweep: TinySweep) -> None:
    store, trial, _ = finished
    trained = result_of(store, trial)
    assert (trained.steps, trained.engine) == (8, "reference")
    assert set(trained.metrics["test"]) == {
        "rouge1", "rouge2", "rougeL", "rougeLsum", "generated_tokens", "completion_loss",
    }  # fmt: skip
    assert trained.metrics["validation"]["completion_loss"].n == 5
    assert trained.adapter_bytes > 0
    assert trained.seconds.train > 0
    assert trained.seconds.evaluate > 0
    zero_shot, lead = result_of(store, sweep.zero_shot()), result_of(store, sweep.lead())
    assert (zero_shot.steps, zero_shot.engine, lead.engine) == (0, "none", "none")
    assert "completion_loss" not in lead.metrics["test"]
    assert trained.metrics["test"]["completion_loss"].mean < zero_shot.metrics["test"]["completion_loss"].mean


def test_every_kind_has_diagnostics_and_zero_shot_is_scored_twice(finished: Finished, sweep: TinySweep) -> None:
    store, trained, _ = finished
    for trial in (trained, sweep.zero_shot(), sweep.lead()):
        scores = parse(Scores, published(store, trial, "scores.json"), name="scores.json")
        for split in scores.splits.values():
            assert tuple(split.diagnostics) == DIAGNOSTICS
            assert bool(split.first_line) == (trial.kind == "zero-shot")
        if trial.kind == "lead":
            assert set(split.diagnostics[COVERAGE]) == {1.0}, "the first lines are copied whole"


def test_no_local_path_is_published(finished: Finished, sweep: TinySweep) -> None:
    store, trial, _ = finished
    for name in ("adapter/adapter_config.json", "adapter/README.md", "scores.json", "metrics.jsonl"):
        text = published(store, trial, name).decode()
        assert str(Path(sweep.model.location).parent) not in text, name
    config = json.loads(published(store, trial, "adapter/adapter_config.json"))
    assert config["base_model_name_or_path"] == sweep.model.public_name


@pytest.fixture(scope="module")
def finished_chat(tiny_llama_folder: Path, sweep: TinySweep, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """A trial whose prompt goes through the model's chat template."""
    folder = tmp_path_factory.mktemp("chat")
    chat = TinySweep(model=tiny_llama_folder, rows=Path(sweep.data.location))
    trial = chat.trained(prompt=PROMPT.model_copy(update={"prompt": "\n Sum: {dialogue}\n", "chat": True}))
    job = Job(folder, chat.request(trial), attempt="a1")
    assert job.end() == ExitCode.DONE, job.said
    return Finished(FolderStore(folder / "run"), trial, chat)


@pytest.mark.parametrize("how", ["plain", "chat"])
def test_the_snippet_of_the_model_card_repeats_the_stored_predictions_in_a_fresh_process(
    how: str, request: pytest.FixtureRequest
) -> None:
    done: Finished = request.getfixturevalue("finished" if how == "plain" else "finished_chat")
    store, trial, sweep = done
    adapter = Path(store.uri) / Keys.attempt_file(trial.trial_id, "a1", "adapter/README.md")
    found = re.search(r"^```python\n(.*?)^```$", adapter.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    assert found is not None
    rows = [
        json.loads(line)
        for split in ("validation", "test")
        for line in (Path(sweep.data.location) / f"{split}.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    # The reader of a card puts their own copy of the base model in; the example call becomes the rows of the trial.
    code = found[1].replace(f"BASE = {sweep.model.public_name!r}", f"BASE = {sweep.model.location!r}")
    code = code[: code.rindex("print(")] + "import json, sys\n"
    code += "print(json.dumps({row['id']: write(row) for row in json.load(sys.stdin)}))\n"
    fresh = subprocess.run(
        [sys.executable, "-c", code], input=json.dumps(rows), cwd=adapter.parent, env=ENVIRONMENT,
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    written = json.loads(fresh.stdout)
    stored = [
        parse(Prediction, line, name="predictions.jsonl")
        for line in published(store, trial, "predictions.jsonl").splitlines()
    ]
    final = {prediction.example_id: prediction.text for prediction in stored if prediction.step == 8}
    assert len(final) == 11
    same = sum(written[example_id] == text for example_id, text in final.items())
    assert same >= 0.99 * len(final)


def test_tensorboard_reads_the_published_scalars(finished: Finished) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    store, trial, _ = finished
    events = EventAccumulator(str(Path(store.uri) / Keys.attempt_file(trial.trial_id, "a1", "events")))
    events.Reload()
    tags = events.Tags()["scalars"]
    assert {"train/loss", "train/learning_rate", "validation/rougeL", "test/completion_loss"} <= set(tags)
    assert [scalar.step for scalar in events.Scalars("train/loss")] == list(range(1, 9))


def test_a_finished_request_run_again_changes_nothing(finished: Finished, sweep: TinySweep, tmp_path: Path) -> None:
    store, trial, _ = finished
    before = {item.key: item.etag for item in store.list("")}
    folder = Path(store.uri).parent
    assert Job(folder, sweep.request(trial), attempt="a2").end() == ExitCode.DONE
    assert {item.key: item.etag for item in store.list("")} == before


@pytest.mark.parametrize(
    "moment", ["rows:", "checkpoint saved step=2", "step 4, validation", "checkpoint saved step=8"]
)
def test_a_trial_stopped_by_sigterm_exits_85_and_resumes_to_the_same_bytes(
    moment: str, sweep: TinySweep, finished: Finished, tmp_path: Path
) -> None:
    trial = sweep.trained()
    first = Job(tmp_path, sweep.request(trial), attempt="a1")
    first.wait_for(moment)
    first.process.send_signal(signal.SIGTERM)
    assert first.end() == ExitCode.STOPPED, first.said
    store = FolderStore(tmp_path / "run")
    assert read_result(store, trial) is None
    assert not list(store.list(Keys.failures(trial.trial_id))), "a stop is not a failure"
    second = Job(tmp_path, sweep.request(trial), attempt="a2")
    assert second.end() == ExitCode.DONE, second.said
    assert_same_training(store, finished)


@pytest.mark.parametrize("moment", ["checkpoint saved step=2", "step 4, validation", "checkpoint saved step=6"])
def test_a_trial_killed_at_once_resumes_to_the_same_bytes(
    moment: str, sweep: TinySweep, finished: Finished, tmp_path: Path
) -> None:
    trial = sweep.trained()
    first = Job(tmp_path, sweep.request(trial), attempt="a1")
    first.wait_for(moment)
    first.process.kill()
    assert first.end() == -signal.SIGKILL
    second = Job(tmp_path, sweep.request(trial), attempt="a2")
    assert second.end() == ExitCode.DONE, second.said
    assert_same_training(FolderStore(tmp_path / "run"), finished)


def test_sigterm_during_the_imports_ends_with_85(sweep: TinySweep, tmp_path: Path) -> None:
    # The handler is in place once the interpreter runs main; torch is imported after that.
    code = "import job.__main__ as m, os, signal, sys; f = m.read_request\n"
    code += "m.read_request = lambda path: (os.kill(os.getpid(), signal.SIGTERM), f(path))[1]\nsys.exit(m.main())"
    request = tmp_path / "request.json"
    request.write_text(sweep.request(sweep.trained()).model_dump_json(), encoding="utf-8")
    arguments = [str(request), "--run-uri", str(tmp_path / "run"), "--attempt", "a1"]
    ended = subprocess.run([sys.executable, "-c", code, *arguments], env=ENVIRONMENT, check=False, capture_output=True)
    assert ended.returncode == ExitCode.STOPPED, ended.stderr.decode()


def test_two_processes_of_one_trial_give_one_result_and_both_succeed(
    sweep: TinySweep, finished: Finished, tmp_path: Path
) -> None:
    trial = sweep.trained()
    jobs = [Job(tmp_path, sweep.request(trial), attempt=attempt) for attempt in ("a1", "a2")]
    assert [job.end() for job in jobs] == [ExitCode.DONE, ExitCode.DONE], [job.said for job in jobs]
    store = FolderStore(tmp_path / "run")
    assert published(store, trial, "predictions.jsonl") == published(
        finished.store, finished.trial, "predictions.jsonl"
    )


def test_a_diverging_trial_is_a_permanent_failure_and_its_neighbour_goes_on(sweep: TinySweep, tmp_path: Path) -> None:
    bad, good = sweep.trained(learning_rate=1e30), sweep.lead()
    job = Job(tmp_path, sweep.request(bad, good), attempt="a1")
    assert job.end() == ExitCode.DONE, "a mixed group is finished"
    store = FolderStore(tmp_path / "run")
    key = Keys.failure(bad.trial_id, "a1")
    failure = parse(Failure, store.read(key, limit_bytes=DATA_LIMIT_BYTES), name=key)
    assert (failure.reason, failure.permanent, failure.exit_code) == ("diverged", True, ExitCode.DIVERGED)
    assert "lower training.learning_rate" in failure.message
    assert read_result(store, good) is not None
    alone = Job(tmp_path, sweep.request(bad), attempt="a2")
    assert alone.end() == ExitCode.DIVERGED


def test_an_existing_adapter_is_evaluated_with_other_settings_and_not_trained_again(
    finished: Finished, sweep: TinySweep
) -> None:
    store, trial, _ = finished
    config = trial.config.model_copy(
        update={"generation": trial.config.generation.model_copy(update={"max_new_tokens": 5})}  # type: ignore[union-attr]  # a trained trial has generation
    )
    other = sweep.replanned(config)
    assert (other.adapter_id, other.trial_id != trial.trial_id) == (trial.adapter_id, True)
    request = sweep.request(other, adapters={other.trial_id: Keys.attempt(trial.trial_id, "a1")})
    job = Job(Path(store.uri).parent, request, attempt="b1")
    assert job.end() == ExitCode.DONE, job.said
    result = result_of(store, other)
    assert result.seconds.train == 0
    assert result.reused_from == Keys.attempt(trial.trial_id, "a1")
    weights = "adapter/adapter_model.safetensors"
    assert published(store, other, weights) == published(store, trial, weights)
    assert result.metrics["test"]["generated_tokens"].mean <= 5
    loss = "completion_loss"
    assert result.metrics["test"][loss].mean == pytest.approx(result_of(store, trial).metrics["test"][loss].mean)


WRONG = {
    "not json": (("{", "["), ExitCode.USAGE),
    "a name that leaves the store": (('"sweep":"tiny"', '"sweep":"../tiny"'), ExitCode.USAGE),
    "a model that is not there": (('"kind":"path","location":"/', '"kind":"path","location":"/none/'), 78),
}


@pytest.mark.parametrize(("change", "code"), WRONG.values(), ids=WRONG)
def test_a_wrong_request_ends_with_its_code(
    change: tuple[str, str], code: int, sweep: TinySweep, tmp_path: Path
) -> None:
    path = tmp_path / "request.json"
    path.write_text(sweep.request(sweep.zero_shot()).model_dump_json().replace(*change), encoding="utf-8")
    command = [sys.executable, "-m", "job", str(path), "--run-uri", str(tmp_path / "run"), "--attempt", "a1"]
    ended = subprocess.run(command, env=ENVIRONMENT, check=False, capture_output=True, text=True)
    assert ended.returncode == code, ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_call_without_arguments_is_a_usage_error() -> None:
    ended = subprocess.run([sys.executable, "-m", "job"], check=False, capture_output=True, text=True)
    assert ended.returncode == ExitCode.USAGE
    assert "REQUEST" in ended.stderr
