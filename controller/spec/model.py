"""What a person writes: the sweep as one closed, immutable value. docs/spec.md is its manual.

Models say which fields exist and what each may hold; rules between fields are in check.py. A field of `trial`
that is not set stays at the default of the contract, so sections here carry the same defaults.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StrictStr, model_validator

from controller.spec.vary import Vary
from job.contract.base import Count, Digest, Flag, Frozen, Number, Positive, Seed, Text
from job.contract.config import (
    Dtype,
    EvaluationOptions,
    GenerationOptions,
    Overflow,
    PromptTemplate,
    Rank,
    Share,
    SplitRole,
    TrainingOptions,
)

__all__ = [
    "DataSection",
    "EvaluationSection",
    "ExecutionSection",
    "LoraSection",
    "MeanOf",
    "ModelSection",
    "Objective",
    "Regression",
    "StoreSection",
    "SweepSpec",
    "TrainingSection",
    "TrialSection",
]

SweepName = Annotated[StrictStr, Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$")]
"""A DNS-1123 label of at most 40 characters: with `-<8 hex>-<n>` it still is a Job name of at most 63."""
PromptName = Annotated[StrictStr, Field(pattern=r"^[A-Za-z0-9]([A-Za-z0-9._-]{0,38}[A-Za-z0-9])?$")]


class ModelSection(Frozen):
    """The frozen base model."""

    id: Text
    """Hub id, folder relative to this file, or s3:// prefix."""
    revision: Text | None = None
    """Hub only: branch, tag or commit; the first run pins the commit."""
    digest: Digest | None = None
    """Which bytes are expected; needed where the place cannot be read from here, such as a volume of the cluster."""
    dtype: Dtype = "float32"
    """Of the frozen weights; never taken from the checkpoint."""
    dropout: Share | Literal["keep"] = 0.0
    """The base model's own dropout; `keep` leaves it as the checkpoint has it."""
    load_in_4bit: Flag = False
    """NF4 weights by bitsandbytes (QLoRA, Dettmers et al. 2023); needs CUDA."""


class DataSection(Frozen):
    """The rows, and which of them are used."""

    source: Text
    """Hub id, folder or file relative to this file, or s3:// prefix."""
    revision: Text | None = None
    """Hub only: branch, tag or commit; the first run pins the commit."""
    digest: Digest | None = None
    """Which bytes are expected; needed where the place cannot be read from here."""
    splits: Annotated[dict[SplitRole, Text], Field(min_length=1)]
    """Role to file inside the source, or to the name of a hub split."""
    columns: dict[Literal["id", "input", "target"], Text]
    """Role to column; without `id` a row is named by its hash. lead-k reads `input`, ROUGE compares with `target`."""
    limits: dict[SplitRole, Positive] = Field(default_factory=dict)
    """Rows kept after the seeded shuffle; absent: all."""
    seed: Seed = 42
    """Picks the rows; the same in every trial and seed."""
    overflow: Overflow = "error"
    """A row longer than the context: an error, its input cut on one side, or (train rows only) dropped; counted."""
    streaming: Literal[False] = False
    """Reserved."""


class LoraSection(Frozen):
    """peft's LoraConfig as far as a sweep may set it, and alpha_ratio."""

    r: Rank | None = None
    """Rank; here or in vary."""
    lora_alpha: Annotated[Number, Field(gt=0)] | None = None
    """Scale numerator: the update is scaled by lora_alpha / r (or / sqrt(r) with use_rslora)."""
    alpha_ratio: Annotated[Number, Field(gt=0)] | None = None
    """Sets lora_alpha to this times r, so that ranks are compared at the same scale; instead of lora_alpha."""
    lora_dropout: Share = 0.0
    """Dropout on the adapter's input."""
    target_modules: Text | tuple[Text, ...] | None = None
    """`all-linear`, a list of module names, a regex, or null for peft's choice by architecture."""
    use_rslora: Flag = False
    """Rank-stabilised scale (Kalajdzievski 2023)."""
    use_dora: Flag = False
    """Weight-decomposed update (Liu et al. 2024)."""
    bias: Literal["none", "all", "lora_only"] = "none"
    """Which bias vectors are trained as well."""
    modules_to_save: tuple[Text, ...] | None = None
    """Modules trained in full and saved beside the adapter."""


class TrainingSection(TrainingOptions):
    """The TrainingArguments that a sweep may set: those that decide the weights, then three of execution."""

    gradient_checkpointing: Flag = False
    """Less memory for more time. Execution: not part of a trial's identity."""
    dataloader_num_workers: Count = 0
    """Processes that load batches. Execution: not part of a trial's identity."""
    logging_steps: Positive = 1
    """Optimizer steps between two scalars of TensorBoard. Execution: not part of a trial's identity."""
    packing: Literal[False] = False
    """Reserved."""

    @model_validator(mode="after")
    def _one_length_one_precision(self) -> TrainingSection:
        """Judged for each configuration, as either side may be varied; the base class would judge `trial` alone."""
        return self


