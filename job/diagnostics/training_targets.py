"""How close a text is to a training target: whether a model recites what it was trained on.

Likeness is the resemblance of Broder 1997 (On the resemblance and containment of documents): distinct runs of three
words that both texts have, by those that either has. Comparing with every target would cost rows x targets, so each
target leaves its few runs with the smallest hashes in an index (a bottom-k sketch, ibid.), and only the targets that
share the most of these with a text are compared in full.

Limits
- What is given is a lower bound: a target with a resemblance of a half is missed at most once in 250 times (0.5 to the
  power of its entries in the index).
- Only the first targets are looked at, of ten million characters together: about 80,000 summaries.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from job.diagnostics.words import runs, words_of

__all__ = ["CHARACTERS_LIMIT", "TrainingTargets", "training_targets"]

CHARACTERS_LIMIT = 10_000_000
"""Of all targets together; a few seconds of indexing, once in a process."""
_RUN = 3
_SKETCH = 8
_CANDIDATES = 3
_OWNERS = 64
"""Targets looked at for one run; more have it only where it says little."""

Run = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TrainingTargets:
    """An index of target texts."""

    texts: tuple[str, ...]
    hashes: NDArray[np.int64]
    """Of the sketches of all targets, sorted."""
    owners: NDArray[np.int64]
    """The target that each hash is of."""

    def overlap(self, text: str) -> float:
        """Resemblance to the nearest target that was found; 1 for the same words, 0 for a text without words."""
        mine = _runs(text)
        if not mine:
            return 0.0
        return max((_resemblance(mine, _runs(self.texts[owner])) for owner in self._candidates(mine)), default=0.0)

    def _candidates(self, mine: frozenset[Run]) -> list[int]:
        """The targets with the most entries in common; the first of those with as many."""
        wanted = np.array(sorted(map(_hash, mine)), dtype=np.int64)
        starts, ends = np.searchsorted(self.hashes, wanted), np.searchsorted(self.hashes, wanted, side="right")
        found = [self.owners[start : min(end, start + _OWNERS)] for start, end in zip(starts, ends, strict=True)]
        owners, counts = np.unique(np.concatenate(found), return_counts=True)
        return [int(owner) for owner in owners[np.argsort(-counts, kind="stable")][:_CANDIDATES]]


@lru_cache(maxsize=1)
def training_targets(texts: tuple[str, ...]) -> TrainingTargets:
    """The index of the first of `texts`. Asked again for the same texts it is the same: a process has one data set."""
    lengths = accumulate(map(len, texts))
    taken = texts[: sum(total <= CHARACTERS_LIMIT for total in lengths)]
    hashes, owners = array("q"), array("q")
    for owner, text in enumerate(taken):
        sketch = sorted(map(_hash, _runs(text)))[:_SKETCH]
        hashes.extend(sketch)
        owners.extend([owner] * len(sketch))
    found = np.array(hashes, dtype=np.int64)
    order = np.argsort(found, kind="stable")
    return TrainingTargets(taken, hashes=found[order], owners=np.array(owners, dtype=np.int64)[order])


def _runs(text: str) -> frozenset[Run]:
    """All runs of three words; of a shorter text all its words as one run."""
    words = words_of(text)
    return frozenset(runs(words, length=_RUN) or ([words] if words else []))


def _resemblance(one: frozenset[Run], other: frozenset[Run]) -> float:
    return len(one & other) / len(one | other)


def _hash(run: Run) -> int:
    """The same in every process, as Python's own is not."""
    return crc32("\n".join(run).encode("utf-8", "replace"))
