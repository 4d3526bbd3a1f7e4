"""The documents in the store. Each has a schema_version; readers refuse one they do not know, by name.

`parse` is the one way in: it caps the size before it reads, and turns every defect into a ResultError.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal, TypeVar

from pydantic import Field, ValidationError, field_validator, model_validator

from job.contract.base import Count, Flag, Frozen, Name, Number, Positive, Text
from job.contract.config import PlannedTrial, Provenance, Source, TrialConfig, TrialId
from job.contract.errors import FailureReason, ResultError

__all__ = [
    "BEFORE_BEGINNING",
    "DATA_LIMIT_BYTES",
    "DOCUMENT_LIMIT_BYTES",
    "Control",
    "DataSummary",
    "Device",
    "EvaluationRecord",
    "Example",
    "Failure",
    "Group",
    "Manifest",
    "ManifestFile",
    "ManifestReference",
    "MetricValue",
    "MoreSeeds",
    "Plan",
    "Prediction",
    "Progress",
    "Result",
    "Retry",
    "RunState",
    "ScoredSplit",
    "Scores",
    "Seconds",
    "SettingValue",
    "SplitScores",
    "StepRecord",
    "SubmissionEnd",
    "parse",
    "to_json",
]

DOCUMENT_LIMIT_BYTES = 4 * 2**20
"""A result, failure or progress is a few kB; anything larger is not ours."""
DATA_LIMIT_BYTES = 512 * 2**20
"""Plans, scores and predictions grow with trials and rows."""

Split = Literal["train", "validation", "test"]
ScoredSplit = Literal["validation", "test"]
SettingValue = bool | int | float | str | None
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
D = TypeVar("D", bound=Frozen)


def to_json(document: Frozen) -> bytes:
    """The stored form of a document: indented JSON with a final newline, the same bytes each time.

    Raises pydantic's ValidationError when a field holds NaN or infinity (a model built without validation).
    """
    return (document.model_dump_json(indent=1) + "\n").encode()


def parse(document: type[D], body: bytes, *, name: str) -> D:
    """The document that `body` holds.

    Raises ResultError naming `name` and the first defect: not JSON, NaN, a missing or unknown field, another version.
    """
    try:
        return document.model_validate_json(body)
    except ValidationError as err:
        first = err.errors(include_url=False, include_context=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "document"
        raise ResultError(f"{name} is not a valid {document.__name__}: {where}: {first['msg']}") from err


class Group(Frozen):
    """The trials of one Job; fixed by the first plan that names them."""

    group_id: Name
    trial_ids: Annotated[tuple[TrialId, ...], Field(min_length=1)]
    engine: Literal["reference", "lanes"] = "reference"
    """What runs them: one after the other, or together on one copy of the base model."""
    why: Text = ""
    """Why this engine and these trials, in words; empty in plans of earlier releases."""


class Plan(Frozen):
    """What a spec asks for, with its sources pinned; put once per spec and read by every restart."""

    schema_version: Literal[1] = 1
    identity_version: Positive
    spec_sha256: Sha256
    sweep: Name
    run: Name
    model: Source
    data: Source
    groups: tuple[Group, ...]
    trials: tuple[PlannedTrial, ...]
    duplicates: tuple[Text, ...] = ()
    """Labels that came out as a trial already listed."""
    warnings: tuple[Text, ...] = ()
    created_at: datetime

    @model_validator(mode="after")
    def _groups_hold_each_trial_once(self) -> Plan:
        grouped = [trial for group in self.groups for trial in group.trial_ids]
        planned = [trial.trial_id for trial in self.trials]
        if sorted(grouped) != sorted(planned) or len(set(planned)) != len(planned):
            raise ValueError("each trial has to be in exactly one group")
        return self


RunState = Literal["running", "paused", "stopped"]
"""What people want of a run."""


class Control(Frozen):
    """What people asked for; the controller reads it before every decision."""

    schema_version: Literal[1] = 1
    state: RunState = "running"
    trials: dict[TrialId, Literal["stop"]] = Field(default_factory=dict)
    """Trials stopped one by one; a retry takes the entry away."""
    spec_sha256: Sha256 | None = None
    """Of the newest `run`: which of the run's plans the verbs without a spec file are about."""
    updated_at: datetime | None = None
    resumed_at: datetime | None = None
    """When the newest pause ended: what waits in a cluster began to wait anew then."""
    begun_by: Text | None = None
    """The Kubernetes Job of the newest `run`: another pod of the same Job goes on with the wishes as they are."""


