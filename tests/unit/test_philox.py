"""The masks that a GPU makes have numpy's bits: by operations of torch, and by the kernel in triton's interpreter."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from job import dropout, philox
from job.dropout import RowPlace
from job.philox import Stream

CPU = torch.device("cpu")
LARGEST = 2**64 - 1
WORDS = st.integers(0, LARGEST)
STREAMS = st.builds(Stream, st.tuples(WORDS, WORDS), st.tuples(WORDS, WORDS, WORDS), st.integers(0, 65535))
KERNEL = """
import sys
import torch
from job import philox, philox_kernel
from job.philox import Stream

streams = [
    Stream((0, 0), (0, 0, 0), 32768),
    Stream((123456789012345678, 2**64 - 1), (3, 1, 7), 6554),
    Stream((2**64 - 1, 1 << 63), (2**64 - 1, 1 << 63, (1 << 63) - 1), 65535),
    Stream((5, 77), (1, 2, 3), 0),
]
for count in (1, 15, 16, 17, 5003):
    ours, theirs = (made.drops(streams, count=count, device=torch.device("cpu")) for made in (philox_kernel, philox))
    assert ours.dtype == torch.bool and torch.equal(ours, theirs), count
sys.stdout.write("equal")
"""


@given(streams=st.lists(STREAMS, min_size=1, max_size=3), count=st.integers(1, 200))
def test_the_bits_are_numpys(streams: list[Stream], count: int) -> None:
    found = philox.drops(streams, count=count, device=CPU)
    assert found.shape == (len(streams), count)
    for stream, ours in zip(streams, found, strict=True):
        numbers = np.random.Philox(
            key=np.array(stream.key, dtype=np.uint64), counter=np.array([0, *stream.counter], dtype=np.uint64)
        )
        theirs = numbers.random_raw(-(-count // 4)).astype("<u8").view("<u2")[:count] < stream.threshold
        assert np.array_equal(ours.numpy(), theirs)


def test_the_kernel_gives_the_same_bits(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", KERNEL],
        env={"TRITON_INTERPRET": "1", "TRITON_CACHE_DIR": str(tmp_path), "PATH": "/usr/bin:/bin"},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert (ended.stdout, ended.returncode) == ("equal", 0), ended.stderr


def test_a_gpu_drops_what_a_cpu_drops(caplog: pytest.LogCaptureFixture) -> None:
    dropout._maker.cache_clear()
    rows, thresholds = [RowPlace(7, 3, 1, 2), None, RowPlace(8, 0, 0, 0)], [6554, 0, 50000]
    here = dropout._drops_here(rows, thresholds, layer=LARGEST - 3, count=1000, device=CPU)
    there = dropout._drops_there(rows, thresholds, layer=LARGEST - 3, count=1000, device=CPU)
    assert torch.equal(here, there) and here.any(1).tolist() == [True, False, True]
    assert "without their kernel" in caplog.text, "there is no GPU for the kernel in a test"
    dropout._maker.cache_clear()