class EvaluationSection(EvaluationOptions):
    """What is scored, and on which rows."""

    backend: Literal["transformers"] = "transformers"
    """Reserved."""


class TrialSection(Frozen):
    """What all trials share; a path that vary names must not be set here."""

    prompt: PromptName | None = None
    """Which of `prompts`; may be left out where there is one, or where it is varied."""
    lora: LoraSection = LoraSection()
    training: TrainingSection = TrainingSection()
    generation: GenerationOptions = GenerationOptions()
    evaluation: EvaluationSection = EvaluationSection()


class Objective(Frozen):
    """What the ranking goes by."""

    metric: Text = "rougeL"
    """rouge1, rouge2, rougeL, rougeLsum or completion_loss."""
    split: Literal["validation", "test"] = "validation"
    """Validation ranks, test reports: ranking by test rows would fit the choice to them."""
    direction: Literal["maximize", "minimize"] | None = None
    """Which way is better; null: the metric's own."""


class ExecutionSection(Frozen):
    """How the sweep runs; never part of a trial's identity."""

    parallelism: Positive = 1
    """Jobs at a time; on one machine never more than it has GPUs, and one on the CPU."""
    trials_per_job: Positive | Literal["auto"] | None = None
    """Trials that share a Job and its copy of the base model; auto: as many as pay; null: 1 on a cluster, else auto."""
    gpus: Count = 1
    """Of each Job; 0 trains on the CPU."""
    devices_per_trial: Literal[1] = 1
    """Reserved."""
    max_attempts: Positive = 3
    """Failed attempts of a trial before it is given up."""
    max_disruptions: Count = 20
    """Evictions and other stops from outside that a trial survives; they are not failures."""
    max_failed_trials: Count | None = None
    """Stop the run when more trials have failed; null: go on to the end."""
    queue_timeout_s: Annotated[Number, Field(gt=0)] | None = None
    """From submission until a node takes the Job; null: wait for ever."""
    start_timeout_s: Annotated[Number, Field(gt=0)] = 1800.0
    """From there until the trial runs: pulling the image, mounting."""
    trial_timeout_s: Annotated[Number, Field(gt=0)] = 3600.0
    """Training and evaluation of one trial, summed over its attempts."""
    checkpoint_every: Positive | None = None
    """Optimizer steps; null: a quarter of all steps."""
    eval_batch_size: Positive = 16
    """Rows generated or scored at a time."""
    price_per_gpu_hour: Annotated[Number, Field(ge=0)] | None = None
    """For the report's cost column, in whatever currency."""
    early_stop: None = None
    """Reserved."""


class StoreSection(Frozen):
    """Where runs are kept."""

    root: Text = "runs"
    """Folder under the current directory, or s3://bucket/prefix; --store wins."""
    keep_adapters: Literal["all"] = "all"
    """Reserved."""


class MeanOf(Frozen):
    """Several runs as one reference."""

    mean_of: Annotated[Positive, Field(le=100)]
    """So many of the newest good runs, or as many as there are."""


class Regression(Frozen):
    """When a run counts as worse than earlier ones; for sweeps that run again and again."""

    reference: Text | MeanOf = "previous"
    """`previous`: the newest good run before this one; `{mean_of: 7}`: of the newest seven; or a run's name."""
    anchor: Text | None = None
    """A run that is always compared too: a reference that moves along hides a slow drift."""
    drops: dict[Text, Annotated[Number, Field(ge=0)]] = Field(default_factory=dict)
    """Metric to how much worse than the reference is still fine; 0 for the objective's where it is not named."""
    floors: dict[Text, Number] = Field(default_factory=dict)
    """Metric to the worst value that passes."""
    more_seeds: Count | None = None
    """Seeds that a suspicion adds to each configuration before it decides; null: as many as there are; 0: none."""
    webhook: Text | None = None
    """URL that a regression is POSTed to; one that is a secret belongs into REGRESSION_WEBHOOK_URL instead."""


class SweepSpec(Frozen):
    """One sweep."""

    version: Literal[1]
    """Of this format."""
    name: SweepName
    """DNS-1123 label, at most 40 characters."""
    description: Text = ""
    """What is asked; printed in the report."""
    success: Text = ""
    """When the sweep counts as a success; printed in the report."""
    task: Literal["sft"] = "sft"
    """Reserved: supervised fine-tuning is the one task so far."""
    model: ModelSection
    data: DataSection
    prompts: Annotated[dict[PromptName, PromptTemplate], Field(min_length=1)]
    """Name to template; {x} is a data column."""
    trial: TrialSection
    vary: Vary = Vary()
    objective: Objective = Objective()
    execution: ExecutionSection = ExecutionSection()
    store: StoreSection = StoreSection()
    regression: Regression | None = None
    """Null: no comparison with earlier runs."""
