"""Runs made up in a store in milliseconds: real plans and documents, invented scores and texts, no torch."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from controller.planning.expand import Pins
from controller.planning.plan import make_plan
from controller.spec.file import LoadedSpec, parse_spec
from job.contract.base import Frozen, sha256_hex
from job.contract.config import PlannedTrial, Provenance, Source, data_id
from job.contract.documents import (
    DataSummary,
    Device,
    EvaluationRecord,
    Example,
    Failure,
    Manifest,
    ManifestFile,
    ManifestReference,
    MetricValue,
    Plan,
    Prediction,
    Result,
    ScoredSplit,
    Scores,
    Seconds,
    SplitScores,
    StepRecord,
    to_json,
)
from job.contract.errors import FailureReason
from job.store import Keys, Store, open_store

START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
PINS = Pins(
    model=Source(kind="path", location="/models/smollm2-135m-instruct", digest="sha256:" + "1" * 64),
    data=Source(kind="path", location="/data/dialogues", digest="sha256:" + "2" * 64),
)
GRID = """\
version: 1
name: made
description: Which prompt, rank and learning rate summarise chats best?
success: Beats zero-shot and lead-3 on ROUGE-L.
model: {id: model}
data: {source: rows, splits: {train: a, validation: b, test: c}, columns: {id: id, input: dialogue, target: summary}}
prompts:
  v1: {prompt: "Summarize the following dialogue.\\n\\nDialogue:\\n{dialogue}\\n\\nSummary:", completion: " {summary}"}
  v2: {prompt: "In 1-2 sentences, what happens here?\\n\\n{dialogue}\\n\\nSummary:", completion: " {summary}"}
trial:
  lora: {target_modules: all-linear, lora_dropout: 0.1, alpha_ratio: 2}
  training: {max_steps: 12, per_device_train_batch_size: 2, gradient_accumulation_steps: 2, eval_steps: 6}
  generation: {max_new_tokens: 48}
vary:
  grid:
    prompt: {values: [v1, v2], why: Does asking for brevity help?}
    lora.r: [8, 16]
    training.learning_rate: [5e-4, 2e-4]
  seeds: [0]
  baselines: [zero-shot, lead-3]
