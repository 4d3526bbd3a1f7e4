"""How many trials should share a Job, where the spec leaves it open (`trials_per_job: auto`). Pure; an estimate.

A Job costs its start-up, and each pass over the model costs the larger of what it computes and what it takes to launch.
Small batches of small models leave a device waiting for launches, and then more lanes are nearly free; large ones keep
it busy, and then sharing saves start-ups alone. Against that stands isolation: a crash costs a group the unsaved work
of all its lanes, and fewer groups than `parallelism` leave devices empty.

Limits
- Rows of ROW_TOKENS tokens and, where the spec sets no limit, ROWS rows of each split are assumed.
- Rates are those of a small data-centre GPU and of two CPU cores: a faster device only moves the line where packing
  stops to pay, as it waits for launches up to larger models.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from controller.planning.lanes_memory import lane_shape, lanes_memory
from controller.planning.memory import ROW_TOKENS
from controller.planning.model_shape import ModelShape
from job.contract.config import JobExecution, TrialConfig

__all__ = ["CPU", "GPU", "ROWS", "Device", "Sharing", "Work", "group_seconds", "share_of", "work_of"]

ROWS = 1000
"""Of a split without a limit."""
MOST_LANES = 64
_GIB = 2**30
# What packing has to save of the time before a crash may cost several trials their unsaved work.
_WORTH_RATIO = 0.2
# Forward, and in backward the gradient of each layer's input: 2 operations a parameter and token each. The base is
# frozen, so its weights have no gradient, and adapters are some per cent of it.
_TRAIN_OPERATIONS, _FORWARD_OPERATIONS = 4, 2
_TRAIN_LAUNCHES = 3
"""In forward passes: the backward pass launches about two kernels for each of the forward's."""


class Device(NamedTuple):
    """What a Job runs on."""

    startup_s: float
    """From the Job's creation to the first step: process, imports, weights; on a cluster the pod as well."""
    operations_s: float
    launch_s: float
    """Of one block in one forward pass: some 60 kernels with adapters on 7 layers."""
    width: int
    """Lanes that share a pass over the model; the others of a Job come after them."""
    memory_bytes: int
    """Assumed where the spec leaves the number of lanes open; nobody knows the device when a plan is made."""


# Start-up: 20 to 40 s of a pod with a GPU. 30e12 a second is a quarter of what an A10 or L4 has on paper in bfloat16.
# 60 launches of 5 us. 16 GiB are in the smallest GPUs that clouds rent (T4, V100).
GPU = Device(startup_s=30.0, operations_s=30e12, launch_s=300e-6, width=MOST_LANES, memory_bytes=16 * _GIB)
# Measured on two cores: 6 to 8 s to the first step; 130 tokens/s of a model of 135M in training, which is 7e10.
# 6 GiB leave 2 of the 8 that a trial's pod has by default to the libraries. Lanes come one after the other, as more
# rows at once are no faster there (job/lanes/group.py).
CPU = Device(startup_s=7.0, operations_s=7e10, launch_s=300e-6, width=1, memory_bytes=6 * _GIB)


class Work(NamedTuple):
    """What one trial computes."""

    passes: int
    """Forward and backward, one for each micro-batch."""
    rows: int
    """Of a pass."""
    scored: int
    """Rows that are generated, over all evaluations."""
    new_tokens: int
    scored_at_a_time: int


class Sharing(NamedTuple):
    """How many trials share a Job, and why."""

    lanes: int
    why: str


def work_of(config: TrialConfig, *, execution: JobExecution) -> Work:
    """Of a trial that asks a model."""
    limits, training, generation = config.data.limits, config.training, config.generation
    passes = rows = evaluations = 0
    if training is not None:
        rows = training.per_device_train_batch_size
        window = rows * training.gradient_accumulation_steps
        epoch = math.ceil(limits.get("train", ROWS) / window)
        steps = training.max_steps or math.ceil(epoch * (training.num_train_epochs or 1))
        passes = steps * training.gradient_accumulation_steps
        evaluations = 0 if training.eval_steps is None else steps // training.eval_steps
    final = sum(limits.get(split, ROWS) for split in config.evaluation.final_splits)
    return Work(
        passes=passes,
        rows=rows,
        scored=final + evaluations * limits.get("validation", ROWS),
        new_tokens=0 if generation is None else generation.max_new_tokens,
        scored_at_a_time=execution.eval_batch_size,
    )


