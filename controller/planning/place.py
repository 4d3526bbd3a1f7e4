"""Where the Jobs of a plan run, as far as it decides which trials share one. Pure."""

from __future__ import annotations

from typing import Literal, NamedTuple

__all__ = ["CLUSTER", "Place", "TrialsPerJob", "local_place"]

TrialsPerJob = int | Literal["auto"]


class Place(NamedTuple):
    """What a backend says of itself."""

    trials_per_job: TrialsPerJob
    """Where `execution.trials_per_job` is null."""
    has_gpus: bool
    """Whether a Job that asks for a GPU gets one."""
    at_a_time: int | None
    """Jobs that it runs at most; None: as many as are asked for."""


CLUSTER = Place(trials_per_job=1, has_gpus=True, at_a_time=None)
"""One Job per configuration: each is placed, retried and paid for by itself."""


def local_place(*, gpus: int, slots: int) -> Place:
    """One machine with so many GPUs; it has a slot for each, and one on the CPU where there is none.

    Trials share a process there: on a CPU that saves each its start-up and costs nothing (benchmarks/README.md).
    """
    return Place(trials_per_job="auto", has_gpus=gpus > 0, at_a_time=slots)
