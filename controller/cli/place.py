"""Where the Jobs of a plan would run, asked of the machine."""

from __future__ import annotations

import os
from typing import Literal

from controller.local.slots import find_slots
from controller.planning.place import CLUSTER, Place, local_place

__all__ = ["place_of"]


def place_of(backend: Literal["local", "kubernetes"], *, gpus: int) -> Place:
    """`gpus` is what each Job asks for."""
    if backend == "kubernetes":
        return CLUSTER
    slots = find_slots(os.environ, gpus=gpus)
    return local_place(gpus=sum(bool(slot.device) for slot in slots), slots=len(slots))
