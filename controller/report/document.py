"""report.json: everything the report says, as data; HTML, Markdown and CSV are renderings of it.

Foreign text in it has its control characters replaced and its length cut, and is otherwise as it was.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from controller.regression.document import Regression
from controller.report.choices import Takeaways, Tradeoffs
from controller.report.conclusions import Effects, Verdict
from controller.report.diagnosis import LossGap, LossOrder, Shortcomings, Texts
from controller.report.examples import Examples
from controller.report.variants import Variant
from job.contract.base import Count, Frozen, Name, Number, Positive, Text
from job.contract.config import PromptTemplate, Provenance, TrialKind
from job.contract.documents import ScoredSplit
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
    "SeedTrial",
    "Setup",
    "Spent",
    "Varied",
]


class Objective(Frozen):
    """What ranks the configurations."""

    metric: Text
    split: ScoredSplit
    direction: Literal["maximize", "minimize"]


class Varied(Frozen):
    """One factor of the sweep."""

    path: Text
    values: tuple[Text, ...]
    how: Literal["grid", "paired", "random", "listed"]
    """How values were combined: every combination, together with others, drawn, or single configurations."""
    why: Text | None


class Setup(Frozen):
    """What all configurations share."""

    model: Text
    """Hub id, or the last part of the folder's name."""
    model_digest: Text
    data: Text
    data_digest: Text
    rows: dict[str, Count]
    """Rows used by split; empty before the first result."""
    dropped: dict[str, Count]
    """`<split>.<cause>`: rows left out; the largest number of any trial, as a cut may depend on the prompt."""
    prompts: dict[str, PromptTemplate]
    shared: dict[str, Text]
    """Setting to value, as far as all trained trials have the same."""
    varied: tuple[Varied, ...]
    floors: dict[Text, Number] = Field(default_factory=dict)
    """Metric to the worst value that passes, as the spec's `regression` has it."""
    seeds: tuple[Count, ...]


class Metric(Frozen):
    """One mean over rows and seeds, with its 95 % interval (controller.stats.contrasts)."""

    mean: Number
    low: Number | None
    """None where one row, or rows that are all equal, show no spread. No end is outside of the metric's range."""
    high: Number | None
    half: Number | None
    """Half the interval as computed: more than `high - mean` where the range cuts it off."""
    rows: Count
    seeds: Positive


class SeedTrial(Frozen):
    """One seed of a configuration."""

    trial_id: Text
    seed: Count | None
    state: TrialState
    """Final, or `pending`."""
    attempt: Text | None
    seconds: Number | None
    """Wall-clock seconds of the attempts that led to its result, all stages; None without one."""
    adapter_key: Text | None
    """Where in the run the adapter lies."""
    adapter_of: Text | None = None
    """The letter, or the id if it is not of this plan, of the trial that trained the adapter, where it was another."""


class CurvePoint(Frozen):
    """A value after an optimizer step."""

    step: Count
    value: Number


class Curve(Frozen):
    """One measured quantity over the steps of a configuration: the mean of its seeds."""

    split: Literal["train", "validation"]
    metric: Text
    """`loss` of train is the loss of the optimizer step; the others are as in the ranking."""
    seeds: Positive
    points: tuple[CurvePoint, ...]
    """At most a hundred; of more steps, each is the mean of some that follow one another, at the last of them."""


class Configuration(Frozen):
    """One row of the ranking."""

    letter: Text
    label: Text
    kind: TrialKind
    config_id: Text
    prompt: Text | None
    """Its prompt's name."""
    values: dict[str, Text]
    """Varied path to value; of trained configurations."""
    rank: Positive | None
    """Among the trained configurations that have the objective; equal means share a rank."""
    trials: tuple[SeedTrial, ...]
    metrics: dict[ScoredSplit, dict[str, Metric]]
    variant: Variant = "whole"
    """Which scores of its texts `metrics` has: of zero-shot, those that are harder to beat by the objective."""
    metrics_settings: dict[str, dict[str, bool | int | float | str | None]] = Field(default_factory=dict)
    """What each metric depends on."""
    steps: Count
    train_tokens: Count
    """Summed over seeds."""
    train_s: Number
    """Device-seconds, summed over seeds; none for a seed with the adapter of another trial."""
    evaluate_s: Number
    other_s: Number
    """Start-up, data and publishing."""
    cost: Number | None = None
    """All of these at the spec's price."""
    peak_bytes: Count
    """The largest of any seed."""
    adapter_bytes: Count
    curves: tuple[Curve, ...] = ()
    texts: dict[ScoredSplit, Texts] = Field(default_factory=dict)
    """What its outputs are like; a split is absent where that was not measured."""
    loss_gap: LossGap | None = None
    """None for a baseline, and without a loss on validation."""


class FailedTrial(Frozen):
    """A trial without a result, and what to do about it."""

    trial_id: Text
    letter: Text
    label: Text
    seed: Count | None
    reason: FailureReason
    message: Text
    attempts: Count
    """Failed ones that no retry has voided."""
    log_tail: Text
    log: Text | None
    """The command that prints its whole log; None where no process of it wrote one."""
    way_on: Text
    """What to do before a new start, or instead of one."""
    retry: Text | None
    """The command that tries it again; None where it would only fail again."""


class Spent(Frozen):
    """What the results took: the attempts that led to them. Failed trials are not in it."""

    device_s: Number
    """Wall-clock seconds times devices, of every stage."""
    price_per_gpu_hour: Number | None = None
    """The spec's, for an hour of any device."""
    cost: Number | None = None


class ReportProvenance(Frozen):
    """What the numbers were made with; more than one entry means that they were mixed."""

    engines: tuple[Text, ...]
    """Of trained configurations."""
    devices: tuple[Text, ...]
    """Of trials that ask a model."""
    versions: dict[str, tuple[Text, ...]]
    sources: tuple[Provenance, ...]
    identity_version: Positive


class Report(Frozen):
    """One run, as far as it got."""

    schema_version: Literal[1] = 1
    sweep: Name
    run: Name
    place: Text
    """The run as commands name it; STORE in it stands for a folder of the machine that has the store."""
    description: Text
    success: Text
    spec_sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    data_until: datetime | None
    """The newest result or failure in the store; None where there is none."""
    state: Literal["complete", "partial"]
    """Complete: every trial has a result or has failed for good."""
    objective: Objective
    setup: Setup
    spent: Spent
    configurations: tuple[Configuration, ...]
    """Those with the objective first, best first, baselines at their place; then the others in order of letter."""
    pending: tuple[Text, ...] = ()
    """Trials with neither result nor failure, as `letter (seed n): state`."""
    failures: tuple[FailedTrial, ...]
    verdict: Verdict
    findings: tuple[Text, ...]
    """Where the baselines stand, in counts."""
    warnings: tuple[Text, ...]
    """What a reader has to know before trusting the ranking."""
    examples: Examples | None
    """None where no text can be shown."""
    effects: Effects | None = None
    """None where nothing was varied, or nothing can be compared."""
    tradeoffs: Tradeoffs | None = None
    """None where fewer than two trained configurations can be compared."""
    takeaways: Takeaways | None = None
    """What to do next; None in reports of earlier releases."""
    regression: Regression | None = None
    """None where the spec asks for none, or not every trial is final."""
    shortcomings: Shortcomings | None = None
    """Where the best configuration still fails; None without a ranked one."""
    loss_order: LossOrder | None = None
    """None where fewer than three trained configurations have both a loss and ROUGE."""
    provenance: ReportProvenance