"""
"""The shape of the quickstart: 8 trained configurations, 2 zero-shot baselines and lead-3."""


class Took(NamedTuple):
    """What a trial needed; training only of a trained one."""

    train_s: float
    peak_bytes: int
    adapter_bytes: int


@dataclass
class MadeRun:
    """A run in a store whose trials are finished or failed one by one."""

    store: Store
    loaded: LoadedSpec
    plan: Plan
    rows: Mapping[ScoredSplit, int] = field(default_factory=lambda: {"validation": 32, "test": 48})
    texts: Sequence[tuple[str, str]] = ()
    """Input and reference of the rows; invented where there are too few."""
    clock: datetime = START

    def trial(self, letter: str, *, seed: int | None = None) -> PlannedTrial:
        """The trial of this letter, and of this seed if one is given."""
        found = [t for t in self.plan.trials if t.letter == letter and (seed is None or t.seed == seed)]
        return found[0]

    def example(self, split: ScoredSplit, index: int) -> Example:
        offset = {"validation": 0, "test": self.rows["validation"]}[split] + index
        if offset < len(self.texts):
            text, reference = self.texts[offset]
        else:
            text = f"Ann: are you coming at {index}?\nBen: yes, with {split}\nAnn: good"
            reference = f"Ben is coming to Ann at {index}."
        return Example(example_id=f"{split}-{index:03d}", split=split, input=text, reference=reference)

    def put_examples(self) -> None:
        """The scored rows, as the first trial of a run stores them."""
        lines = [self.example(split, index) for split, count in self.rows.items() for index in range(count)]
        self.store.put_once(Keys.examples(data_id(self.plan.trials[0].config.data)), json_lines(lines))

    def finish(
        self,
        trial: PlannedTrial,
        *,
        score: float = 0.25,
        scores: Mapping[str, NDArray[np.float64]] | None = None,
        first_line: Mapping[str, NDArray[np.float64]] | None = None,
        diagnostics: Mapping[str, NDArray[np.float64]] | None = None,
        without: Sequence[str] = (),
        prediction: str | None = None,
        engine: str = "reference",
        device: str = "cpu",
        versions: Mapping[str, str] | None = None,
        files: Mapping[str, bytes] | None = None,
        losses: Sequence[float] = (),
        reused_from: str | None = None,
        took: Took | None = None,
    ) -> Result:
        """Publish a result with ROUGE around `score`, or with just these per-row values on every split.

        `first_line` are the scores of the same texts cut at their first newline, `diagnostics` those of each split.
        `files` take the place of the files of that name.
        """
        self.put_examples()
        splits = {
            split: _split_scores(trial, self, split, score=score, given=scores, without=without).model_copy(
                update={"first_line": _tuples(first_line or {}), "diagnostics": _tuples(diagnostics or {})}
            )
            for split in trial.config.evaluation.final_splits
        }
        steps = 0 if trial.config.training is None else trial.config.training.max_steps or 0
        written = {
            "scores.json": to_json(Scores(trial_id=trial.trial_id, splits=splits)),
            "predictions.jsonl": self._predictions(trial, splits, step=steps, text=prediction),
            "metrics.jsonl": _metrics(trial, splits, losses=losses or _invented_losses(trial, steps)),
            "log.txt": b"made\n",
        }
        if trial.kind == "lora":
            written["adapter/adapter_model.safetensors"] = trial.trial_id.encode() * 1000
        attempt = f"made-{trial.trial_id[:4]}"
        self.clock += timedelta(seconds=40)
        result = Result.model_validate(
            {
                "trial_id": trial.trial_id,
                "adapter_id": trial.adapter_id,
                "config_id": trial.config_id,
                "attempt": attempt,
                "config": trial.config,
                "engine": engine if trial.kind == "lora" else "none",
                "metrics": {split: _headlines(found) for split, found in splits.items()},
                "steps": steps,
                "train_tokens": 640 * steps,
                "seconds": Seconds(
                    startup=4.2,
                    data=0.6,
                    train=0.0 if reused_from else took.train_s if took and steps else 2.3 * steps,
                    evaluate=0.1 if trial.kind == "lead" else 17.5,
                    publish=0.3,
                ),
                "device": Device(name=device, count=1, peak_bytes=took.peak_bytes if took else 1_480_000_000),
                "data": DataSummary(
                    digest=PINS.data.digest, rows={"train": 64, **self.rows}, dropped={"train.leaked": 2}
                ),
                "versions": {"torch": "2.15.0", "transformers": "5.23.0", "peft": "0.21.0", **(versions or {})},
                "provenance": Provenance(git_commit="0123456789abcdef0123456789abcdef01234567"),
                "adapter_bytes": (took.adapter_bytes if took else 9_800_000) if trial.kind == "lora" else 0,
                "reused_from": reused_from,
                "started_at": self.clock - timedelta(seconds=40),
                "finished_at": self.clock,
                "manifest": self._publish(trial, attempt, {**written, **(files or {})}),
            }
        )
        self.store.put_once(Keys.result(trial.trial_id), to_json(result))
        return result

    def fail(
        self,
        trial: PlannedTrial,
        *,
        reason: FailureReason = "diverged",
        message: str = "the loss was nan at step 7; lower the learning rate",
        log_tail: str = "step 6 loss 9.1\nstep 7 loss nan",
    ) -> None:
        """Store a permanent failure."""
        self.clock += timedelta(seconds=20)
        failure = Failure(
            trial_id=trial.trial_id,
            attempt="made-1",
            reason=reason,
            permanent=True,
            exit_code=80,
            message=message,
            log_tail=log_tail,
            written_by="job",
            at=self.clock,
        )
        self.store.put_once(Keys.failure(trial.trial_id, "made-1"), to_json(failure))

    def _predictions(
        self, trial: PlannedTrial, splits: Mapping[ScoredSplit, SplitScores], *, step: int, text: str | None
    ) -> bytes:
        lines = []
        for split, found in splits.items():
            for index, example_id in enumerate(found.example_ids):
                example = self.example(split, index)
                written = _written(trial, example) if text is None else text
                lines.append(
                    Prediction(
                        example_id=example_id, split=split, step=step, text=written, token_ids=(1, 2), ended="eos"
                    )
                )
        return json_lines(lines)

    def _publish(self, trial: PlannedTrial, attempt: str, files: Mapping[str, bytes]) -> ManifestReference:
        for path, body in files.items():
            self.store.put(Keys.attempt_file(trial.trial_id, attempt, path), body)
        listed = tuple(
            ManifestFile(path=path, size_bytes=len(body), sha256=sha256_hex(body)) for path, body in files.items()
        )
        body = to_json(Manifest(trial_id=trial.trial_id, attempt=attempt, files=listed))
        key = Keys.manifest(trial.trial_id, attempt)
        self.store.put(key, body)
        return ManifestReference(key=key, size_bytes=len(body), sha256=sha256_hex(body))


def made_run(folder: Path, text: str = GRID, *, run: str = "main", earlier: Sequence[Plan] = ()) -> MadeRun:
    """A planned run without any result, in a folder store as `lorasweep run` lays it out."""
    loaded = parse_spec(text.encode(), name="sweep.yaml", folder=Path())
    at = START + timedelta(minutes=len(earlier))
    plan = make_plan(loaded, pins=PINS, earlier=list(earlier), run=run, now=at)
    store = open_store(str(folder / loaded.spec.store.root / loaded.spec.name / run))
    store.put_once(Keys.spec(loaded.sha256), loaded.text)
    store.put_once(Keys.plan(loaded.sha256), to_json(plan))
    return MadeRun(store=store, loaded=loaded, plan=plan)


def json_lines(records: Sequence[Frozen]) -> bytes:
    """JSONL."""
    return "".join(record.model_dump_json() + "\n" for record in records).encode()


def _split_scores(
    trial: PlannedTrial,
    run: MadeRun,
    split: ScoredSplit,
    *,
    score: float,
    given: Mapping[str, NDArray[np.float64]] | None,
    without: Sequence[str],
) -> SplitScores:
    rows = run.rows[split]
    values = _invented(trial, split, rows=rows, score=score) if given is None else given
    kept = {name: column for name, column in values.items() if name not in without}
    ids = tuple(run.example(split, index).example_id for index in range(rows))
    return SplitScores(example_ids=ids, metrics=_tuples(kept))


def _tuples(columns: Mapping[str, NDArray[np.float64]]) -> dict[str, tuple[float, ...]]:
    return {name: tuple(float(value) for value in column) for name, column in columns.items()}


def _invented(trial: PlannedTrial, split: ScoredSplit, *, rows: int, score: float) -> dict[str, NDArray[np.float64]]:
    """Scores as of real summaries: rows differ more than models, and some rows score nothing."""
    hardness = np.random.default_rng(zlib.crc32(split.encode())).normal(0, 0.09, rows)
    rng = np.random.default_rng(int(trial.trial_id, 16))
    rouge_l = np.clip(score + hardness + rng.normal(0, 0.06, rows), 0, 1)
    rouge_l[rng.random(rows) < 0.05] = 0
    tokens = rng.integers(18, 40, rows).astype(float)
    if trial.kind != "lora":
        tokens = np.full(rows, 48.0)
    columns = {
        "rouge1": np.clip(rouge_l * 1.22, 0, 1),
        "rouge2": np.clip(rouge_l * 0.45 - 0.01, 0, 1),
        "rougeL": rouge_l,
        "rougeLsum": rouge_l,
        "generated_tokens": tokens,
    }
    if trial.kind != "lead":
        targets = np.random.default_rng(7).integers(12, 34, rows).astype(float)
        columns["target_tokens"] = targets
        columns["completion_nll"] = targets * np.clip(3.2 - 3.6 * score + rng.normal(0, 0.25, rows), 0.3, None)
    return columns


def _headlines(scores: SplitScores) -> dict[str, MetricValue]:
    found = {
        name: MetricValue(mean=float(np.mean(column)), n=len(column), settings={"use_stemmer": True})
        for name, column in scores.metrics.items()
        if name not in ("completion_nll", "target_tokens")
    }
    if "completion_nll" in scores.metrics:
        ratio = sum(scores.metrics["completion_nll"]) / sum(scores.metrics["target_tokens"])
        found["completion_loss"] = MetricValue(mean=ratio, n=len(scores.example_ids))
    return found


def _invented_losses(trial: PlannedTrial, steps: int) -> list[float]:
    rng = np.random.default_rng(int(trial.trial_id, 16))
    return [float(1.9 + 1.6 * np.exp(-step / 4) + rng.normal(0, 0.12)) for step in range(1, steps + 1)]


def _metrics(trial: PlannedTrial, splits: Mapping[ScoredSplit, SplitScores], *, losses: Sequence[float]) -> bytes:
    """metrics.jsonl: the training loss, validation on the way, and every final split."""
    steps = len(losses) if trial.kind == "lora" else 0
    final = {split: _headlines(scores) for split, scores in splits.items()}
    records: list[StepRecord | EvaluationRecord] = [
        StepRecord(
            step=step,
            loss=losses[step - 1],
            learning_rate=1e-4,
            grad_norm=1.0,
            tokens=640,
        )
        for step in range(1, steps + 1)
    ]
    every = trial.config.training.eval_steps if trial.config.training else None
    for step in range(every, steps, every) if every and "validation" in final else ():
        share = step / steps
        metrics = {
            name: value.model_copy(
                update={"mean": value.mean * (1.25 - 0.25 * share if "loss" in name else 0.6 + 0.4 * share)}
            )
            for name, value in final["validation"].items()
        }
        records.append(EvaluationRecord(step=step, split="validation", metrics=metrics))
    records += [EvaluationRecord(step=steps, split=split, metrics=metrics) for split, metrics in final.items()]
    return json_lines(records)


def _written(trial: PlannedTrial, example: Example) -> str:
    """What such a trial tends to write: the reference with a slip, the first lines, or talk without end."""
    if trial.kind == "lead":
        return "\n".join(example.input.splitlines()[:3])
    if trial.kind == "zero-shot":
        first = example.input.splitlines()[0].split(": ", 1)[-1]
        return f'The conversation is about the following topic: "{first}". The speakers discuss the topic and they'
    words = example.reference.split()
    return " ".join(words[: max(4, len(words) - 3)]).rstrip(",.") + "."