class MoreSeeds(Frozen):
    """That the run of a spec goes on with a widened one, as a suspicion of a regression added seeds; put once."""

    schema_version: Literal[1] = 1
    spec_sha256: Sha256
    """Of the widened spec."""


class Retry(Frozen):
    """A new start of one trial: what it lists no longer counts. Names, not times, as clocks of machines differ."""

    schema_version: Literal[1] = 1
    trial_id: TrialId
    at: datetime
    voids: tuple[Name, ...] = ()
    """Attempts whose failures, and submissions whose disruptions, were in the store when it was written."""


class SubmissionEnd(Frozen):
    """How one submission ended; stored before its successor is created."""

    schema_version: Literal[1] = 1
    name: Name
    group_id: Name
    number: Positive
    """1 for the group's first submission."""
    trial_ids: tuple[TrialId, ...]
    attempt: Name | None
    """The last process of the submission, if one was seen."""
    outcome: Literal["done", "failed", "stopped", "disrupted", "retry"]
    """`disrupted`: evicted or SIGTERM from outside; `stopped`: asked for by a person or a limit; `retry`: exit 75."""
    exit_code: int | None
    reason: FailureReason | None
    message: Text = ""
    started_at: datetime | None
    ended_at: datetime


class MetricValue(Frozen):
    """One metric on one split."""

    mean: Number
    n: Count
    """Rows behind the mean."""
    settings: dict[str, SettingValue] = Field(default_factory=dict)
    """What the number depends on: stemmer, splitting, library version."""


class Seconds(Frozen):
    """Wall-clock seconds of the process by stage, summed over the attempts that led to the result."""

    startup: Number
    data: Number
    train: Number
    evaluate: Number
    publish: Number


class Device(Frozen):
    """What the trial ran on."""

    name: Text
    count: Positive
    peak_bytes: Count
    """Peak allocated device memory, or peak resident memory on a CPU."""


class DataSummary(Frozen):
    """Rows used and rows left out, each with its cause."""

    digest: Text
    rows: dict[Split, Count]
    dropped: dict[str, Count]
    """`<split>.<cause>`: empty, leaked, overflow, cut."""


class ManifestFile(Frozen):
    """One file of an attempt."""

    path: Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]*(/[A-Za-z0-9_][A-Za-z0-9._-]*)*$")]
    """Relative to the attempt; no `..`, no leading slash or dot."""
    size_bytes: Count
    sha256: Sha256


class Manifest(Frozen):
    """Every file of one attempt or checkpoint; written after them all."""

    schema_version: Literal[1] = 1
    trial_id: TrialId
    attempt: Name
    files: tuple[ManifestFile, ...]

    @field_validator("files")
    @classmethod
    def _paths_are_unique(cls, files: tuple[ManifestFile, ...]) -> tuple[ManifestFile, ...]:
        if len({file.path for file in files}) != len(files):
            raise ValueError("a path is listed twice")
        return files


class ManifestReference(Frozen):
    """The manifest that a result vouches for."""

    key: Text
    size_bytes: Count
    sha256: Sha256


