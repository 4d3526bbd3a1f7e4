"""A lane between two optimizer steps, as files: safetensors and JSON, no pickle. Nothing in it knows of other lanes.

adapter.safetensors    `<layer>.down` and `<layer>.up`, at the lane's own rank
moments.safetensors    `mean.<layer>.down` ... and `square.<layer>.down` ..., AdamW's two running means
history.jsonl          one StepRecord per step
extra/                 files of the lane's owner, opaque here
state.json             step
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as dump_tensors

from job.contract.base import Count, Flag, Frozen
from job.contract.documents import StepRecord, parse, to_json
from job.contract.errors import ResultError
from job.lanes.course import Course, Lane
from job.lanes.stack import Factors
from job.store.whole_file import explained

__all__ = ["resumed", "write_course"]

logger = logging.getLogger(__name__)

_EXTRA = "extra"


class _Numbers(Frozen):
    """state.json."""

    schema_version: Literal[1] = 1
    engine: Literal["lanes"] = "lanes"
    step: Count
    evaluated: Flag


def write_course(course: Course, folder: Path) -> None:
    """Fill `folder`. Raises TransientError naming the file and the free bytes when the disk is full."""
    moments = {**_named(course.means, before="mean."), **_named(course.squares, before="square.")}
    _write(folder / "adapter.safetensors", dump_tensors(_named(course.factors)))
    _write(folder / "moments.safetensors", dump_tensors(moments))
    _write(folder / "history.jsonl", "".join(record.model_dump_json() + "\n" for record in course.history).encode())
    for name, body in course.lane.owner.save_extra().items():
        _write(folder / _EXTRA / name, body)
    _write(folder / "state.json", to_json(_Numbers(step=course.step, evaluated=course.evaluated)))


def resumed(lane: Lane) -> Course:
    """The lane where its newest checkpoint that verifies left it; at step 0 when there is none.

    Raises TransientError when the store does not answer.
    """
    for checkpoint in lane.checkpoints.verified():
        try:
            course = _read(lane, checkpoint.folder)
        except ResultError as err:
            logger.warning("checkpoint of step %d passed over: %s", checkpoint.step, err)
            lane.checkpoints.discard(checkpoint)
        else:
            logger.info(
                "trial %s: resuming after step %d, written by attempt %s",
                lane.trial_id, checkpoint.step, checkpoint.attempt,
            )  # fmt: skip
            return course
    return Course.begin(lane)


def _read(lane: Lane, folder: Path) -> Course:
    """Raises ResultError when it was written by another engine or version, for another adapter, or is damaged."""
    numbers = parse(_Numbers, _bytes(folder / "state.json"), name="state.json")
    history = _bytes(folder / "history.jsonl").splitlines()
    try:
        moments = load_tensors(_bytes(folder / "moments.safetensors"))
        course = Course(
            lane,
            factors=_factors(load_tensors(_bytes(folder / "adapter.safetensors")), lane=lane),
            means=_factors(moments, lane=lane, before="mean."),
            squares=_factors(moments, lane=lane, before="square."),
            step=numbers.step,
            evaluated=numbers.evaluated,
            history=[parse(StepRecord, line, name="history.jsonl") for line in history],
        )
        lane.owner.load_extra({path.name: path.read_bytes() for path in sorted((folder / _EXTRA).glob("*"))})
    except (SafetensorError, KeyError, ValueError) as err:
        raise ResultError(f"the checkpoint's state cannot be read: {type(err).__name__}: {err}") from err
    return course


def _named(factors: Mapping[str, Factors], *, before: str = "") -> dict[str, torch.Tensor]:
    return {
        f"{before}{name}.{part}": tensor.detach().cpu().contiguous()
        for name, pair in factors.items()
        for part, tensor in pair._asdict().items()
    }


def _factors(tensors: Mapping[str, torch.Tensor], *, lane: Lane, before: str = "") -> dict[str, Factors]:
    found = {}
    for name, (down, up) in lane.adapter.factors.items():
        pair = Factors(tensors[f"{before}{name}.down"], tensors[f"{before}{name}.up"])
        if (pair.down.shape, pair.up.shape) != (down.shape, up.shape):
            raise ResultError(f"the checkpoint's {name} has other shapes than this trial trains")
        found[name] = Factors(pair.down.to(down), pair.up.to(up))
    return found


def _write(path: Path, body: bytes) -> None:
    with explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise ResultError(f"the checkpoint has no {path.name}") from None
