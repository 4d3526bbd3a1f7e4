"""Seeds of a sweep's trained configurations: as written, or derived from the run's name. Pure.

With the same seeds each night, a run repeats the last one to the digit until a library changes, and then differs by all
that seeds do; nothing that came before says by how much. Other seeds each night show it. They come from the name, so a
restart of the run, here or elsewhere, has the same ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count, islice

from controller.spec.vary import Vary
from job.contract.base import canonical_json, sha256_hex

__all__ = ["more_seeds", "seeds_of"]


def seeds_of(vary: Vary, *, run: str) -> tuple[int, ...]:
    """The seeds of every trained configuration in the run of that name."""
    return vary.seeds if vary.rotating_seeds is None else tuple(islice(_derived(run), vary.rotating_seeds))


def more_seeds(present: tuple[int, ...], *, run: str, number: int) -> tuple[int, ...]:
    """So many others, derived from the run's name."""
    return tuple(islice((seed for seed in _derived(run) if seed not in present), number))


def _derived(run: str) -> Iterator[int]:
    """Numbers of 32 bits, none twice."""
    known: set[int] = set()
    for place in count():
        seed = int(sha256_hex(canonical_json(["seeds", run, place]))[:8], 16)
        if seed not in known:
            known.add(seed)
            yield seed
