"""The middle of a trial: load the model, train the adapter or fetch it, and score what has to be scored."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import torch

from job.adapter import add_adapter, load_adapter, save_adapter
from job.checkpoint import Checkpoints
from job.context import TrialContext
from job.contract.config import PromptTemplate, SplitRole
from job.contract.documents import Device, ScoredSplit, StepRecord
from job.contract.errors import ConfigurationError
from job.contract.template import template_fields
from job.data import Row, Rows
from job.device import choose_device, describe_device
from job.diagnostics.columns import diagnostics_of
from job.evaluation.evaluate import SplitEvaluation, evaluate_lead, evaluate_split
from job.evaluation.first_line import with_first_line
from job.evaluation.scoring import RowResult
from job.memory import memory_is_ours
from job.model import context_length, load_base, load_tokenizer
from job.prompts import EncodedSplit, Encoder, chat_frame
from job.publishing.card import model_card
from job.reuse import fetch_adapter
from job.seeds import streams
from job.shared_cause import shared_by_all_trials
from job.windows import planned_steps

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

__all__ = [
    "Base",
    "Loaded",
    "Measured",
    "final_splits",
    "load_base_of",
    "measure_base",
    "measure_lead",
    "measure_model",
    "new_folder",
    "score_final",
    "score_split",
    "tokenised",
    "write_card",
]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Measured:
    """What there is to publish."""

    folder: Path
    """The attempt's files so far."""
    engine: Literal["reference", "lanes", "none"]
    steps: int
    history: tuple[StepRecord, ...]
    final: tuple[ScoredSplit, ...]
    device: Device
    dropped: Mapping[str, int] = field(default_factory=dict)
    adapter_bytes: int = 0


class Base(NamedTuple):
    """The frozen model of a run, on its device."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    device: torch.device


@dataclass(frozen=True)
class Loaded:
    """A base model with a trial's rows in tokens."""

    base: Base
    template: PromptTemplate
    rows: Mapping[SplitRole, tuple[Row, ...]]
    encoded: Mapping[SplitRole, EncodedSplit]
    end_token_id: int

    @property
    def pad_id(self) -> int:
        """Any token will do: padding is masked, and never told from text by its id."""
        pad = self.base.tokenizer.pad_token_id
        return self.end_token_id if pad is None else int(pad)

    @property
    def left_out(self) -> dict[str, int]:
        """Rows that tokenising cut or dropped, by split and cause; only where there are any."""
        cut = {f"{role}.cut": split.cut for role, split in self.encoded.items() if split.cut}
        return cut | {f"{role}.overflow": split.dropped for role, split in self.encoded.items() if split.dropped}


class Adapted(NamedTuple):
    """A base model with its adapter, and how that was trained."""

    model: PeftModel
    history: tuple[StepRecord, ...]


def measure_lead(context: TrialContext, *, rows: Rows, model_folder: Path) -> Measured:
    """Score the first lines of each input; no model, only its tokenizer, to count tokens as the others do."""
    config = context.config
    if config.lead_k is None:
        raise ConfigurationError(f"trial {context.trial.trial_id} of kind lead has no lead_k")
    with context.clock.stage("startup"):
        tokenizer = load_tokenizer(model_folder)
    context.progress.stage("evaluate")
    with context.clock.stage("evaluate"):
        for split in config.evaluation.final_splits:
            scored = evaluate_lead(
                rows=rows.splits[split], k=config.lead_k, tokenizer=tokenizer,
                metrics=config.evaluation.metrics, split=split,
            )  # fmt: skip
            context.recording.add(_diagnosed(scored, split=split, rows=rows.splits), split=split, step=0)
    return Measured(
        folder=new_folder(context),
        engine="none",
        steps=0,
        history=(),
        final=config.evaluation.final_splits,
        device=describe_device(torch.device("cpu")),
    )


def measure_model(context: TrialContext, *, rows: Rows, model_folder: Path) -> Measured:
    """Train where the trial asks for it, then score the final splits.

    Raises GpuMemoryError when the device's memory does not hold the model or a batch.
    """
    with memory_is_ours(_out_of_memory):
        with context.clock.stage("startup"):
            base = load_base_of(context, model_folder=model_folder)
        with context.clock.stage("data"):
            loaded = tokenised(context, base, rows=rows)
        if context.trial.kind == "lora":
            return _measure_adapter(context, loaded)
        return measure_base(context, loaded)


