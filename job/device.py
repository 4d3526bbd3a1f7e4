"""The one device of a trial."""

from __future__ import annotations

import platform
import resource
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from job.contract.documents import Device
from job.contract.errors import ConfigurationError

__all__ = ["choose_device", "describe_device", "peak_bytes", "try_device"]


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


def try_device(device: torch.device, *, dtypes: Sequence[str]) -> str:
    """The device in words, once it has multiplied in each of these dtypes. Raises ConfigurationError when it cannot."""
    for name in dtypes:
        try:
            ones = torch.ones(8, 8, dtype=getattr(torch, name), device=device)
            total = float((ones @ ones).sum())
            native = (
                device.type == "cpu" or name != "bfloat16" or torch.cuda.is_bf16_supported(including_emulation=False)
            )
        except RuntimeError as err:  # as of a driver that is too old, or an image without kernels for this GPU
            raise ConfigurationError(
                f"{device.type} cannot compute in {name} ({str(err).splitlines()[0]}); use an image that fits the "
                "driver and the GPU"
            ) from err
        if total != 512.0 or not native:
            raise ConfigurationError(f"{device.type} does not compute in {name}; choose another dtype, or another GPU")
    computed = ", ".join(dtypes)
    if device.type == "cuda":
        free, whole = torch.cuda.mem_get_info(device)
        memory = f"{free / 2**30:.1f} of {whole / 2**30:.1f} GiB free"
        return f"cuda, {torch.cuda.get_device_name(device)}, {memory}, computes in {computed}"
    return f"cpu, {_cpu_name()}, {torch.get_num_threads()} threads, computes in {computed}"


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
