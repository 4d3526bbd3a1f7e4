"""A plan, and documents that fit it, without a model: what tests of the controller stand on."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from job.contract.base import sha256_hex
from job.contract.config import (
    DataOptions,
    GenerationOptions,
    LoraOptions,
    ModelOptions,
    PlannedTrial,
    PromptTemplate,
    Request,
    Source,
    TrainingOptions,
    TrialConfig,
    adapter_id,
    config_id,
    trial_id,
)
from job.contract.documents import (
    DataSummary,
    Device,
    Group,
    Manifest,
    ManifestFile,
    ManifestReference,
    MetricValue,
    Plan,
    Result,
    Seconds,
    to_json,
)
from job.contract.errors import ExitCode
from job.store import Keys, Store

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
DIGEST = "sha256:" + "0" * 64
SOURCE = Source(kind="path", location="/somewhere/model", digest=DIGEST)


def lora_trial(number: int, *, max_new_tokens: int = 64) -> PlannedTrial:
    """Trial A for 0, B for 1, ...; trials that differ in max_new_tokens alone share their adapter."""
    config = TrialConfig(
        model=ModelOptions(digest=DIGEST),
        data=DataOptions(digest=DIGEST, splits={"train": "train.jsonl"}, columns={"input": "x", "target": "y"}),
        prompt=PromptTemplate(prompt="{x}", completion="{y}"),
        lora=LoraOptions(r=number + 1, lora_alpha=8),
        training=TrainingOptions(max_steps=4),
        generation=GenerationOptions(max_new_tokens=max_new_tokens),
        seed=0,
    )
    return PlannedTrial(
        trial_id=trial_id(config),
        adapter_id=adapter_id(config),
        config_id=config_id(config),
        letter=chr(ord("A") + number),
        label=f"lora.r={number + 1}, max_new_tokens={max_new_tokens}",
        kind="lora",
        seed=0,
        config=config,
    )


def plan_of(trials: tuple[PlannedTrial, ...], *, per_group: int = 1) -> Plan:
    """A plan with these trials, so many to a group."""
    chunks = [trials[start : start + per_group] for start in range(0, len(trials), per_group)]
    groups = [
        Group(group_id=f"g-{chunk[0].trial_id}", trial_ids=tuple(trial.trial_id for trial in chunk)) for chunk in chunks
    ]
    return Plan(
        identity_version=1,
        spec_sha256="0" * 64,
        sweep="demo",
        run="main",
        model=SOURCE,
        data=SOURCE,
        groups=tuple(groups),
        trials=trials,
        created_at=NOW,
    )


def request_for(plan: Plan, trial_ids: tuple[str, ...], adapters: dict[str, str] | None = None) -> Request:
    """The request for these trials of the plan."""
    return Request(
        sweep=plan.sweep,
        run=plan.run,
        spec_sha256=plan.spec_sha256,
        model=plan.model,
        data=plan.data,
        trials=tuple(trial for trial in plan.trials if trial.trial_id in set(trial_ids)),
        adapters=adapters or {},
    )


def publish(store: Store, trial: PlannedTrial, attempt: str, *, rouge: float = 0.25) -> bool:
    """What a job does at its end: files, manifest, result. False when another attempt's result is there."""
    log = f"attempt {attempt}\n".encode()
    store.put(Keys.attempt_file(trial.trial_id, attempt, "log.txt"), log)
    file = ManifestFile(path="log.txt", size_bytes=len(log), sha256=sha256_hex(log))
    manifest = to_json(Manifest(trial_id=trial.trial_id, attempt=attempt, files=(file,)))
    key = Keys.manifest(trial.trial_id, attempt)
    store.put(key, manifest)
    result = result_of(trial, attempt, rouge=rouge).model_copy(
        update={"manifest": ManifestReference(key=key, size_bytes=len(manifest), sha256=sha256_hex(manifest))}
    )
    return store.put_once(Keys.result(trial.trial_id), to_json(result))


def result_of(trial: PlannedTrial, attempt: str, *, rouge: float = 0.25) -> Result:
    """A result whose manifest is not there."""
    metrics = {name: MetricValue(mean=rouge, n=8) for name in ("rouge1", "rouge2", "rougeL", "rougeLsum")}
    return Result(
        trial_id=trial.trial_id,
        adapter_id=trial.adapter_id,
        config_id=trial.config_id,
        attempt=attempt,
        config=trial.config,
        engine="reference",
        metrics={"validation": metrics, "test": metrics},
        steps=4,
        train_tokens=100,
        seconds=Seconds(startup=0.1, data=0.1, train=1.0, evaluate=0.5, publish=0.1),
        device=Device(name="cpu", count=1, peak_bytes=1),
        data=DataSummary(digest=DIGEST, rows={"train": 8}, dropped={}),
        versions={"torch": "0"},
        provenance={},
        started_at=NOW,
        finished_at=NOW,
        manifest=ManifestReference(key=Keys.manifest(trial.trial_id, attempt), size_bytes=0, sha256="0" * 64),
    )


def read_text(path: Path) -> str:
    """The file's text, or nothing while it is not there."""
    return path.read_text() if path.exists() else ""


STOPPED = int(ExitCode.STOPPED)
