"""Collected tables to the report's document. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from controller.collect import Collected, Measured, TrialData
from controller.remedies import WAYS_ON, log_command, repeats, retry_command
from controller.report.conclusions import Verdict
from controller.report.curves import curves_of
from controller.report.diagnose import loss_gap, loss_order, shortcomings_of, texts_of
from controller.report.document import (
    Configuration,
    FailedTrial,
    Objective,
    Report,
    ReportProvenance,
    SeedTrial,
    Spent,
)
from controller.report.effects import effects_of
from controller.report.examples import Examples
from controller.report.findings import findings_of, warnings_of
from controller.report.numbers import plus_minus
from controller.report.ranking import Ranking, Standing
from controller.report.setup import setup_of, values_of
from controller.report.text import one_line, shortened, visible
from controller.report.tradeoffs import tradeoffs_of
from controller.report.verdict import decided
from controller.report.verdict_words import worded
from controller.spec.model import SweepSpec
from job.contract.metric_names import DIRECTIONS
from job.store import Keys

__all__ = ["build_report", "objective_of"]

LOG_LIMIT = 4000  # characters, of the end
MESSAGE_LIMIT = 2000  # characters
NAME_LIMIT = 300  # characters of a label or a device


def objective_of(spec: SweepSpec) -> Objective:
    """The spec's objective with its direction, which is the metric's own where the spec names none."""
    goal = spec.objective
    direction = goal.direction or DIRECTIONS.get(goal.metric, "maximize")
    return Objective(metric=goal.metric, split=goal.split, direction=direction)


def build_report(collected: Collected, ranking: Ranking, *, examples: Examples | None) -> Report:
    """The document."""
    plan, spec = collected.plan, collected.spec
    standings, objective = ranking.standings, ranking.objective
    provenance = _provenance(collected)
    findings = findings_of(standings, objective)
    warnings = warnings_of(collected, standings, objective=objective, provenance=provenance)
    configurations = tuple(_configuration(standing, collected, objective) for standing in standings)
    final = all(trial.state in ("succeeded", "failed") for trial in collected.trials)
    verdict = _verdict(ranking)
    return Report(
        sweep=plan.sweep,
        run=plan.run,
        place=collected.place,
        description=visible(spec.description).strip(),
        success=visible(spec.success).strip(),
        spec_sha256=plan.spec_sha256,
        data_until=collected.data_until,
        state="complete" if final else "partial",
        objective=objective,
        setup=setup_of(collected),
        spent=_spent(configurations, price=spec.execution.price_per_gpu_hour),
        configurations=configurations,
        pending=tuple(_pending(trial) for trial in collected.trials if trial.state in ("pending", "stopped")),
        failures=tuple(_failed(trial, collected.place) for trial in collected.trials if trial.trouble is not None),
        verdict=verdict,
        effects=effects_of(ranking, spec),
        tradeoffs=tradeoffs_of(collected, ranking, verdict),
        findings=tuple(map(one_line, findings)),
        warnings=tuple(map(one_line, warnings)),
        examples=examples,
        shortcomings=shortcomings_of(ranking),
        loss_order=loss_order(ranking),
        provenance=provenance,
    )


def _verdict(ranking: Ranking) -> Verdict:
    goal = ranking.objective
    scored = {one.planned.letter: one.objective for one in ranking.standings if one.objective is not None}
    means = {letter: plus_minus(metric, goal.metric) for letter, metric in scored.items()}
    return worded(decided(ranking), means=means)


def _configuration(standing: Standing, collected: Collected, objective: Objective) -> Configuration:
    planned, measured, spec = standing.planned, standing.measured, collected.spec
    results = [seed.result for seed in measured]
    spent = [(result.seconds, result.device.count) for result in results]
    train_s = sum(seconds.train * count for seconds, count in spent)
    evaluate_s = sum(seconds.evaluate * count for seconds, count in spent)
    other_s = sum((seconds.startup + seconds.data + seconds.publish) * count for seconds, count in spent)
    letters = {trial.planned.trial_id: trial.planned.letter for trial in collected.trials}
    return Configuration(
        letter=planned.letter,
        label=_name(planned.label),
        kind=planned.kind,
        config_id=planned.config_id,
        prompt=planned.prompt_name,
        values={path: one_line(value) for path, value in values_of(planned, spec).items()},
        rank=standing.rank,
        trials=tuple(_seed(trial, letters) for trial in standing.trials),
        metrics={split: dict(metrics) for split, metrics in standing.metrics.items()},
        variant=standing.variant,
        metrics_settings=_settings(measured),
        steps=max((result.steps for result in results), default=0),
        train_tokens=sum(result.train_tokens for result in results),
        train_s=train_s,
        evaluate_s=evaluate_s,
        other_s=other_s,
        cost=_cost(train_s + evaluate_s + other_s, spec.execution.price_per_gpu_hour),
        peak_bytes=max((result.device.peak_bytes for result in results), default=0),
        adapter_bytes=max((result.adapter_bytes for result in results), default=0),
        curves=curves_of(standing, objective),
        texts=texts_of(measured),
        loss_gap=loss_gap(standing),
    )


def _spent(configurations: Sequence[Configuration], *, price: float | None) -> Spent:
    device_s = sum(found.train_s + found.evaluate_s + found.other_s for found in configurations)
    return Spent(device_s=device_s, price_per_gpu_hour=price, cost=_cost(device_s, price))


def _cost(device_s: float, price: float | None) -> float | None:
    return None if price is None else device_s / 3600 * price


def _seed(trial: TrialData, letters: Mapping[str, str]) -> SeedTrial:
    planned, result = trial.planned, trial.measured.result if trial.measured else None
    has_adapter = result is not None and planned.kind == "lora"
    return SeedTrial(
        trial_id=planned.trial_id,
        seed=planned.seed,
        state=trial.state,
        attempt=result.attempt if result else None,
        seconds=sum(seconds for _, seconds in result.seconds) if result else None,
        adapter_key=Keys.attempt_file(planned.trial_id, result.attempt, "adapter") if result and has_adapter else None,
        adapter_of=None if result is None or result.reused_from is None else _owner(result.reused_from, letters),
    )


def _owner(attempt_key: str, letters: Mapping[str, str]) -> str:
    """Letter or id of the trial that the attempt at `trials/<trial_id>/attempts/<attempt>/` is of."""
    trial_id = attempt_key.removeprefix("trials/").split("/")[0]
    return letters.get(trial_id, _name(trial_id))


def _settings(measured: Sequence[Measured]) -> dict[str, dict[str, bool | int | float | str | None]]:
    if not measured:
        return {}
    metrics = [metric for split in measured[0].result.metrics.values() for metric in split.items()]
    return {name: dict(value.settings) for name, value in metrics}


def _pending(trial: TrialData) -> str:
    seed = "" if trial.planned.seed is None else f" (seed {trial.planned.seed})"
    return f"{trial.planned.letter}{seed}: {trial.state}"


def _failed(trial: TrialData, place: str) -> FailedTrial:
    planned, trouble = trial.planned, trial.trouble
    if trouble is None:
        raise ValueError(f"trial {planned.trial_id} has not failed")
    return FailedTrial(
        trial_id=planned.trial_id,
        letter=planned.letter,
        label=_name(planned.label),
        seed=planned.seed,
        reason=trouble.reason,
        message=shortened(visible(trouble.message), MESSAGE_LIMIT),
        attempts=trouble.attempts,
        log_tail=visible(trouble.log_tail[-LOG_LIMIT:]),
        log=log_command(place, planned.trial_id, reason=trouble.reason),
        way_on=WAYS_ON[trouble.reason],
        retry=None if repeats(trouble.reason) else retry_command(place, planned.trial_id),
    )


def _provenance(collected: Collected) -> ReportProvenance:
    results = [trial.measured.result for trial in collected.trials if trial.measured is not None]
    asked = [result for result in results if result.config.kind != "lead"]
    names = sorted({name for result in results for name in result.versions})
    sources = {result.provenance.model_dump_json(): result.provenance for result in results}
    return ReportProvenance(
        engines=_unique(result.engine for result in results if result.config.kind == "lora"),
        devices=_unique(_device(result.device.name, result.device.count) for result in asked),
        versions={one_line(name): _unique(r.versions[name] for r in results if name in r.versions) for name in names},
        sources=tuple(sources[key] for key in sorted(sources)),
        identity_version=collected.plan.identity_version,
    )


def _device(name: str, count: int) -> str:
    return _name(name) if count == 1 else f"{count} {_name(name)}"


def _name(text: str) -> str:
    return shortened(one_line(text), NAME_LIMIT)


def _unique(values: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted({one_line(value) for value in values}))
