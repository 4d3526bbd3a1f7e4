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
def real(sweep: ClusterSweep, job_image: str, tiny_gpt2_folder: Path, tmp_path: Path) -> ClusterSweep:
    """One trial of the tiny model, with the real image."""
    stage = make_stage(sweep.bucket, tmp_path / "stage", model=tiny_gpt2_folder)
    trial: dict[str, Any] = {**stage.spec["trial"], "prompt": "v1"}
    trial["lora"] = {**trial["lora"], "r": 8}
    trial["training"] = {"max_steps": STEPS, "per_device_train_batch_size": 2, "learning_rate": 5e-4}
    sweep.spec = {
        **stage.spec,
        "name": "demo",
        "trial": trial,
        "vary": {"seeds": [0], "baselines": []},
        "execution": {"gpus": 1, "checkpoint_every": EVERY},
    }
    sweep.settings["image"] = job_image
    sweep.settings["resources"] = {"cpu": "100m", "memory": "2Gi", "ephemeral_storage": "64Mi", "shared_memory": "16Mi"}
    sweep.settings["grace_period_s"] = 60
    return sweep


def _result(store: Store) -> Result:
    (key,) = (found.key for found in store.list("trials/") if found.key.endswith("/result.json"))
    return parse(Result, store.read(key, limit_bytes=10**7), name=key)


def _digests(store: Store) -> dict[str, str]:
    result = _result(store)
    names = ("adapter/adapter_model.safetensors", "predictions.jsonl", "metrics.jsonl", "scores.json")
    return {name: store.sha256(Keys.attempt_file(result.trial_id, result.attempt, name)) for name in names}


def test_an_evicted_trial_resumes_from_its_checkpoint_to_the_same_bytes(real: ClusterSweep) -> None:
    straight = real.run("--run", "straight")
    assert straight.code == 0, straight.stderr
    process = real.start("--output", "json")
    first = real.until_running("A")
    wait_for("a whole checkpoint", lambda: _checkpoints(real.store), deadline_s=120.0)
    evict(real, first)
    ended = real.finish(process)
    assert ended.code == 0, ended.stderr
    uncut = open_store(real.run_uri.removesuffix("main") + "straight")
    assert _result(real.store).attempt != _result(uncut).attempt
    assert [pod["metadata"]["name"] for pod in real.pods() if pod["metadata"]["name"] == first] == []
    assert _digests(real.store) == _digests(uncut)
    (resumed,) = (job for job in real.jobs() if job["metadata"]["annotations"].get("lorasweep.io/disrupted"))
    assert resumed["status"]["succeeded"] == 1
    assert_promises(real, {"A": "succeeded"})


def _checkpoints(store: Store) -> list[str]:
    keys = [found.key for found in store.list("trials/")]
    return [key for key in keys if "/checkpoints/" in key and key.endswith("/manifest.json")]
