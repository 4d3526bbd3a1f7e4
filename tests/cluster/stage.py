"""The first use case in small: a tiny model and its rows in a bucket, and the sweep's file."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from ruamel.yaml import YAML
from servers.s3_server import S3Bucket
from tiny_sources import put_folder

from job.contract.documents import Prediction, Result, parse
from job.store import Keys, open_store
from job.store.protocol import ObjectInfo

__all__ = [
    "CONFIGURATIONS",
    "SECRET",
    "TRIALS",
    "Outcome",
    "Stage",
    "comparable",
    "make_stage",
    "outcomes_in",
    "results_in",
]

SECRET = "lorasweep-s3"
GRID: Mapping[str, Sequence[Any]] = {
    "prompt": ["v1", "v2"],
    "lora.r": [8, 16],
    "training.learning_rate": [5e-4, 2e-4],
}
CONFIGURATIONS = 8
TRIALS = CONFIGURATIONS + 3  # zero-shot for each prompt, and lead-3
ROWS = {"train": 8, "validation": 3, "test": 3}
OF_A_RUN = ("place", "data_until", "spent", "provenance", "tradeoffs")
OF_A_CONFIGURATION = ("train_s", "evaluate_s", "other_s", "cost", "peak_bytes")
OF_A_TRIAL = ("attempt", "adapter_key", "seconds")


@dataclass(frozen=True)
class Stage:
    """What a sweep needs, whoever runs it."""

    folder: Path
    bucket: S3Bucket
    spec: Mapping[str, Any]

    def write_spec(self, name: str = "sweep.yaml", *, execution: Mapping[str, Any] | None = None, **vary: Any) -> Path:
        """The sweep's file, with more said of its execution and other values in its grid."""
        path = self.folder / name
        grid = {**self.spec["vary"]["grid"], **{key.replace("__", "."): value for key, value in vary.items()}}
        with path.open("w", encoding="utf-8") as file:
            changed = {
                "vary": {**self.spec["vary"], "grid": grid},
                "execution": {**self.spec["execution"], **(execution or {})},
            }
            YAML(typ="safe", pure=True).dump({**self.spec, **changed}, file)
        return path

    def lorasweep(self, *words: str) -> subprocess.CompletedProcess[str]:
        """One command on this machine, as on a laptop that reaches the bucket."""
        environment = {
            **os.environ,
            **self.bucket.server.environment(),
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
            "XDG_STATE_HOME": str(self.folder / "state"),
            "CUDA_VISIBLE_DEVICES": "",
            "OMP_NUM_THREADS": "1",  # as in the pods: more threads may sum in another order
        }
        return subprocess.run(
            [sys.executable, "-m", "controller", *words],
            cwd=self.folder,
            env=environment,
            text=True,
            capture_output=True,
            check=False,
        )


def make_stage(bucket: S3Bucket, folder: Path, *, model: Path) -> Stage:
    """Model and rows put into the bucket."""
    rows = _write_rows(folder / "rows")
    spec = {
        "version": 1,
        "name": "tiny",
        "model": {"id": put_folder(bucket, model, "model")},
        "data": {
            "source": put_folder(bucket, rows, "rows"),
            "splits": {split: f"{split}.jsonl" for split in ROWS},
            "columns": {"id": "id", "input": "dialogue", "target": "summary"},
        },
        "prompts": {
            "v1": {"prompt": "{dialogue}\nSummary:", "completion": " {summary}"},
            "v2": {"prompt": "Shorten:\n{dialogue}\n", "completion": "{summary}"},
        },
        "trial": {
            "lora": {"target_modules": "all-linear", "alpha_ratio": 2, "lora_dropout": 0.1},
            "training": {"max_steps": 4, "per_device_train_batch_size": 2, "eval_steps": 2},
            "generation": {"max_new_tokens": 4},
        },
        "vary": {"grid": dict(GRID), "baselines": ["zero-shot", "lead-3"]},
        "execution": {"gpus": 1, "parallelism": 4},
    }
    return Stage(folder, bucket, spec)


def comparable(run_uri: str) -> dict[str, Any]:
    """A run's report without times, device, provenance, and where it lies."""
    body = open_store(run_uri).read(Keys.report("report.json"), limit_bytes=10**8)
    report: dict[str, Any] = json.loads(body)
    for name in OF_A_RUN:
        report.pop(name)
    for configuration in report["configurations"]:
        for name in OF_A_CONFIGURATION:
            configuration.pop(name)
        for trial in configuration["trials"]:
            for name in OF_A_TRIAL:
                trial.pop(name)
    return report


class Outcome(NamedTuple):
    """What a trial measured."""

    engine: str
    texts: list[tuple[str, int, tuple[int, ...]]]
    """Example, step and token ids of every text."""
    losses: dict[str, float]
    """Completion loss by split."""


def outcomes_in(run_uri: str) -> dict[str, Outcome]:
    """Of every finished trial, by its id."""
    store = open_store(run_uri)
    found = {}
    for key in results_in(run_uri):
        result = parse(Result, store.read(key, limit_bytes=10**7), name=key)
        lines = store.read(
            Keys.attempt_file(result.trial_id, result.attempt, "predictions.jsonl"), limit_bytes=10**8
        ).splitlines()
        texts = [parse(Prediction, line, name=key) for line in lines]
        found[result.trial_id] = Outcome(
            result.engine,
            [(text.example_id, text.step, text.token_ids) for text in texts],
            {
                split: metrics["completion_loss"].mean
                for split, metrics in result.metrics.items()
                if "completion_loss" in metrics
            },
        )
    return found


def results_in(run_uri: str) -> dict[str, ObjectInfo]:
    """Every result in the store, by key."""
    return {found.key: found for found in open_store(run_uri).list("trials/") if found.key.endswith("/result.json")}


def _write_rows(folder: Path) -> Path:
    folder.mkdir(parents=True)
    for split, count in ROWS.items():
        rows = (
            {"id": f"{split}-{row}", "dialogue": f"Ann: {split} {row}?\nBen: yes", "summary": f"Ben says yes to {row}."}
            for row in range(count)
        )
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return folder
