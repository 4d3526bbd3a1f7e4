"""A plan, and documents that fit it, without a model: what tests of the controller stand on."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from job.contract.base import sha256_hex
from job.contract.config import (
    DataOptions,
    EvaluationOptions,
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
    Prediction,
    Result,
    Scores,
    Seconds,
    SplitScores,
    StepRecord,
    to_json,
)
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
    label = f"lora.r={number + 1}, max_new_tokens={max_new_tokens}"
    return planned(config, letter=chr(ord("A") + number), label=label)


def lead_trial(k: int) -> PlannedTrial:
    """The baseline of the first k lines."""
    config = TrialConfig(
        kind="lead",
        lead_k=k,
        model=ModelOptions(digest=DIGEST),
        data=DataOptions(digest=DIGEST, splits={"validation": "v"}, columns={"input": "x", "target": "y"}),
        evaluation=EvaluationOptions(final_splits=("validation",)),
    )
    return planned(config, letter="A", label=f"lead-{k}")


def planned(config: TrialConfig, *, letter: str, label: str) -> PlannedTrial:
    """The trial of this configuration."""
    return PlannedTrial(
        trial_id=trial_id(config),
        adapter_id=adapter_id(config),
        config_id=config_id(config),
        letter=letter,
        label=label,
        kind=config.kind,
        seed=config.seed,
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


def publish(
    store: Store,
    trial: PlannedTrial,
    attempt: str,
    *,
    rouge: float = 0.25,
    scores: Sequence[float] | None = None,
    at: datetime = NOW,
    files: Mapping[str, bytes] | None = None,
) -> bool:
    """What a job does at its end: files, manifest, result. False when another attempt's result is there.

    `scores` are those of the rows; of two by default.
    """
    listed = []
    of_rows = (rouge, rouge + 0.01) if scores is None else tuple(scores)
    for path, body in (files or _files(trial, attempt, of_rows)).items():
        store.put(Keys.attempt_file(trial.trial_id, attempt, path), body)
        listed.append(ManifestFile(path=path, size_bytes=len(body), sha256=sha256_hex(body)))
    manifest = to_json(Manifest(trial_id=trial.trial_id, attempt=attempt, files=tuple(listed)))
    key = Keys.manifest(trial.trial_id, attempt)
    store.put(key, manifest)
    reference = ManifestReference(key=key, size_bytes=len(manifest), sha256=sha256_hex(manifest))
    result = result_of(trial, attempt, rouge=rouge, manifest=reference).model_copy(update={"finished_at": at})
    return store.put_once(Keys.result(trial.trial_id), to_json(result))


def drawn_scores(trial: PlannedTrial) -> tuple[float, ...]:
    """Of thirty rows: about 0.3, less what a prompt says after `minus`, and 0.2 less where it asks for no summary."""
    prompt = "" if trial.config.prompt is None else trial.config.prompt.prompt
    said = re.search(r"minus ([0-9.]+)", prompt)
    mean = 0.3 - (float(said[1]) if said else 0.0) - (0.0 if "ummar" in prompt else 0.2)
    rows, own = random.Random(7), random.Random(f"{trial.seed} {trial.label}")  # noqa: S311  (scores, not secrets)
    whole = own.gauss(mean, 0.004)
    return tuple(min(max(whole + rows.gauss(0, 0.03) + own.gauss(0, 0.03), 0.0), 1.0) for _ in range(30))


def _files(trial: PlannedTrial, attempt: str, scores: tuple[float, ...]) -> dict[str, bytes]:
    """Scores of a few rows for each split, and two steps."""
    columns = dict.fromkeys(("rouge1", "rouge2", "rougeL", "rougeLsum"), scores)
    tokens = tuple(float(2 + at % 5) for at in range(len(scores)))
    columns |= {"completion_nll": tuple(2 * count for count in tokens), "target_tokens": tokens}
    columns |= {"generated_tokens": tuple(3 + count for count in tokens)}
    split = SplitScores(example_ids=tuple(f"r{at + 1}" for at in range(len(scores))), metrics=columns)
    steps = [StepRecord(step=step, loss=2.0 / step, learning_rate=1e-4, grad_norm=1.0, tokens=50) for step in (1, 2)]
    texts = [
        Prediction(example_id=row, split=name, step=4, text="They meet.", token_ids=(1, 2), ended="eos")
        for name in ("validation", "test")
        for row in split.example_ids
    ]
    return {
        "log.txt": f"attempt {attempt}\n".encode(),
        "scores.json": to_json(Scores(trial_id=trial.trial_id, splits={"validation": split, "test": split})),
        "metrics.jsonl": b"".join(step.model_dump_json().encode() + b"\n" for step in steps),
        "predictions.jsonl": b"".join(text.model_dump_json().encode() + b"\n" for text in texts),
    }


def result_of(
    trial: PlannedTrial, attempt: str, *, rouge: float = 0.25, manifest: ManifestReference | None = None
) -> Result:
    """A result, by default with a manifest that is not there."""
    nowhere = ManifestReference(key=Keys.manifest(trial.trial_id, attempt), size_bytes=0, sha256="0" * 64)
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
        manifest=manifest or nowhere,
    )
