import json
from pathlib import Path

import pytest
from fake_sweep import lead_trial, result_of

from job.contract.base import sha256_hex
from job.contract.documents import Manifest, parse
from job.contract.errors import ResultError, StoppedError, TransientError
from job.publishing.publish import publish_attempt, publish_result, with_patience
from job.stopping import StopSignal
from job.store import Keys
from job.store.folder import FolderStore
from job.store.results import read_result


@pytest.fixture
def attempt_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "attempt"
    (folder / "adapter").mkdir(parents=True)
    (folder / "adapter" / "README.md").write_text("a card")
    (folder / "scores.json").write_text("{}")
    return folder


def test_a_published_trial_verifies_and_its_manifest_lists_every_file(tmp_path: Path, attempt_folder: Path) -> None:
    store, trial = FolderStore(tmp_path / "run"), lead_trial(3)
    manifest = publish_attempt(store, trial=trial, attempt="a1", folder=attempt_folder, stop=StopSignal())
    assert publish_result(store, result=result_of(trial, "a1", manifest=manifest), stop=StopSignal())
    found = read_result(store, trial)
    assert found is not None
    assert found.metrics["validation"]["rougeL"].mean == 0.25
    stored = parse(Manifest, store.read(manifest.key, limit_bytes=10_000), name="manifest")
    assert [file.path for file in stored.files] == ["adapter/README.md", "scores.json"]
    assert stored.files[0].sha256 == sha256_hex(b"a card")


def test_of_two_attempts_that_publish_one_counts_and_neither_fails(tmp_path: Path, attempt_folder: Path) -> None:
    store, trial, stop = FolderStore(tmp_path / "run"), lead_trial(3), StopSignal()
    first = publish_attempt(store, trial=trial, attempt="a1", folder=attempt_folder, stop=stop)
    second = publish_attempt(store, trial=trial, attempt="a2", folder=attempt_folder, stop=stop)
    assert publish_result(store, result=result_of(trial, "a1", manifest=first), stop=stop)
    assert not publish_result(store, result=result_of(trial, "a2", manifest=second, rouge=0.5), stop=stop)
    found = read_result(store, trial)
    assert found is not None
    assert found.attempt == "a1"


def test_a_result_of_another_trial_in_our_place_is_an_error(tmp_path: Path, attempt_folder: Path) -> None:
    store, trial, stop = FolderStore(tmp_path / "run"), lead_trial(3), StopSignal()
    manifest = publish_attempt(store, trial=trial, attempt="a1", folder=attempt_folder, stop=stop)
    foreign = result_of(lead_trial(2), "b", manifest=manifest)
    store.put(Keys.result(trial.trial_id), json.dumps(foreign.model_dump(mode="json")).encode())
    with pytest.raises(ResultError, match=r"remove it with `lorasweep retry`"):
        publish_result(store, result=result_of(trial, "a1", manifest=manifest), stop=stop)


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
