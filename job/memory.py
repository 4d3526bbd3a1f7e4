"""Memory that ran out: what libraries raise for it, on a GPU and on a CPU, is one error of ours."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from job.contract.errors import GpuMemoryError

__all__ = ["memory_is_ours", "memory_ran_out"]

# torch has a class of its own for CUDA's caching allocator alone; these are plain RuntimeErrors.
_WORDS = (
    "DefaultCPUAllocator: can't allocate memory",  # c10/core/impl/alloc_cpu.cpp
    "CUDA error: out of memory",  # outside of the caching allocator, such as the context of a device that others fill
    "CUBLAS_STATUS_ALLOC_FAILED",
)


def memory_ran_out(err: BaseException) -> bool:
    """Whether the error says that the memory of a device, or of this machine, did not suffice."""
    if isinstance(err, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(err, RuntimeError) and any(words in str(err) for words in _WORDS)


@contextmanager
def memory_is_ours(explained: Callable[[str], str]) -> Iterator[None]:
    """Makes it a GpuMemoryError with the message that `explained` gives for the library's own first line."""
    try:
        yield
    except (MemoryError, RuntimeError) as err:
        if not memory_ran_out(err):
            raise
        raise GpuMemoryError(explained(_first_line(err))) from err


def _first_line(err: BaseException) -> str:
    return (str(err).strip().splitlines() or [type(err).__name__])[0]
