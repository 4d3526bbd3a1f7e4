"""What one trial is, and what the job is asked to do. Identity lives here: ids are hashes of these models.

A default below never changes without a new IDENTITY_VERSION, because a field at its default is left out of the
hash; that is also why a later release can add a field and keep every id.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, NamedTuple

from pydantic import Field, field_validator, model_validator

from job.contract.base import (
    Count,
    Digest,
    Flag,
    Frozen,
    Name,
    Number,
    Positive,
    Ratio,
    Seed,
    Text,
    canonical_json,
    sha256_hex,
)

__all__ = [
    "IDENTITY_VERSION",
    "DataOptions",
    "EvaluationOptions",
    "GenerationOptions",
    "Ids",
    "JobExecution",
    "LoraOptions",
    "ModelOptions",
    "PlannedTrial",
    "PromptTemplate",
    "Provenance",
    "Rank",
    "Request",
    "Share",
    "Source",
    "SplitRole",
    "TrainingOptions",
    "TrialConfig",
    "TrialId",
    "TrialKind",
    "adapter_id",
    "config_id",
    "data_id",
    "ids_of",
    "trial_id",
]

IDENTITY_VERSION = 1

_POLYNOMIAL_END = 1e-7  # lr_end of transformers' get_polynomial_decay_schedule_with_warmup

SplitRole = Literal["train", "validation", "test"]
TrialKind = Literal["lora", "zero-shot", "lead"]
Overflow = Literal["error", "cut_left", "cut_right", "drop"]
Dtype = Literal["float32", "bfloat16", "float16"]
TrialId = Annotated[str, Field(pattern=r"^[0-9a-f]{12}$")]
Rank = Annotated[Positive, Field(le=4096)]
"""As wide as the layers of many models: an update of a matrix has no higher rank than its shorter side."""
Share = Annotated[Ratio, Field(lt=1)]
"""Of something that must not go away whole."""


class ModelOptions(Frozen):
    """The frozen base model."""

    digest: Digest
    """Which weights and tokenizer."""
    dtype: Dtype = "float32"
    """Of the frozen weights; never taken from the checkpoint."""
    dropout: Share | Literal["keep"] = 0.0
    """The base model's own dropout; `keep` leaves it as the checkpoint has it."""
    load_in_4bit: Flag = False
    """NF4 weights by bitsandbytes (QLoRA, Dettmers et al. 2023); needs CUDA."""


class DataOptions(Frozen):
    """Which rows are trained on and scored."""

    digest: Digest
    """Which bytes."""
    splits: dict[SplitRole, Text]
    """Role to file name or hub split."""
    columns: dict[Literal["id", "input", "target"], Text]
    """Role to column; without `id` a row is named by its hash."""
    limits: dict[SplitRole, Positive] = Field(default_factory=dict)
    """Rows kept after the seeded shuffle; absent: all."""
    seed: Seed = 42
    """Picks the rows; the same in every trial and seed."""
    overflow: Overflow = "error"
    """What happens to a row longer than the context."""


class PromptTemplate(Frozen):
    """How a row becomes text; {x} is a data column."""

    prompt: Text
    """What the model is given."""
    completion: Text
    """What it has to write, plus one end token: the only tokens in the loss."""
    chat: Flag = False
    """Wrap both as user and assistant turns of the model's chat template."""


class LoraOptions(Frozen):
    """peft's LoraConfig, as far as a sweep may set it."""

    r: Rank
    """Rank."""
    lora_alpha: Annotated[Number, Field(gt=0)]
    """Scale numerator: the update is scaled by lora_alpha / r (or / sqrt(r) with use_rslora)."""
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

    @field_validator("target_modules", "modules_to_save")
    @classmethod
    def _order_says_nothing(cls, value: Any) -> Any:
        return tuple(sorted(set(value))) if isinstance(value, tuple) else value