def group_seconds(work: Work, *, lanes: int, shape: ModelShape, device: Device) -> float:
    """How long a Job of so many trials with this work takes."""
    packs = math.ceil(lanes / device.width)
    return device.startup_s + packs * _pack_seconds(work, lanes=math.ceil(lanes / packs), shape=shape, device=device)


def _pack_seconds(work: Work, *, lanes: int, shape: ModelShape, device: Device) -> float:
    tokens = min(ROW_TOKENS, shape.context)
    forward = shape.layers * device.launch_s
    trained = lanes * work.rows * tokens * shape.parameters * _TRAIN_OPERATIONS / device.operations_s
    written = lanes * work.scored_at_a_time * shape.parameters * _FORWARD_OPERATIONS / device.operations_s
    batches = math.ceil(work.scored / work.scored_at_a_time)  # each of rows of all lanes
    read = lanes * work.scored * tokens * shape.parameters * _FORWARD_OPERATIONS / device.operations_s
    return (
        work.passes * max(_TRAIN_LAUNCHES * forward, trained) + batches * work.new_tokens * max(forward, written) + read
    )


def share_of(
    configs: Sequence[TrialConfig], *, shape: ModelShape, execution: JobExecution, at_a_time: int, device: Device
) -> Sharing:
    """How many of these trials, which may be lanes of one group, should share a Job.

    Of the numbers that fit the memory and leave no place empty, the smallest with the shortest time; 1 where sharing
    saves too little of it to be worth what a crash would cost: nothing, where lanes come one after the other.
    """
    count = len(configs)
    work = _largest(work_of(config, execution=execution) for config in configs)
    fitting = _fitting(configs, shape=shape, execution=execution, device=device)
    places = min(at_a_time, count)
    if places == count:
        return Sharing(1, f"{at_a_time} Jobs run at a time, so each has a place of its own")
    if fitting == 1:
        return Sharing(1, f"two of them are estimated at more than {device.memory_bytes / _GIB:g} GiB")

    def wall_s(lanes: int) -> float:
        rounds = math.ceil(math.ceil(count / lanes) / places)
        return rounds * group_seconds(work, lanes=lanes, shape=shape, device=device)

    allowed = [lanes for lanes in range(1, min(fitting, count) + 1) if math.ceil(count / lanes) >= places]
    best = min(allowed, key=lambda lanes: (wall_s(lanes), lanes))
    alone_s, best_s = wall_s(1), wall_s(best)
    if device.width == 1:
        return Sharing(best, "they come one after the other, and start up once")
    if best_s > (1 - _WORTH_RATIO) * alone_s:
        return Sharing(1, f"sharing a Job is estimated to save {max(0.0, 1 - best_s / alone_s):.0%} of the time")
    return Sharing(best, f"sharing Jobs is estimated to take {best_s:,.0f} s instead of {alone_s:,.0f} s")


def _largest(works: Iterable[Work]) -> Work:
    return Work(*(max(numbers) for numbers in zip(*works, strict=True)))


def _fitting(configs: Sequence[TrialConfig], *, shape: ModelShape, execution: JobExecution, device: Device) -> int:
    """The most lanes that the device's memory is estimated to hold; at least 1."""
    if device.width == 1:
        return MOST_LANES  # of which one is at work
    lane = lane_shape(configs, shape=shape)
    fitting = 1
    while fitting < MOST_LANES:
        found = lanes_memory(lane, lanes=fitting + 1, shape=shape, eval_rows=execution.eval_batch_size)
        if found.total > device.memory_bytes:
            break
        fitting += 1
    return fitting
