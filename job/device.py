"""The one device of a trial."""

from __future__ import annotations

import platform
import resource
import sys
from pathlib import Path

import torch

from job.contract.documents import Device
from job.contract.errors import ConfigurationError

__all__ = ["choose_device", "describe_device", "peak_bytes"]


def choose_device() -> torch.device:
    """The visible CUDA device, else the CPU.

    Raises ConfigurationError when more than one is visible: Trainer would split every batch over all of them and so
    multiply the batch size without a word.
    """
    if not torch.cuda.is_available():
        return torch.device("cpu")
    count = torch.cuda.device_count()
    if count > 1:
        raise ConfigurationError(
            f"{count} CUDA devices are visible and a trial uses one; set CUDA_VISIBLE_DEVICES=0 (or another single one)"
        )
    return torch.device("cuda", 0)


def describe_device(device: torch.device) -> Device:
    """Name and peak memory so far, for the result."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else _cpu_name()
    return Device(name=name, count=1, peak_bytes=peak_bytes(device))


def peak_bytes(device: torch.device) -> int:
    """Most CUDA memory that tensors took in this process, or the most memory that the process held on a CPU."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # macOS counts bytes, Linux KiB (getrusage(2))


def _cpu_name() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