class TrainingOptions(Frozen):
    """The TrainingArguments that decide the weights, with transformers' names and transformers' defaults."""

    max_steps: Annotated[Positive, Field(le=10_000_000)] | None = None
    """Optimizer steps; this or num_train_epochs."""
    num_train_epochs: Annotated[Number, Field(gt=0, le=10_000)] | None = None
    """Passes over the train rows; this or max_steps."""
    per_device_train_batch_size: Annotated[Positive, Field(le=65_536)] = 8
    """Rows per forward pass."""
    gradient_accumulation_steps: Annotated[Positive, Field(le=65_536)] = 1
    """Forward passes per optimizer step."""
    learning_rate: Annotated[Number, Field(gt=0)] = 5e-5
    """Peak rate."""
    weight_decay: Annotated[Number, Field(ge=0)] = 0.0
    """Decoupled decay (AdamW)."""
    adam_beta1: Share = 0.9
    """Decay of the mean of the gradient."""
    adam_beta2: Share = 0.999
    """Decay of the mean of its square."""
    adam_epsilon: Annotated[Number, Field(gt=0)] = 1e-8
    """Added to the root of that mean."""
    max_grad_norm: Annotated[Number, Field(ge=0)] = 1.0
    """Clip by global norm, once per step; 0 clips nothing."""
    lr_scheduler_type: Literal[
        "linear", "cosine", "constant", "constant_with_warmup", "polynomial", "inverse_sqrt", "cosine_with_restarts"
    ] = "linear"
    """How the rate goes on after warm-up, down to 0 at the last step unless it is constant."""
    warmup_steps: Count = 0
    """Optimizer steps of linear warm-up."""
    optim: Literal["adamw_torch"] = "adamw_torch"
    """AdamW (Loshchilov and Hutter 2019) with state in float32."""
    bf16: Flag = False
    """Autocast to bfloat16."""
    fp16: Flag = False
    """Autocast to float16 with loss scaling; CUDA only."""
    eval_steps: Positive | None = None
    """Evaluate the validation rows every so many steps; null: only at the end."""

    @model_validator(mode="after")
    def _one_length_one_precision(self) -> TrainingOptions:
        if (self.max_steps is None) == (self.num_train_epochs is None):
            raise ValueError("give exactly one of max_steps and num_train_epochs")
        if self.bf16 and self.fp16:
            raise ValueError("bf16 and fp16 exclude each other; set one of them to false")
        if self.lr_scheduler_type == "polynomial" and self.learning_rate <= _POLYNOMIAL_END:
            raise ValueError(f"a polynomial schedule ends at {_POLYNOMIAL_END}; learning_rate has to be above that")
        return self


class GenerationOptions(Frozen):
    """transformers' GenerationConfig, as far as a sweep may set it; replaces the one in the model folder."""

    max_new_tokens: Annotated[Positive, Field(le=1_000_000)] = 64
    """Written at most; a text that reaches it is marked `length`."""
    min_new_tokens: Count = 0
    """The end token is held back until then."""
    do_sample: Flag = False
    """Draw from the distribution; false: the likeliest token each time."""
    temperature: Annotated[Number, Field(gt=0)] = 1.0
    """Sampling only: below 1 sharpens, above 1 flattens."""
    top_k: Count = 50
    """Sampling only: of the so many likeliest tokens; 0: of all."""
    top_p: Annotated[Ratio, Field(gt=0)] = 1.0
    """Sampling only: of the likeliest tokens that together have this probability."""
    num_beams: Positive = 1
    """Beam search; 1: none."""
    length_penalty: Number = 1.0
    """Beam search only: above 0 favours longer texts."""
    repetition_penalty: Annotated[Number, Field(gt=0)] = 1.0
    """Above 1 makes a token less likely that is there already (Keskar et al. 2019)."""
    no_repeat_ngram_size: Count = 0
    """No n-gram of this size twice; 0: anything goes."""


class EvaluationOptions(Frozen):
    """What is scored, and on which rows."""

    metrics: tuple[Text, ...] = ("rouge",)
    """Installed metrics by name; completion loss and generated length are always measured."""
    final_splits: tuple[Literal["validation", "test"], ...] = ("validation", "test")
    """Scored once more after the last step."""


class TrialConfig(Frozen):
    """Everything that decides a trial's numbers, and nothing else: no path, place, device or cadence."""

    kind: TrialKind = "lora"
    model: ModelOptions
    data: DataOptions
    prompt: PromptTemplate | None = None
    """Absent for lead-k, which asks no model."""
    lora: LoraOptions | None = None
    """Trained trials only."""
    training: TrainingOptions | None = None
    """Trained trials only."""
    generation: GenerationOptions | None = None
    """Absent for lead-k."""
    evaluation: EvaluationOptions = EvaluationOptions()
    lead_k: Positive | None = None
    """Of lead-k: how many leading lines of the input are the summary."""
    seed: Seed | None = None
    """Of a trained trial: seeds init, row order and dropout."""

    @model_validator(mode="after")
    def _parts_fit_the_kind(self) -> TrialConfig:
        wanted = {
            "lora": {"prompt", "generation", "lora", "training", "seed"},
            "zero-shot": {"prompt", "generation"},
            "lead": {"lead_k"},
        }[self.kind]
        for field in ("prompt", "generation", "lora", "training", "seed", "lead_k"):
            if (getattr(self, field) is not None) != (field in wanted):
                verb = "needs" if field in wanted else "must not have"
                raise ValueError(f"a trial of kind {self.kind!r} {verb} `{field}`")
        return self


def _short_hash(value: Any) -> str:
    return sha256_hex(canonical_json(value))[:12]


