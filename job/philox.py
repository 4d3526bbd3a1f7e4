"""numpy's Philox on any device: which draws of 16 bits are below a threshold, by plain operations on tensors.

The bits are those of np.random.Philox(key, counter).random_raw: Philox 4x64 with 10 rounds (Salmon et al. 2011,
"Parallel random numbers: as easy as 1, 2, 3"; the constants are the paper's), the counter raised before each block.

torch's whole numbers of 64 bits are signed. Sums and products wrap around, so their bits are right all the same; a
shift to the right has to be masked.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import torch

__all__ = ["DRAWS", "Stream", "drops", "signed_rows"]

DRAWS = 16
"""16-bit draws in a block, of four words of 64 bits."""
_MULTIPLIERS = (0xD2E7470EE14C6C93, 0xCA5A826395121157)
_WEYL = (0x9E3779B97F4A7C15, 0xBB67AE8584CAA73B)
_ROUNDS = 10
_HALF = 0xFFFFFFFF


class Stream(NamedTuple):
    """The counter-based stream of one row; whole numbers of 64 bits."""

    key: tuple[int, int]
    counter: tuple[int, int, int]
    """Its words 1 to 3; word 0 counts the blocks."""
    threshold: int
    """Draws below it are drops; 0 to 65,535."""


def drops(streams: Sequence[Stream], *, count: int, device: torch.device) -> torch.Tensor:
    """Which of a row's first `count` draws are below its threshold: (rows, count), bool."""
    given = signed_rows(streams, device=device)
    blocks = -(-count // DRAWS)
    at = torch.arange(1, blocks + 1, device=device).expand(len(streams), -1)
    one, two, three = (given[:, column, None].expand(-1, blocks) for column in (2, 3, 4))
    even, odd = torch.stack((at, two)), torch.stack((one, three))  # words 0 and 2, words 1 and 3
    keys = given[:, :2].T[:, :, None]
    *multipliers, weyl = _constants(device)
    for _ in range(_ROUNDS):
        high, low = _product(even, multipliers)
        even, odd = high.flip(0) ^ odd ^ keys, low.flip(0)
        keys = keys + weyl
    words = torch.stack((even[0], odd[0], even[1], odd[1]), dim=-1)
    draws = words.flatten(1).view(torch.int16)[:, :count]  # least significant first, as numpy's "<u2"
    lowest = -(1 << 15)  # so that the order of unsigned numbers is kept
    return (draws ^ lowest) < (given[:, 5:] + lowest).to(torch.int16)


def signed_rows(streams: Sequence[Stream], *, device: torch.device) -> torch.Tensor:
    """Key, counter and threshold of each stream, (rows, 6), with the bits of unsigned numbers."""
    numbers = [(*stream.key, *stream.counter, stream.threshold) for stream in streams]
    signed = [[_signed(number) for number in row] for row in numbers]
    return torch.tensor(signed, dtype=torch.int64).to(device, non_blocking=True)


def _product(words: torch.Tensor, constants: Sequence[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """The upper and the lower 64 bits of the words times the multipliers, from products of halves."""
    whole, lower, upper = constants
    below, above = words & _HALF, (words >> 32) & _HALF
    first = upper * below + ((lower * below >> 32) & _HALF)
    second = lower * above + (first & _HALF)
    high = upper * above + ((first >> 32) & _HALF) + ((second >> 32) & _HALF)
    return high, words * whole


@cache
def _constants(device: torch.device) -> torch.Tensor:
    """The multipliers, their lower and their upper halves, and Weyl's numbers: (4, 2, 1, 1), copied to it once."""
    rows = (
        [_signed(number) for number in _MULTIPLIERS],
        [number & _HALF for number in _MULTIPLIERS],
        [number >> 32 for number in _MULTIPLIERS],
        [_signed(number) for number in _WEYL],
    )
    return torch.tensor(rows).to(device)[:, :, None, None]


def _signed(number: int) -> int:
    return number - (1 << 64) if number >> 63 else number
