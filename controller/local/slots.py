"""The devices that local processes may use, one process a device, found without importing torch."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass

__all__ = ["Slot", "find_slots", "nvidia_devices", "slots_of"]

_GPU = re.compile(r"GPU \d+: .*\(UUID: (GPU-[0-9a-fA-F-]+)\)")
_SLICE = re.compile(r"\s+MIG .*\(UUID: (MIG-[0-9a-zA-Z/-]+)\)")
_LISTING_TIMEOUT_S = 20  # a sleeping driver without persistence mode takes seconds to wake up


@dataclass(frozen=True, slots=True)
class Slot:
    """A place for one process."""

    name: str
    device: str | None
    """What CUDA_VISIBLE_DEVICES is set to; None: left as it is. Empty or None: the CPU with all its cores."""


def find_slots(environ: Mapping[str, str], *, gpus: int) -> tuple[Slot, ...]:
    """One slot per GPU that this process may see; one on the CPU where there is none, or trials ask for 0 `gpus`."""
    if gpus == 0:
        return (Slot("cpu", ""),)
    return slots_of(environ.get("CUDA_VISIBLE_DEVICES"), listing=_nvidia_smi)


def slots_of(visible: str | None, *, listing: Callable[[], str]) -> tuple[Slot, ...]:
    """The slots for a value of CUDA_VISIBLE_DEVICES and the output of `nvidia-smi -L`.

    As in CUDA, the value is a comma-separated list that ends at the first negative index.
    """
    if visible is not None and not _chosen(visible):
        return (Slot("cpu", None),)
    devices = nvidia_devices(listing())
    if devices and visible is not None:
        devices = _chosen(visible)
    return tuple(Slot(f"gpu{i}", device) for i, device in enumerate(devices)) or (Slot("cpu", None),)


def nvidia_devices(listing: str) -> tuple[str, ...]:
    """UUIDs of the devices in the output of `nvidia-smi -L`; a GPU cut into MIG slices counts by its slices."""
    devices: list[str] = []
    whole: str | None = None
    for line in listing.splitlines():
        if gpu := _GPU.match(line):
            whole = gpu[1]
            devices.append(whole)
        elif piece := _SLICE.match(line):
            if devices and devices[-1] == whole:
                devices.pop()
            devices.append(piece[1])
    return tuple(devices)


def _chosen(visible: str) -> tuple[str, ...]:
    chosen: list[str] = []
    for entry in (part.strip() for part in visible.split(",")):
        if not entry or entry.startswith("-"):
            break
        chosen.append(entry)
    return tuple(chosen)


def _nvidia_smi() -> str:
    program = shutil.which("nvidia-smi")
    if program is None:
        return ""
    try:
        listed = subprocess.run(
            [program, "-L"], capture_output=True, text=True, timeout=_LISTING_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return listed.stdout if listed.returncode == 0 else ""