class Ids(NamedTuple):
    """The names of one trial; each 12 hex digits of SHA-256 over canonical JSON."""

    trial_id: str
    """Over the whole validated trial."""
    adapter_id: str | None
    """Over the part that decides the weights; None for a trial without training.

    How often and how a model is evaluated changes no weight (evaluation runs under a restored RNG state).
    """
    config_id: str
    """Over all but the seed: the seeds of one configuration share it."""


def ids_of(config: TrialConfig) -> Ids:
    """The three ids of a trial."""
    identity = {"identity_version": IDENTITY_VERSION, **config.model_dump(mode="json", exclude_defaults=True)}
    trial = _short_hash(identity)
    without_seed = {name: value for name, value in identity.items() if name != "seed"}
    configuration = _short_hash(without_seed) if "seed" in identity else trial
    if config.kind != "lora":
        return Ids(trial, None, configuration)
    weights = {name: value for name, value in identity.items() if name not in ("generation", "evaluation")}
    weights["training"] = {name: value for name, value in weights["training"].items() if name != "eval_steps"}
    return Ids(trial, _short_hash(weights), configuration)


def trial_id(config: TrialConfig) -> str:
    """12 hex digits over the canonical JSON of the validated trial."""
    return ids_of(config).trial_id


def config_id(config: TrialConfig) -> str:
    """12 hex digits that the seeds of one configuration share."""
    return ids_of(config).config_id


def adapter_id(config: TrialConfig) -> str | None:
    """12 hex digits over the part that decides the weights; None for a trial without training."""
    return ids_of(config).adapter_id


def data_id(options: DataOptions) -> str:
    """12 hex digits over which rows are used: trials that share it score the same examples."""
    return _short_hash({"identity_version": IDENTITY_VERSION, **options.model_dump(mode="json", exclude_defaults=True)})


class Source(Frozen):
    """Where bytes are, and which bytes they have to be."""

    kind: Literal["hub", "path", "s3"]
    location: Text
    """Hub id, absolute path, or s3:// prefix. A place: never part of an identity, never published."""
    revision: Text | None = None
    """Hub only: the pinned commit."""
    digest: Digest

    @property
    def public_name(self) -> str:
        """What a stranger may read: the hub id, or the last part of a path or prefix."""
        return self.location if self.kind == "hub" else self.location.rstrip("/").rsplit("/", 1)[-1]


class PlannedTrial(Frozen):
    """One trial of a plan: its ids, its names for people, and its whole configuration."""

    trial_id: TrialId
    adapter_id: TrialId | None
    config_id: TrialId
    letter: Annotated[str, Field(pattern=r"^[A-Z]+$")]
    """A, B, ... in expansion order; seeds of one configuration share it."""
    label: Text
    """The varied values as written: `prompt=v1, lora.r=8`."""
    kind: TrialKind
    seed: Seed | None
    prompt_name: Text | None = None
    """The prompt's name in the spec."""
    config: TrialConfig

    @model_validator(mode="after")
    def _ids_are_of_the_config(self) -> PlannedTrial:
        given, found = Ids(self.trial_id, self.adapter_id, self.config_id), ids_of(self.config)
        if given != found:
            raise ValueError(f"ids {tuple(given)} do not match the config's {tuple(found)}")
        return self


class JobExecution(Frozen):
    """How the job works; never part of an identity."""

    trial_timeout_s: Annotated[Number, Field(gt=0)] = 3600.0
    """Training and evaluation time of a trial, summed over its attempts."""
    checkpoint_every: Positive | None = None
    """Optimizer steps; null: a quarter of all steps."""
    eval_batch_size: Positive = 16
    gradient_checkpointing: Flag = False
    dataloader_num_workers: Count = 0
    logging_steps: Positive = 1
    """Optimizer steps between two scalars of TensorBoard; our own record has every step."""


class Provenance(Frozen):
    """Where the code came from."""

    git_commit: Text | None = None
    image: Text | None = None


class Request(Frozen):
    """What one job process is asked to do: the trials of one group."""

    schema_version: Literal[1] = 1
    sweep: Name
    run: Name
    spec_sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    engine: Literal["reference", "lanes"] = "reference"
    progress_every_s: Annotated[Number, Field(gt=0)] = 5.0
    model: Source
    data: Source
    execution: JobExecution = JobExecution()
    provenance: Provenance = Provenance()
    trials: Annotated[tuple[PlannedTrial, ...], Field(min_length=1)]
    adapters: dict[TrialId, Text] = Field(default_factory=dict)
    """Trial to the store key of an attempt whose adapter has the trial's adapter_id: evaluate it, train nothing."""

    @model_validator(mode="after")
    def _trials_are_of_the_sources(self) -> Request:
        for trial in self.trials:
            found = (trial.config.model.digest, trial.config.data.digest)
            if found != (self.model.digest, self.data.digest):
                raise ValueError(f"trial {trial.trial_id} is of other sources than the request: {found}")
        return self
