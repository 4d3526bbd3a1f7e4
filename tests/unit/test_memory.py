"""Memory that runs out is one error, whichever library noticed; every other error stays what it is."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from job.contract.errors import GpuMemoryError
from job.memory import memory_is_ours, memory_ran_out

PETABYTE = 2**50


def _raise(err: Exception) -> None:
    raise err


RAN_OUT: dict[str, Callable[[], object]] = {
    "torch on a CPU": lambda: torch.empty(PETABYTE),
    "numpy": lambda: np.empty(PETABYTE),
    "Python": lambda: bytearray(2**60),
    "torch's allocator on a GPU": lambda: _raise(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")),
    "the driver": lambda: _raise(RuntimeError("CUDA error: out of memory")),
}


@pytest.mark.parametrize("allocate", RAN_OUT.values(), ids=RAN_OUT)
def test_memory_that_ran_out_is_the_error_with_our_words(allocate: Callable[[], object]) -> None:
    with pytest.raises(GpuMemoryError, match=r"too much \(.+\)"), memory_is_ours(lambda said: f"too much ({said})"):
        allocate()


@pytest.mark.parametrize("err", [RuntimeError("shapes do not match"), ValueError("can't allocate memory")])
def test_another_error_stays_what_it_is(err: Exception) -> None:
    assert not memory_ran_out(err)
    with pytest.raises(type(err), match=str(err)), memory_is_ours(str):
        raise err