class Result(Frozen):
    """A trial is done when this verifies; put once, by the job alone."""

    schema_version: Literal[1] = 1
    trial_id: TrialId
    adapter_id: TrialId | None
    config_id: TrialId
    attempt: Name
    config: TrialConfig
    engine: Literal["reference", "lanes", "none"]
    """`none`: nothing was trained."""
    metrics: dict[ScoredSplit, dict[str, MetricValue]]
    steps: Count
    train_tokens: Count
    """Non-padding tokens that went through the model in training."""
    seconds: Seconds
    device: Device
    data: DataSummary
    versions: dict[str, str]
    provenance: Provenance
    adapter_bytes: Count = 0
    reused_from: Text | None = None
    """Key of the attempt that trained the adapter, where this one only evaluated it: steps and tokens are of that one,
    seconds of this one."""
    started_at: datetime
    finished_at: datetime
    manifest: ManifestReference


class Failure(Frozen):
    """One failed attempt of one trial; put once."""

    schema_version: Literal[1] = 1
    trial_id: TrialId
    attempt: Name
    reason: FailureReason
    permanent: Flag
    """The same input would fail in the same way again."""
    shared: Flag = False
    """The cause is what every trial of the run has: if it is permanent, no other needs to find it out."""
    exit_code: int | None
    message: Text
    log_tail: Text = ""
    written_by: Literal["job", "controller"]
    at: datetime


BEFORE_BEGINNING = frozenset({"startup", "waiting"})
"""Stages of a trial whose process is busy with itself, or with other trials."""


class Progress(Frozen):
    """Where a running trial is; overwritten."""

    schema_version: Literal[1] = 1
    attempt: Name
    stage: Literal["startup", "data", "train", "evaluate", "publish", "waiting", "done"]
    step: Count
    max_steps: Count
    loss: Number | None = None
    metrics: dict[str, Number] = Field(default_factory=dict)
    """The newest evaluation on validation."""
    tokens_per_s: Number | None = None
    eta_s: Number | None = None
    checkpoint_step: Count | None = None
    message: Text = ""
    updated_at: datetime

    @property
    def begun(self) -> bool:
        """Whether the process has turned to this trial."""
        return self.stage not in BEFORE_BEGINNING


class SplitScores(Frozen):
    """Per-example scores of one split, all lists in the order of example_ids."""

    example_ids: tuple[str, ...]
    metrics: dict[str, tuple[Number, ...]]
    first_line: dict[str, tuple[Number, ...]] = Field(default_factory=dict)
    """Metrics of the same texts, cut at their first newline; of zero-shot trials, and none in earlier releases."""
    diagnostics: dict[str, tuple[Number, ...]] = Field(default_factory=dict)
    """What describes the texts and ranks nothing (job.contract.diagnostic_names); none in earlier releases."""

    @model_validator(mode="after")
    def _every_metric_scores_every_row(self) -> SplitScores:
        for columns in (self.metrics, self.first_line, self.diagnostics):
            for name, values in columns.items():
                if len(values) != len(self.example_ids):
                    raise ValueError(f"metric {name!r} has {len(values)} scores for {len(self.example_ids)} rows")
        return self


class Scores(Frozen):
    """Per-example scores of the final evaluation."""

    schema_version: Literal[1] = 1
    trial_id: TrialId
    splits: dict[ScoredSplit, SplitScores]


class Prediction(Frozen):
    """One generated text; a line of predictions.jsonl."""

    example_id: str
    split: ScoredSplit
    step: Count
    text: str
    token_ids: tuple[int, ...]
    ended: Literal["eos", "length", "context"]


class StepRecord(Frozen):
    """One optimizer step; a line of metrics.jsonl."""

    kind: Literal["step"] = "step"
    step: Positive
    loss: Number
    """Summed cross-entropy of the window over its target count, in nats per token."""
    learning_rate: Number
    grad_norm: Number | None
    tokens: Count
    """Non-padding tokens of the window."""


class EvaluationRecord(Frozen):
    """One evaluation; a line of metrics.jsonl."""

    kind: Literal["evaluation"] = "evaluation"
    step: Count
    split: ScoredSplit
    metrics: dict[str, MetricValue]


class Example(Frozen):
    """One scored row; a line of examples.jsonl."""

    example_id: str
    split: ScoredSplit
    input: str
    reference: str
