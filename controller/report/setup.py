"""What was fixed and what was varied, from plan and spec. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from controller.collect import Collected, Measured
from controller.report.document import Setup, Varied
from controller.report.text import one_line, visible
from controller.spec.model import SweepSpec
from controller.spec.vary import RandomRange, written
from job.contract.base import Frozen
from job.contract.config import PlannedTrial, PromptTemplate

__all__ = ["dropped_between", "settings_of", "setup_of", "values_of"]

_DIGESTS = frozenset({"model.digest", "data.digest"})


def setup_of(collected: Collected) -> Setup:
    """The setup section."""
    plan, spec = collected.plan, collected.spec
    measured = [trial.measured for trial in collected.trials if trial.measured is not None]
    return Setup(
        model=one_line(plan.model.public_name),
        model_digest=plan.model.digest,
        data=one_line(plan.data.public_name),
        data_digest=plan.data.digest,
        rows=_largest([seed.result.data.rows for seed in measured]),
        dropped=_largest([seed.result.data.dropped for seed in measured]),
        prompts=_prompts_in_use(plan.trials),
        shared=_shared(plan.trials, spec),
        varied=tuple(_varied(spec)),
        floors={} if spec.regression is None else dict(spec.regression.floors),
        seeds=tuple(dict.fromkeys(trial.seed for trial in plan.trials if trial.seed is not None)),
    )


def values_of(trial: PlannedTrial, spec: SweepSpec) -> dict[str, str]:
    """Varied path to the trial's value, as labels write it; empty for a baseline."""
    if trial.kind != "lora":
        return {}
    settings = settings_of(trial)
    return {path: settings.get(path, "") for path in spec.vary.paths}


def dropped_between(measured: Sequence[Measured]) -> dict[str, tuple[int, int]]:
    """Causes for which not all trials left out the same number of rows, with the smallest and the largest."""
    counts = [seed.result.data.dropped for seed in measured if seed.result.config.kind != "lead"]
    causes = dict.fromkeys(cause for count in counts for cause in count)
    spans = {cause: [count.get(cause, 0) for count in counts] for cause in causes}
    return {cause: (min(span), max(span)) for cause, span in spans.items() if min(span) != max(span)}


def _largest(counts: Sequence[Mapping[Any, int]]) -> dict[str, int]:
    names = dict.fromkeys(str(name) for count in counts for name in count)
    return {name: max(count.get(name, 0) for count in counts) for name in names}


def _prompts_in_use(trials: Sequence[PlannedTrial]) -> dict[str, PromptTemplate]:
    named = ((trial.prompt_name, trial.config.prompt) for trial in trials)
    return {name: _shown(template) for name, template in named if name is not None and template is not None}


def _shown(template: PromptTemplate) -> PromptTemplate:
    return template.model_copy(update={"prompt": visible(template.prompt), "completion": visible(template.completion)})


def _shared(trials: Sequence[PlannedTrial], spec: SweepSpec) -> dict[str, str]:
    alike = [trial for trial in trials if trial.kind == "lora"] or list(trials)
    if not alike:
        return {}
    shared = dict(settings_of(alike[0]))
    for trial in alike[1:]:
        settings = settings_of(trial)
        shared = {path: value for path, value in shared.items() if settings.get(path) == value}
    ratio = spec.trial.lora.alpha_ratio
    if ratio is not None and "lora.lora_alpha" not in shared:
        shared["lora.lora_alpha"] = f"{written(ratio)} \N{MULTIPLICATION SIGN} lora.r"
    shared.pop("lora.alpha_ratio", None)
    return {path: one_line(value) for path, value in shared.items()}


def settings_of(trial: PlannedTrial) -> dict[str, str]:
    """Every setting of a trial that is set, as `section.field`, except texts and digests."""
    config = trial.config
    settings = {} if trial.prompt_name is None else {"prompt": trial.prompt_name}
    for section in ("model", "data", "lora", "training", "generation", "evaluation"):
        part: Frozen | None = getattr(config, section)
        for name in type(part).model_fields if part is not None else ():
            path, value = f"{section}.{name}", getattr(part, name)
            if value is not None and value != {} and path not in _DIGESTS:
                settings[path] = _written(value)
    if config.lora is not None:
        settings["lora.alpha_ratio"] = written(config.lora.lora_alpha / config.lora.r)
    return settings


def _written(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name}={written(part)}" for name, part in value.items())
    return written(value)


def _varied(spec: SweepSpec) -> Iterator[Varied]:
    vary = spec.vary
    for path, axis in vary.grid.items():
        why = None if axis.why is None else one_line(axis.why)
        yield Varied(path=path, values=_values(axis.values), how="grid", why=why)
    for block in vary.paired:
        for path, paired in block.items():
            yield Varied(path=path, values=_values(paired), how="paired", why=None)
    if vary.random is not None:
        for path, bounds in vary.random.ranges.items():
            yield Varied(path=path, values=(_range(bounds, draws=vary.random.n),), how="random", why=None)
    if vary.trials:
        paths = dict.fromkeys(path for trial in vary.trials for path in trial)
        for path in paths:
            listed = [trial[path] for trial in vary.trials if path in trial]
            yield Varied(path=path, values=tuple(dict.fromkeys(_values(listed))), how="listed", why=None)


def _values(values: Sequence[object]) -> tuple[str, ...]:
    return tuple(one_line(written(value)) for value in values)


def _range(bounds: RandomRange, *, draws: int) -> str:
    scale = ", log-uniform" if bounds.log else ", uniform"
    return f"{draws} draws from {written(bounds.low)} to {written(bounds.high)}{scale}"
