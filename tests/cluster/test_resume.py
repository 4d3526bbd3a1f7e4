"""A real trial that is evicted while it trains: its checkpoint outlives the pod, and no number tells of the cut."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cluster.promises import assert_promises
from cluster.stage import make_stage
from cluster.strikes import evict
from cluster.sweep import ClusterSweep
from cluster.waiting import wait_for
from job.contract.documents import Result, parse
from job.store import Keys, Store, open_store

STEPS = 300
EVERY = 20


@pytest.fixture
def one_trial(real: ClusterSweep, tiny_gpt2_folder: Path, tmp_path: Path) -> ClusterSweep:
    """One trial of the tiny model, long enough to be cut."""
    stage = make_stage(real.bucket, tmp_path / "stage", model=tiny_gpt2_folder)
    trial: dict[str, Any] = {**stage.spec["trial"], "prompt": "v1"}
    trial["lora"] = {**trial["lora"], "r": 8}
    trial["training"] = {"max_steps": STEPS, "per_device_train_batch_size": 2, "learning_rate": 5e-4}
    real.spec = {
        **stage.spec,
        "name": "demo",
        "trial": trial,
        "vary": {"seeds": [0], "baselines": []},
        "execution": {"gpus": 1, "checkpoint_every": EVERY},
    }
    real.settings["grace_period_s"] = 60
    return real


def _result(store: Store) -> Result:
    (key,) = (found.key for found in store.list("trials/") if found.key.endswith("/result.json"))
    return parse(Result, store.read(key, limit_bytes=10**7), name=key)


def _digests(store: Store) -> dict[str, str]:
    result = _result(store)
    names = ("adapter/adapter_model.safetensors", "predictions.jsonl", "metrics.jsonl", "scores.json")
    return {name: store.sha256(Keys.attempt_file(result.trial_id, result.attempt, name)) for name in names}


def test_an_evicted_trial_resumes_from_its_checkpoint_to_the_same_bytes(one_trial: ClusterSweep) -> None:
    straight = one_trial.run("--run", "straight")
    assert straight.code == 0, straight.stderr
    process = one_trial.start("--output", "json")
    first = one_trial.until_running("A")
    wait_for("a whole checkpoint", lambda: _checkpoints(one_trial.store), deadline_s=120.0)
    evict(one_trial, first)
    ended = one_trial.finish(process)
    assert ended.code == 0, ended.stderr
    uncut = open_store(one_trial.run_uri.removesuffix("main") + "straight")
    assert _result(one_trial.store).attempt != _result(uncut).attempt
    uid = _result(one_trial.store).attempt
    (second,) = (pod["metadata"]["name"] for pod in one_trial.pods() if pod["metadata"]["uid"] == uid)
    said = one_trial.namespace.kubectl("logs", second)
    assert "resuming after step" in said, said  # or it began anew, which gives the same bytes
    assert _digests(one_trial.store) == _digests(uncut)
    (resumed,) = (job for job in one_trial.jobs() if job["metadata"]["annotations"].get("lorasweep.io/disrupted"))
    assert resumed["status"]["succeeded"] == 1
    assert_promises(one_trial, {"A": "succeeded"})


def _checkpoints(store: Store) -> list[str]:
    keys = [found.key for found in store.list("trials/")]
    return [key for key in keys if "/checkpoints/" in key and key.endswith("/manifest.json")]
