"""What the outputs of one trial are like, added up from the diagnostics of its rows. Pure.

A report holds thousands of trials: the columns are added up as they are read, and a few ids are kept to look at.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from job.contract import diagnostic_names as names

__all__ = ["FAULTS", "Fault", "TextSums", "added", "sums_of"]

Fault = Literal["unsupported", "missed", "copied", "recited", "runaway", "empty", "cut"]
"""What may be wrong with an output; docs/results.md has the limits."""
FAULTS: tuple[Fault, ...] = ("unsupported", "missed", "copied", "recited", "runaway", "empty", "cut")

_COPIED = 0.8
"""Of the words of an output in one fragment of the input, or more."""
_COPIED_WORDS = 5
"""Fewer words in a row are soon found in any long input."""
_RECITED = 0.5
"""Of the runs of three words shared with a training target, or more."""
_RUNAWAY = 0.5
"""Of the runs of four words were there before, or more."""
_WORST = 3  # ids to look at

Column = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class TextSums:
    """Of the outputs of one split; what was not measured is in neither mapping."""

    outputs: int
    totals: Mapping[str, float]
    """Name of a diagnostic to its sum."""
    faults: Mapping[Fault, int]
    """How many outputs have it."""
    worst: Mapping[Fault, tuple[str, ...]]
    """Ids of a few rows that have it, those with the most of it first."""


def sums_of(example_ids: Sequence[str], columns: Mapping[str, Sequence[float]]) -> TextSums | None:
    """The sums of a trial; None for one without diagnostics, which is of an earlier release."""
    known = {name: np.asarray(columns[name], dtype=np.float64) for name in names.DIAGNOSTICS if name in columns}
    if not known or not example_ids:
        return None
    sizes = _sizes(known)
    return TextSums(
        outputs=len(example_ids),
        totals={name: float(column.sum()) for name, column in known.items()},
        faults={fault: int(np.count_nonzero(size)) for fault, size in sizes.items()},
        worst={fault: _worst(example_ids, size) for fault, size in sizes.items()},
    )


def added(seeds: Sequence[TextSums]) -> TextSums | None:
    """The sums over several trials, each of which measured what all of them have; the ids are those of the first."""
    if not seeds:
        return None
    shared = [name for name in seeds[0].totals if all(name in one.totals for one in seeds)]
    faults = [fault for fault in seeds[0].faults if all(fault in one.faults for one in seeds)]
    return TextSums(
        outputs=sum(one.outputs for one in seeds),
        totals={name: sum(one.totals[name] for one in seeds) for name in shared},
        faults={fault: sum(one.faults[fault] for one in seeds) for fault in faults},
        worst={fault: seeds[0].worst[fault] for fault in faults},
    )


def _sizes(columns: Mapping[str, Column]) -> dict[Fault, Column]:
    """How much of each fault an output has; 0 where it has not enough to be called so."""
    plain: tuple[tuple[Fault, str, float], ...] = (
        ("unsupported", names.UNSUPPORTED_NUMBERS, 1),
        ("missed", names.MISSED_NUMBERS, 1),
        ("recited", names.TRAIN_OVERLAP, _RECITED),
        ("runaway", names.REPETITION, _RUNAWAY),
        ("cut", names.CUT, 1),
    )
    found = {
        fault: np.where(columns[name] >= least, columns[name], 0.0) for fault, name, least in plain if name in columns
    }
    if names.OUTPUT_CHARACTERS in columns:
        found["empty"] = (columns[names.OUTPUT_CHARACTERS] == 0).astype(np.float64)
    if names.LONGEST_COPY in columns and names.OUTPUT_WORDS in columns:
        words, longest = columns[names.OUTPUT_WORDS], columns[names.LONGEST_COPY]
        found["copied"] = np.where((words >= _COPIED_WORDS) & (longest >= _COPIED * words), longest, 0.0)
    return {fault: found[fault] for fault in FAULTS if fault in found}


def _worst(example_ids: Sequence[str], size: Column) -> tuple[str, ...]:
    having = sorted(np.flatnonzero(size).tolist(), key=lambda row: (-size[row], example_ids[row]))
    return tuple(example_ids[row] for row in having[:_WORST])