def measure_base(
    context: TrialContext,
    loaded: Loaded,
    *,
    answers: Mapping[ScoredSplit, Sequence[RowResult] | Exception] | None = None,
) -> Measured:
    """Score the base model as it is; `answers` are those that it has given already."""
    score_final(context, loaded, model=loaded.base.model, steps=0, answers=answers)
    return Measured(
        folder=new_folder(context),
        engine="none",
        steps=0,
        history=(),
        final=context.config.evaluation.final_splits,
        device=describe_device(loaded.base.device),
        dropped=loaded.left_out,
    )


def load_base_of(context: TrialContext, *, model_folder: Path) -> Base:
    """The base model and its tokenizer; what goes wrong goes wrong in every trial."""
    device = choose_device()
    with shared_by_all_trials():
        tokenizer = load_tokenizer(model_folder)
        model = load_base(model_folder, options=context.config.model, device=device)
    context.stop.check()
    return Base(model, tokenizer, device)


def tokenised(context: TrialContext, base: Base, *, rows: Rows) -> Loaded:
    """The rows by the trial's own prompt. Raises DataError for rows that do not fit."""
    config = context.config
    if config.prompt is None or config.generation is None:
        raise ConfigurationError(f"trial {context.trial.trial_id} has no prompt or no generation settings")
    encoder = Encoder(
        template=config.prompt, tokenizer=base.tokenizer, columns=config.data.columns, overflow=config.data.overflow,
        context=context_length(base.model.config), max_new_tokens=config.generation.max_new_tokens,
    )  # fmt: skip
    encoded = {role: encoder.encode(split, role=role) for role, split in rows.splits.items()}
    context.stop.check()
    return Loaded(
        base=base, template=config.prompt, rows=rows.splits, encoded=encoded, end_token_id=encoder.end_token_id
    )  # fmt: skip


def final_splits(context: TrialContext, *, steps: int) -> tuple[ScoredSplit, ...]:
    """Those to be scored after the last of `steps`, but for those that were scored then already."""
    listed = context.config.evaluation.final_splits
    return tuple(split for split in listed if not context.recording.has(split=split, step=steps))


def score_final(
    context: TrialContext,
    loaded: Loaded,
    *,
    model: PreTrainedModel | PeftModel,
    steps: int,
    answers: Mapping[ScoredSplit, Sequence[RowResult] | Exception] | None = None,
) -> None:
    """Score the final splits; `answers` are those that the model has given already."""
    context.progress.stage("evaluate")
    for split in final_splits(context, steps=steps):
        score_split(context, loaded, model=model, split=split, step=steps, answers=(answers or {}).get(split))


def _measure_adapter(context: TrialContext, loaded: Loaded) -> Measured:
    adapted = _adapt(context, loaded)
    steps = adapted.history[-1].step if adapted.history else 0
    score_final(context, loaded, model=adapted.model, steps=steps)
    folder = new_folder(context)
    save_adapter(adapted.model, folder / "adapter", base_name=context.request.model.public_name)
    return Measured(
        folder=folder,
        engine=context.request.engine,
        steps=steps,
        history=adapted.history,
        final=context.config.evaluation.final_splits,
        device=describe_device(loaded.base.device),
        dropped=loaded.left_out,
        adapter_bytes=write_card(context, loaded, folder=folder / "adapter", steps=steps),
    )


