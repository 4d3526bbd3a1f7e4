import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from job.contract.base import sha256_hex
from job.contract.config import (
    DataOptions,
    EvaluationOptions,
    ModelOptions,
    PlannedTrial,
    Provenance,
    TrialConfig,
    adapter_id,
    config_id,
    trial_id,
)
from job.contract.documents import DataSummary, Device, Manifest, ManifestReference, MetricValue, Result, Seconds, parse
from job.contract.errors import ResultError, StoppedError, TransientError
from job.publishing.publish import publish_attempt, publish_result, with_patience
from job.stopping import StopSignal
from job.store import Keys
from job.store.folder import FolderStore
from job.store.results import read_result

DIGEST = "sha256:" + "0" * 64


def lead(k: int) -> PlannedTrial:
    config = TrialConfig(
        kind="lead",
        lead_k=k,
        model=ModelOptions(digest=DIGEST),
        data=DataOptions(digest=DIGEST, splits={"validation": "v"}, columns={"input": "i", "target": "t"}),
        evaluation=EvaluationOptions(final_splits=("validation",)),
    )
    return PlannedTrial(
        trial_id=trial_id(config),
        adapter_id=adapter_id(config),
        config_id=config_id(config),
        letter="A",
        label=f"lead-{k}",
        kind="lead",
        seed=None,
        config=config,
    )


def result_of(trial: PlannedTrial, manifest: ManifestReference, *, attempt: str, rouge: float = 0.25) -> Result:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    return Result(
        trial_id=trial.trial_id,
        adapter_id=trial.adapter_id,
        config_id=trial.config_id,
        attempt=attempt,
        config=trial.config,
        engine="none",
        metrics={"validation": {"rougeL": MetricValue(mean=rouge, n=3)}},
        steps=0,
        train_tokens=0,
        seconds=Seconds(startup=0, data=0, train=0, evaluate=0, publish=0),
        device=Device(name="cpu", count=1, peak_bytes=1),
        data=DataSummary(digest=DIGEST, rows={"validation": 3}, dropped={}),
        versions={},
        provenance=Provenance(),
        started_at=now,
        finished_at=now,
        manifest=manifest,
    )


@pytest.fixture
def attempt_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "attempt"
    (folder / "adapter").mkdir(parents=True)
    (folder / "adapter" / "README.md").write_text("a card")
    (folder / "scores.json").write_text("{}")
    return folder


def test_a_published_trial_verifies_and_its_manifest_lists_every_file(tmp_path: Path, attempt_folder: Path) -> None:
    store, trial = FolderStore(tmp_path / "run"), lead(3)
    manifest = publish_attempt(store, trial=trial, attempt="a1", folder=attempt_folder, stop=StopSignal())
    assert publish_result(store, result=result_of(trial, manifest, attempt="a1"), stop=StopSignal())
    found = read_result(store, trial, full=True)
    assert found is not None
    assert found.metrics["validation"]["rougeL"].mean == 0.25
    stored = parse(Manifest, store.read(manifest.key, limit_bytes=10_000), name="manifest")
    assert [file.path for file in stored.files] == ["adapter/README.md", "scores.json"]
    assert stored.files[0].sha256 == sha256_hex(b"a card")


def test_of_two_attempts_that_publish_one_counts_and_neither_fails(tmp_path: Path, attempt_folder: Path) -> None:
    store, trial, stop = FolderStore(tmp_path / "run"), lead(3), StopSignal()
    first = publish_attempt(store, trial=trial, attempt="a1", folder=attempt_folder, stop=stop)
    second = publish_attempt(store, trial=trial, attempt="a2", folder=attempt_folder, stop=stop)
    assert publish_result(store, result=result_of(trial, first, attempt="a1"), stop=stop)
    assert not publish_result(store, result=result_of(trial, second, attempt="a2", rouge=0.5), stop=stop)
    found = read_result(store, trial, full=True)
    assert found is not None
    assert found.attempt == "a1"


def test_a_result_of_another_trial_in_our_place_is_an_error(tmp_path: Path, attempt_folder: Path) -> None:
    store, trial, stop = FolderStore(tmp_path / "run"), lead(3), StopSignal()
    manifest = publish_attempt(store, trial=trial, attempt="a1", folder=attempt_folder, stop=stop)
    foreign = result_of(lead(2), manifest, attempt="b")
    store.put(Keys.result(trial.trial_id), json.dumps(foreign.model_dump(mode="json")).encode())
    with pytest.raises(ResultError, match=r"remove it with `lorasweep retry`"):
        publish_result(store, result=result_of(trial, manifest, attempt="a1"), stop=stop)


def test_a_store_that_comes_back_within_the_patience_loses_nothing() -> None:
    waited: list[float] = []
    answers = iter([TransientError("down"), TransientError("still down"), "stored"])

    def action() -> str:
        answer = next(answers)
        if isinstance(answer, TransientError):
            raise answer
        return str(answer)

    assert with_patience(action, stop=StopSignal(), now=lambda: sum(waited), sleep=waited.append) == "stored"
    assert len(waited) == 2


def test_a_store_that_stays_away_is_given_up_after_the_patience() -> None:
    waited: list[float] = []

    def action() -> str:
        raise TransientError("down")

    with pytest.raises(TransientError):
        with_patience(action, stop=StopSignal(), patience_s=60, now=lambda: sum(waited), sleep=waited.append)
    assert 60 <= sum(waited) < 80


def test_a_stop_ends_the_waiting_for_a_store() -> None:
    stop = StopSignal()
    stop.requested = True
    with pytest.raises(StoppedError):
        with_patience(lambda: "never", stop=stop)
