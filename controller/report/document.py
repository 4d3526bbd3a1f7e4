"""report.json: everything the report says, as data; HTML, Markdown and CSV are renderings of it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from job.contract.base import Count, Flag, Frozen, Name, Number, Positive, Text
from job.contract.config import Provenance, TrialKind
from job.contract.errors import FailureReason, TrialState

__all__ = [
    "Configuration",
    "Curve",
    "CurvePoint",
    "FailedTrial",
    "Metric",
    "Objective",
    "Report",
    "ReportProvenance",
    "SampledExample",
    "SampledOutput",
    "SeedTrial",
    "Setup",
    "Varied",
]

ScoredSplit = Literal["validation", "test"]


class Objective(Frozen):
    """What ranks the configurations."""

    metric: Text
    split: ScoredSplit
    direction: Literal["maximize", "minimize"]


class Varied(Frozen):
    """One factor of the sweep."""

    path: Text
    values: tuple[Text, ...]
    why: Text | None


class Setup(Frozen):
    """What all configurations share."""

    model: Text
    """Hub id, or the last part of the folder's name."""
    model_digest: Text
    data: Text
    data_digest: Text
    rows: dict[str, Count]
    dropped: dict[str, Count]
    """`<split>.<cause>`"""
    prompts: dict[str, dict[str, str | bool]]
    """Name to prompt, completion and chat."""
    shared: dict[str, Text]
    """Setting to value, as far as no factor varies it."""
    varied: tuple[Varied, ...]
    seeds: tuple[Count, ...]


class Metric(Frozen):
    """One mean over rows and seeds, with its 95 % interval (controller.stats.intervals)."""

    mean: Number
    low: Number | None
    high: Number | None
    rows: Count
    seeds: Positive


class SeedTrial(Frozen):
    """One seed of a configuration."""

    trial_id: Text
    seed: Count | None
    state: TrialState
    attempt: Text | None
    adapter_key: Text | None
    """Where in the run the adapter lies."""


class CurvePoint(Frozen):
    """A value after an optimizer step."""

    step: Count
    value: Number


class Curve(Frozen):
    """One measured quantity over the steps of one trial."""

    trial_id: Text
    split: Literal["train", "validation"]
    metric: Text
    points: tuple[CurvePoint, ...]


class Configuration(Frozen):
    """One row of the ranking."""

    letter: Text
    label: Text
    kind: TrialKind
    config_id: Text
    values: dict[str, Text]
    """Varied path to value."""
    rank: Positive | None
    """By the objective's mean; None where no seed has a result. Equal means share a rank."""
    trials: tuple[SeedTrial, ...]
    metrics: dict[ScoredSplit, dict[str, Metric]]
    metrics_settings: dict[str, dict[str, bool | int | float | str | None]] = Field(default_factory=dict)
    steps: Count
    train_tokens: Count
    train_s: Number
    """Device-seconds, summed over seeds."""
    evaluate_s: Number
    other_s: Number
    """Start-up, data and publishing."""
    peak_bytes: Count
    adapter_bytes: Count
    curves: tuple[Curve, ...] = ()


class FailedTrial(Frozen):
    """A trial without a result, and what to do about it."""

    trial_id: Text
    letter: Text
    label: Text
    seed: Count | None
    reason: FailureReason
    message: Text
    attempts: Count
    log_tail: Text
    retry: Text
    """The command that tries it again."""


class SampledOutput(Frozen):
    """What one configuration wrote for an example."""

    letter: Text
    text: Text
    score: Number | None
    """The objective's metric on this example."""


class SampledExample(Frozen):
    """A row with what was written for it."""

    example_id: Text
    split: ScoredSplit
    input: Text
    reference: Text
    outputs: tuple[SampledOutput, ...]


class ReportProvenance(Frozen):
    """What the numbers were made with; more than one entry means that they were mixed."""

    engines: tuple[Text, ...]
    devices: tuple[Text, ...]
    versions: dict[str, tuple[Text, ...]]
    sources: tuple[Provenance, ...]
    identity_version: Positive


class Report(Frozen):
    """One run, as far as it got."""

    schema_version: Literal[1] = 1
    sweep: Name
    run: Name
    description: Text
    success: Text
    spec_sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    data_until: datetime | None
    """The newest result or failure in the store; None where there is none."""
    state: Literal["complete", "partial"]
    objective: Objective
    setup: Setup
    configurations: tuple[Configuration, ...]
    """Ranked ones first, by rank; then the others in order of letter."""
    pending: tuple[Text, ...] = ()
    """Trials without a final state, as `letter (seed n): state`."""
    failures: tuple[FailedTrial, ...]
    warnings: tuple[Text, ...]
    """What a reader has to know before trusting the ranking."""
    small: Flag
    """Whether the numbers are too few to name a winner; the sentence is among the warnings."""
    examples: tuple[SampledExample, ...]
    verdict: None = None
    effects: None = None
    regression: None = None
    provenance: ReportProvenance
