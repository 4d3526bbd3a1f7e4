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

from job.contract.base import Count, Flag, Frozen
from job.contract.documents import parse
from job.contract.errors import ResultError
from job.lanes.course import Course, Lane
from job.lanes.stack import Factors
from job.state_folder import StateFolder, damage_explained

__all__ = ["resumed", "write_course"]

logger = logging.getLogger(__name__)


class _Numbers(Frozen):
    """state.json."""

    schema_version: Literal[1] = 1
    engine: Literal["lanes"] = "lanes"
    step: Count
    evaluated: Flag


def write_course(course: Course, folder: Path) -> None:
    """Fill `folder`. Raises TransientError naming the file and the free bytes when the disk is full."""
    files = StateFolder(folder)
    files.write_tensors("adapter", _named(course.factors))
    files.write_tensors("moments", {**_named(course.means, before="mean."), **_named(course.squares, before="square.")})
    files.write_rest(
        history=course.history,
        extra=course.lane.owner.save_extra(),
        numbers=_Numbers(step=course.step, evaluated=course.evaluated),
    )


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
    files = StateFolder(folder)
    numbers = parse(_Numbers, files.numbers(), name="state.json")
    with damage_explained():
        moments = files.tensors("moments")
        course = Course(
            lane,
            factors=_factors(files.tensors("adapter"), lane=lane),
            means=_factors(moments, lane=lane, before="mean."),
            squares=_factors(moments, lane=lane, before="square."),
            step=numbers.step,
            evaluated=numbers.evaluated,
            history=files.history(),
        )
        lane.owner.load_extra(files.extra())
    return course


def _named(factors: Mapping[str, Factors], *, before: str = "") -> dict[str, torch.Tensor]:
    pairs = factors.items()
    return {f"{before}{name}.{part}": tensor for name, pair in pairs for part, tensor in pair._asdict().items()}


def _factors(tensors: Mapping[str, torch.Tensor], *, lane: Lane, before: str = "") -> dict[str, Factors]:
    found = {}
    for name, (down, up) in lane.adapter.factors.items():
        pair = Factors(tensors[f"{before}{name}.down"], tensors[f"{before}{name}.up"])
        if (pair.down.shape, pair.up.shape) != (down.shape, up.shape):
            raise ResultError(f"the checkpoint's {name} has other shapes than this trial trains")
        found[name] = Factors(pair.down.to(down), pair.up.to(up))
    return found