def _adapt(context: TrialContext, loaded: Loaded) -> Adapted:
    """The adapter of this trial: one that exists already, or one trained now, with the history of its steps."""
    from job.reference.train import train  # Trainer takes two seconds to import, and not every trial is trained by it

    config, request = context.config, context.request
    if config.lora is None or config.training is None or config.seed is None:
        raise ConfigurationError(f"trial {context.trial.trial_id} of kind lora has no lora, training or seed")
    prefix = request.adapters.get(context.trial.trial_id)
    if prefix is not None:
        found = fetch_adapter(context.store, prefix=prefix, folder=context.work / "reused")
        logger.info("adapter %s exists: evaluating %s, training nothing", context.trial.adapter_id, prefix)
        return Adapted(load_adapter(loaded.base.model, found.folder), found.history)
    seeds = streams(config.seed)
    model = add_adapter(loaded.base.model, lora=config.lora, seed=seeds.init)
    checkpoints = Checkpoints(
        context.store, trial_id=context.trial.trial_id, attempt=context.attempt, spool=context.work / "spool"
    )
    context.progress.stage("train", max_steps=planned_steps(len(loaded.encoded["train"].rows), config.training))
    with context.clock.stage("train"):
        trained = train(
            model=model,
            rows=loaded.encoded["train"].rows,
            options=config.training,
            execution=request.execution,
            seeds=seeds,
            pad_id=loaded.pad_id,
            work=context.work / "trainer",
            checkpoints=checkpoints,
            evaluate=lambda step: score_split(context, loaded, model=model, split="validation", step=step),
            on_step=context.on_step,
            stop=context.stop,
            save_extra=context.recording.dump,
            load_extra=context.recording.load,
            on_checkpoint=context.progress.checkpointed,
        )
    return Adapted(model, trained.history)


def score_split(
    context: TrialContext,
    loaded: Loaded,
    *,
    model: PreTrainedModel | PeftModel,
    split: ScoredSplit,
    step: int,
    answers: Sequence[RowResult] | Exception | None = None,
) -> None:
    """Score one split and take the numbers down. The model is asked unless it has given its `answers` already.

    Raises what went wrong in place of the answers.
    """
    if isinstance(answers, Exception):
        raise answers
    config = context.config
    if config.generation is None:
        raise ConfigurationError(f"trial {context.trial.trial_id} has no generation settings")
    references = {row.example_id: row.target for row in loaded.rows[split]}
    with context.clock.stage("evaluate"):
        scored = evaluate_split(
            model=model,
            tokenizer=loaded.base.tokenizer,
            rows=loaded.encoded[split].rows,
            references=references,
            generation=config.generation,
            metrics=config.evaluation.metrics,
            split=split,
            step=step,
            batch_size=context.request.execution.eval_batch_size,
            end_token_id=loaded.end_token_id,
            pad_id=loaded.pad_id,
            seed=streams(config.seed or 0).order,  # what is sampled; training never draws from it
            stop=context.stop,
            on_batch=context.on_batch,
            answers=answers,
        )
        if context.trial.kind == "zero-shot":
            scored = with_first_line(scored, references=references, metrics=config.evaluation.metrics)
        scored = _diagnosed(scored, split=split, rows=loaded.rows)
    record = context.recording.add(scored, split=split, step=step)
    context.progress.evaluated(record)
    means = {name: round(value.mean, 4) for name, value in record.metrics.items()}
    logger.info("trial %s, step %d, %s: %s", context.trial.trial_id, step, split, means)


def _diagnosed(
    scored: SplitEvaluation, *, split: ScoredSplit, rows: Mapping[SplitRole, Sequence[Row]]
) -> SplitEvaluation:
    """The evaluation, with what its texts say about themselves beside the scores."""
    columns = diagnostics_of(scored.predictions, rows=rows[split], train=rows.get("train", ()))
    return scored._replace(scores=scored.scores.model_copy(update={"diagnostics": columns}))


def write_card(context: TrialContext, loaded: Loaded, *, folder: Path, steps: int) -> int:
    """Put the adapter's card beside its weights in `folder`; gives the size of the weights in bytes."""
    metrics = {
        split: context.recording.metrics(split=split, step=steps) for split in context.config.evaluation.final_splits
    }
    card = model_card(
        request=context.request,
        trial=context.trial,
        metrics=metrics,
        generation=next(iter(metrics.values()))["generated_tokens"].settings,
        fields=tuple(sorted(template_fields(loaded.template.prompt))),
        frame=chat_frame(loaded.base.tokenizer) if loaded.template.chat else None,
    )
    (folder / "README.md").write_text(card, encoding="utf-8")
    return (folder / "adapter_model.safetensors").stat().st_size


def new_folder(context: TrialContext) -> Path:
    """An empty folder for the attempt's files."""
    folder = context.work / "attempt"
    folder.mkdir(parents=True)
    return folder


def _out_of_memory(said: str) -> str:
    return f"out of memory: {said}; lower per_device_train_batch_size, execution.eval_batch_size or lora.r"
