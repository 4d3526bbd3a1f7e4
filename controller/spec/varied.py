"""Which paths a sweep may vary, and what each may hold."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from types import MappingProxyType
from typing import Any, NamedTuple

from pydantic import ValidationError

from controller.spec.aliases import field_called
from controller.spec.errors import problems_of
from controller.spec.model import LoraSection, TrainingSection
from controller.spec.training_arguments import EXECUTION_ARGUMENTS, REFUSED_ARGUMENTS
from job.contract.base import Frozen
from job.contract.config import GenerationOptions

__all__ = ["VARIED_PATHS", "Field", "admit_path", "admit_value", "is_whole"]

_SECTIONS: Mapping[str, type[Frozen]] = MappingProxyType(
    {"lora": LoraSection, "training": TrainingSection, "generation": GenerationOptions}
)
_NOT_VARIED = EXECUTION_ARGUMENTS | {"packing"}

VARIED_PATHS: tuple[str, ...] = (
    "prompt",
    *(
        f"{section}.{name}"
        for section, model in _SECTIONS.items()
        for name in model.model_fields
        if name not in _NOT_VARIED
    ),
)
"""Everything that decides what a trial learns or how it writes; all else is the same in every trial."""

_REASONS: Mapping[str, str] = MappingProxyType(
    {
        "execution": "it is not part of a trial's identity, so all its values would be one trial",
        "evaluation": "trials are compared, so all are scored in the same way; set trial.evaluation",
        "data": "trials are compared on the same rows; write a spec for each choice of data",
        "model": "one sweep has one base model; write a spec for each and compare their reports",
        "seed": "give vary.seeds: every configuration runs with each",
        "prompts": "name the templates under `prompts` and vary `prompt` over their names",
        "store": "it is not part of a trial's identity, so all its values would be one trial",
    }
)


class Field(NamedTuple):
    """A varied path, split."""

    section: str
    """lora, training or generation; empty for `prompt`."""
    name: str


def admit_path(path: str) -> Field:
    """The field that a varied path names. Raises ValueError saying why it cannot be varied, or what was meant."""
    if path == "prompt":
        return Field(section="", name="prompt")
    section, _, name = path.removeprefix("trial.").partition(".")
    if path in VARIED_PATHS:
        return Field(section=section, name=name)
    if section == "training" and name in EXECUTION_ARGUMENTS:
        raise ValueError(f"cannot be varied: {_REASONS['execution']}; set trial.training.{name}")
    if section == "training" and name in REFUSED_ARGUMENTS:
        raise ValueError(f"cannot be varied: {REFUSED_ARGUMENTS[name]}")
    if section in _SECTIONS and not name:
        raise ValueError(
            f"write each field of it as one key, such as `{next(p for p in VARIED_PATHS if p.startswith(section))}`"
        )
    if section in _REASONS:
        raise ValueError(f"cannot be varied: {_REASONS[section]}")
    raise ValueError(f"no path that can be varied; {_hint(path)}")


def _hint(path: str) -> str:
    """What was meant, as far as it can be told."""
    section, _, name = path.rpartition(".")
    inside = [known for known in VARIED_PATHS if not section or known.startswith(f"{section}.")]
    called = field_called(name, (known.rpartition(".")[2] for known in inside))
    near = [known for known in inside if known.rpartition(".")[2] == called]
    near = near or [known for known in VARIED_PATHS if known.endswith(f".{path}")]
    near = near or get_close_matches(path, VARIED_PATHS, n=1)
    return f"did you mean `{near[0]}`?" if near else f"known: {', '.join(VARIED_PATHS)}"


def admit_value(path: str, value: object) -> Any:
    """`value` as its field holds it (8.0 becomes 8). Raises ValueError with the field's rule."""
    section, name = admit_path(path)
    if not section:
        if not isinstance(value, str):
            raise ValueError(f"{value!r}: must be the name of a prompt")
        return value
    model = _SECTIONS[section]
    try:
        return getattr(model.model_validate({name: value}), name)
    except ValidationError as err:
        tree: dict[str, Any] = {name: list(value) if isinstance(value, tuple) else value}
        raise ValueError("; ".join(problem.message for problem in problems_of(err, tree, model=model))) from err


def is_whole(path: str) -> bool:
    """Whether the path's field takes whole numbers only. Raises ValueError for a field that takes no number at all."""
    for whole, probe in ((False, 0.5), (True, 1)):
        try:
            admit_value(path, probe)
        except ValueError:
            continue
        return whole
    raise ValueError(f"a range needs a field of numbers; list the values of `{path}` in vary.grid")
