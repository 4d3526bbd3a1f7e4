"""Where a training run stands between two optimizer steps, as files: safetensors and JSON, no pickle.

adapter.safetensors    every trained parameter by its name
optimizer.safetensors  the optimizer's tensors, `<parameter number>.<name>`
random.safetensors     the tensors of the random state
history.jsonl          one StepRecord per step
extra/                 files of the caller, opaque here
state.json             step, and the numbers of optimizer, schedule, loss scaling and random state
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from pydantic import JsonValue

from job.contract.base import Count, Flag, Frozen
from job.contract.documents import StepRecord, parse
from job.contract.errors import ResultError
from job.random_state import RandomState
from job.state_folder import StateFolder, damage_explained

if TYPE_CHECKING:
    from torch.amp.grad_scaler import GradScaler
    from torch.optim import Optimizer
    from torch.optim.lr_scheduler import LRScheduler

__all__ = ["Saved", "TrainParts", "read_saved", "write_state"]


@dataclass(frozen=True)
class TrainParts:
    """The live objects whose state makes up a training run."""

    model: torch.nn.Module
    optimizer: Optimizer
    scheduler: LRScheduler
    scaler: GradScaler | None
    """Of float16 autocast."""


class _Numbers(Frozen):
    """state.json."""

    schema_version: Literal[1] = 1
    engine: Literal["reference"] = "reference"
    step: Count
    evaluated: Flag
    """False when the evaluation that was due after this step was cut short."""
    optimizer: list[dict[str, JsonValue]]
    scheduler: dict[str, JsonValue]
    scaler: dict[str, JsonValue] | None
    random: dict[str, JsonValue]


@dataclass(frozen=True)
class Saved:
    """A state read from a folder."""

    step: int
    evaluated: bool
    history: tuple[StepRecord, ...]
    extra: Mapping[str, bytes]
    adapter: Mapping[str, torch.Tensor]
    optimizer: Mapping[str, Any]
    """As Optimizer.load_state_dict takes it."""
    scheduler: Mapping[str, Any]
    scaler: Mapping[str, Any] | None
    random: RandomState

    def restore_weights(self, model: torch.nn.Module) -> None:
        """Give the trained parameters of `model` their saved values. Raises ResultError when they are others."""
        parameters = _trained(model)
        if parameters.keys() != self.adapter.keys():
            raise ResultError(
                f"the checkpoint holds other parameters than this trial trains: {_first_difference(parameters, self)}"
            )
        with torch.no_grad():
            for name, parameter in parameters.items():
                parameter.copy_(self.adapter[name])

    def restore_course(self, parts: TrainParts) -> None:
        """Make the next step go on exactly where the saved run stood; the weights come back by themselves."""
        parts.optimizer.load_state_dict(dict(self.optimizer))
        parts.scheduler.load_state_dict(dict(self.scheduler))
        if parts.scaler is not None and self.scaler is not None:
            parts.scaler.load_state_dict(dict(self.scaler))
        self.random.put_back()


def write_state(
    folder: Path,
    *,
    parts: TrainParts,
    step: int,
    evaluated: bool,
    history: Sequence[StepRecord],
    extra: Mapping[str, bytes],
) -> None:
    """Fill `folder`. Raises TransientError naming the file and the free bytes when the disk is full."""
    optimizer = parts.optimizer.state_dict()
    random = RandomState.take()
    numbers = _Numbers.model_validate(
        {
            "step": step,
            "evaluated": evaluated,
            "optimizer": _as_json(optimizer["param_groups"]),
            "scheduler": _as_json(parts.scheduler.state_dict()),
            "scaler": None if parts.scaler is None else _as_json(parts.scaler.state_dict()),
            "random": _as_json(random.numbers()),
        }
    )
    moments = {
        f"{index}.{name}": tensor for index, state in optimizer["state"].items() for name, tensor in state.items()
    }
    files = StateFolder(folder)
    files.write_tensors("adapter", _trained(parts.model))
    files.write_tensors("optimizer", moments)
    files.write_tensors("random", random.tensors())
    files.write_rest(history=history, extra=extra, numbers=numbers)


def read_saved(folder: Path) -> Saved:
    """What `write_state` wrote. Raises ResultError when it was written by another engine or version, or is damaged."""
    files = StateFolder(folder)
    numbers = parse(_Numbers, files.numbers(), name="state.json")
    with damage_explained():
        return Saved(
            step=numbers.step,
            evaluated=numbers.evaluated,
            history=tuple(files.history()),
            extra=files.extra(),
            adapter=files.tensors("adapter"),
            optimizer=_optimizer_state(numbers, moments=files.tensors("optimizer")),
            scheduler=numbers.scheduler,
            scaler=numbers.scaler,
            random=RandomState.from_parts(tensors=files.tensors("random"), numbers=numbers.random),
        )


def _trained(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: parameter.detach() for name, parameter in model.named_parameters() if parameter.requires_grad}


def _optimizer_state(numbers: _Numbers, *, moments: Mapping[str, torch.Tensor]) -> dict[str, Any]:
    state: dict[int, dict[str, torch.Tensor]] = {}
    for key, tensor in moments.items():
        index, _, name = key.partition(".")
        state.setdefault(int(index), {})[name] = tensor
    groups = [{**group, "betas": tuple(group["betas"])} for group in numbers.optimizer]  # type: ignore[arg-type]  # a list, checked by tuple()
    return {"state": state, "param_groups": groups}


def _first_difference(parameters: Mapping[str, torch.Tensor], saved: Saved) -> str:
    return min(parameters.keys() ^ saved.adapter.keys())


def _as_json(value: Any) -> Any:
    """`value` with its tuples as lists, as JSON has no tuples."""
    if isinstance(value, Mapping):
        return {key: _as_json(item) for key, item in value.items()}
    return [_as_json(item) for item in value] if isinstance(value, list | tuple) else value
