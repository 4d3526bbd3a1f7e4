"""A spec's configurations one by one: shared values and varied values merged and validated."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain, product
from typing import Any, NamedTuple, TypeVar

from pydantic import ValidationError

from controller.planning.draws import draw
from controller.spec.model import SweepSpec
from controller.spec.varied import admit_path, admit_value, is_whole
from controller.spec.vary import Vary, written
from job.contract.base import Frozen
from job.contract.config import GenerationOptions, LoraOptions, TrainingOptions
from job.contract.errors import SpecError

__all__ = ["LIMIT_TRIALS", "Configuration", "baseline_prompts", "check_lengths", "configurations", "count"]

LIMIT_TRIALS = 100_000
"""Planning more would take minutes and gigabytes, and no cluster would run it."""

O = TypeVar("O", bound=Frozen)  # noqa: E741  (a type variable, as in the standard library)
Point = Mapping[str, Any]


class Configuration(NamedTuple):
    """What one trained trial is made of, except its seed."""

    label: str
    prompt_name: str
    lora: LoraOptions
    training: TrainingOptions
    generation: GenerationOptions


def count(spec: SweepSpec) -> int:
    """How many trials the spec asks for, duplicates included; from sizes alone, however many."""
    vary = spec.vary
    points = math.prod(len(axis.values) for axis in vary.grid.values())
    points *= math.prod(len(next(iter(block.values()))) for block in vary.paired)
    points *= vary.random.n if vary.random else 1
    configured = (points if _has_product(vary) else 0) + len(vary.trials)
    zero_shot = len(baseline_prompts(spec)) if "zero-shot" in vary.baselines else 0
    leads = sum(name != "zero-shot" for name in vary.baselines)
    return configured * vary.seed_count + zero_shot + leads


def baseline_prompts(spec: SweepSpec) -> tuple[str, ...]:
    """The prompts in use, in the order of first use."""
    vary = spec.vary
    axis = vary.grid.get("prompt")
    used: list[object] = list(axis.values) if axis else []
    used += [name for block in vary.paired for name in block.get("prompt", ())]
    used += [trial["prompt"] for trial in vary.trials if "prompt" in trial]
    if not used:
        used = [spec.trial.prompt or next(iter(spec.prompts))]
    return tuple(dict.fromkeys(str(name) for name in used))


def configurations(spec: SweepSpec) -> Iterator[Configuration]:
    """Every configuration in expansion order: grid, pairs and random draws (each slower than the next), then trials.

    Raises SpecError for the first whose parts do not fit together.
    """
    merge = _Merge(spec)
    for point in chain(_product(spec.vary), spec.vary.trials):
        yield merge.configuration(point)


def check_lengths(generation: GenerationOptions, *, of: str) -> None:
    """Raises SpecError where a text would have to be longer than it may be."""
    least, most = generation.min_new_tokens, generation.max_new_tokens
    if least > most:
        raise SpecError(
            f"{of}: generation.min_new_tokens {least} is above max_new_tokens {most}; lower the one or raise the other"
        )


def _has_product(vary: Vary) -> bool:
    return bool(vary.product_paths) or not vary.trials


def _product(vary: Vary) -> Iterator[Point]:
    if not _has_product(vary):
        return
    axes: list[list[Point]] = [[{path: value} for value in axis.values] for path, axis in vary.grid.items()]
    axes += [[dict(zip(block, row, strict=True)) for row in zip(*block.values(), strict=True)] for block in vary.paired]
    axes += [_drawn(vary)] if vary.random else []
    for parts in product(*axes):
        yield {path: value for part in parts for path, value in part.items()}


def _drawn(vary: Vary) -> list[Point]:
    search = vary.random
    if search is None:
        return []
    whole = {path: is_whole(path) for path in search.ranges}
    return [
        {
            path: draw(bounds, seed=search.seed, path=path, index=index, whole=whole[path])
            for path, bounds in search.ranges.items()
        }
        for index in range(search.n)
    ]


@dataclass
class _Merge:
    """Merges points into the trial section; equal parts are validated once, so a large grid costs little."""

    spec: SweepSpec
    _paths: tuple[str, ...] = field(init=False)
    _parts: dict[tuple[object, ...], Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._paths = self.spec.vary.paths

    def configuration(self, point: Point) -> Configuration:
        values = {path: self._admitted(path, point[path]) for path in self._paths if path in point}
        prompt = values.get("prompt") or self.spec.trial.prompt or next(iter(self.spec.prompts))
        label = ", ".join(f"{path}={written(value)}" for path, value in (values or {"prompt": prompt}).items())
        trial = self.spec.trial
        try:
            found = Configuration(
                label=label,
                prompt_name=prompt,
                lora=self._part("lora", LoraOptions, trial.lora, values, prepare=_scaled),
                training=self._part("training", TrainingOptions, trial.training, values, prepare=_identity_only),
                generation=self._part("generation", GenerationOptions, trial.generation, values, prepare=dict),
            )
        except ValidationError as err:
            first = err.errors(include_url=False)[0]
            section = err.title.removesuffix("Options").lower()
            where = ".".join(["trial", section, *(str(part) for part in first["loc"])])
            raise SpecError(f"configuration {label!r}: {where}: {first['msg'].removeprefix('Value error, ')}") from err
        check_lengths(found.generation, of=f"configuration {label!r}")
        return found

    def _admitted(self, path: str, value: object) -> Any:
        key = (path, type(value), value)
        if key not in self._parts:
            try:
                self._parts[key] = admit_value(path, value)
            except ValueError as err:
                raise SpecError(f"vary: {path}: {err}") from err
        return self._parts[key]

    def _part(
        self,
        section: str,
        model: type[O],
        shared: Frozen,
        values: Point,
        *,
        prepare: Callable[[dict[str, Any]], dict[str, Any]],
    ) -> O:
        varied = {admit_path(path).name: value for path, value in values.items() if path.startswith(section + ".")}
        key = (section, *varied.items())
        if key not in self._parts:
            given = {name: getattr(shared, name) for name in shared.model_fields_set}
            self._parts[key] = model.model_validate(prepare({**given, **varied}))
        part: O = self._parts[key]
        return part


def _scaled(values: dict[str, Any]) -> dict[str, Any]:
    """With lora_alpha in place of alpha_ratio."""
    if values.get("r") is None:
        raise SpecError("trial.lora.r is missing; set it, or vary `lora.r`")
    ratio, alpha = values.pop("alpha_ratio", None), values.pop("lora_alpha", None)
    if ratio is not None and alpha is not None:
        raise SpecError(
            f"trial.lora has alpha_ratio: {written(ratio)} and lora_alpha: {written(alpha)}; keep one of them"
        )
    if ratio is None and alpha is None:
        raise SpecError("trial.lora needs alpha_ratio (lora_alpha = ratio x r) or lora_alpha; write `alpha_ratio: 2`")
    return {**values, "lora_alpha": ratio * values["r"] if alpha is None else alpha}


def _identity_only(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name in TrainingOptions.model_fields}
