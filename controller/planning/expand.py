"""(spec, pins) to trials: letters, labels and ids; pure."""

from __future__ import annotations

from collections.abc import Iterator
from string import ascii_uppercase
from typing import NamedTuple

from controller.planning.configurations import LIMIT_TRIALS, Configuration, baseline_prompts, configurations, count
from controller.planning.seeds import seeds_of
from controller.spec.model import SweepSpec
from controller.spec.warnings import warnings_of
from job.contract.config import (
    DataOptions,
    EvaluationOptions,
    ModelOptions,
    PlannedTrial,
    Source,
    TrialConfig,
    ids_of,
)
from job.contract.errors import SpecError

__all__ = ["Expansion", "Pins", "expand", "letter"]


class Pins(NamedTuple):
    """Where model and data are, and which bytes they have to be."""

    model: Source
    data: Source


class Expansion(NamedTuple):
    """Every trial of a spec."""

    trials: tuple[PlannedTrial, ...]
    """Trained configurations in expansion order, the seeds of each together; then baselines."""
    duplicates: tuple[str, ...]
    """Labels of configurations and baselines that came out as one already listed."""
    warnings: tuple[str, ...]


class _Named(NamedTuple):
    """A configuration or baseline before it has ids."""

    label: str
    prompt_name: str | None
    config: TrialConfig
    seeds: tuple[int | None, ...]


def expand(spec: SweepSpec, pins: Pins, *, run: str = "main") -> Expansion:
    """The trials that the spec asks for in the run of that name, each once.

    Raises SpecError when there would be more than LIMIT_TRIALS, or when the parts of one do not fit together.
    """
    total = count(spec)
    if total > LIMIT_TRIALS:
        raise SpecError(f"vary asks for {total:,} trials; at most {LIMIT_TRIALS:,} are planned: shorten vary.grid")
    trials: list[PlannedTrial] = []
    duplicates: list[str] = []
    known: set[str] = set()
    for named in _every(spec, pins, seeds_of(spec.vary, run=run)):
        first = _planned(named, named.seeds[0], letter=letter(len(known)))
        if first.config_id in known:
            duplicates.append(named.label)
            continue
        known.add(first.config_id)
        trials.append(first)
        trials += [_planned(named, seed, letter=first.letter) for seed in named.seeds[1:]]
    return Expansion(trials=tuple(trials), duplicates=tuple(duplicates), warnings=warnings_of(spec))


def letter(index: int) -> str:
    """A to Z, then AA, AB, ...: the name of the configuration at `index`, counted from 0."""
    text = ""
    index += 1
    while index:
        index, digit = divmod(index - 1, len(ascii_uppercase))
        text = ascii_uppercase[digit] + text
    return text


def _every(spec: SweepSpec, pins: Pins, seeds: tuple[int, ...]) -> Iterator[_Named]:
    model = ModelOptions(
        digest=pins.model.digest,
        dtype=spec.model.dtype,
        dropout=spec.model.dropout,
        load_in_4bit=spec.model.load_in_4bit,
    )
    rows = DataOptions(
        digest=pins.data.digest,
        splits=spec.data.splits,
        columns=spec.data.columns,
        limits=spec.data.limits,
        seed=spec.data.seed,
        overflow=spec.data.overflow,
    )
    scored = EvaluationOptions(metrics=spec.trial.evaluation.metrics, final_splits=spec.trial.evaluation.final_splits)
    for configuration in configurations(spec):
        yield _trained(spec, configuration, seeds, model=model, rows=rows, scored=scored)
    yield from _baselines(spec, model=model, rows=rows, scored=scored)


def _trained(
    spec: SweepSpec,
    configuration: Configuration,
    seeds: tuple[int, ...],
    *,
    model: ModelOptions,
    rows: DataOptions,
    scored: EvaluationOptions,
) -> _Named:
    config = TrialConfig(
        model=model,
        data=rows,
        prompt=spec.prompts[configuration.prompt_name],
        lora=configuration.lora,
        training=configuration.training,
        generation=configuration.generation,
        evaluation=scored,
        seed=seeds[0],
    )
    return _Named(configuration.label, configuration.prompt_name, config, seeds)


def _baselines(
    spec: SweepSpec, *, model: ModelOptions, rows: DataOptions, scored: EvaluationOptions
) -> Iterator[_Named]:
    for name in spec.vary.baselines:
        if name != "zero-shot":
            lead = int(name.removeprefix("lead-"))
            config = TrialConfig(kind="lead", model=model, data=rows, evaluation=scored, lead_k=lead)
            yield _Named(name, None, config, (None,))
            continue
        for prompt in baseline_prompts(spec):
            config = TrialConfig(
                kind="zero-shot",
                model=model,
                data=rows,
                prompt=spec.prompts[prompt],
                generation=spec.trial.generation,
                evaluation=scored,
            )
            yield _Named(f"zero-shot, prompt={prompt}", prompt, config, (None,))


def _planned(named: _Named, seed: int | None, *, letter: str) -> PlannedTrial:
    config = named.config if named.config.seed == seed else named.config.model_copy(update={"seed": seed})
    ids = ids_of(config)
    # Not validated here: every part is, the ids are of this very config, and a Plan compares them once more.
    return PlannedTrial.model_construct(
        trial_id=ids.trial_id,
        adapter_id=ids.adapter_id,
        config_id=ids.config_id,
        letter=letter,
        label=named.label,
        kind=config.kind,
        seed=seed,
        prompt_name=named.prompt_name,
        config=config,
    )
