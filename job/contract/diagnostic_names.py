"""The names of the diagnostics: per-row columns of scores.json that describe a text and rank nothing.

The job writes them (job.diagnostics), the report adds them up; docs/evaluation.md says what each means.
"""

from __future__ import annotations

from typing import Final

__all__ = [
    "COVERAGE",
    "CUT",
    "DENSITY",
    "DIAGNOSTICS",
    "LONGEST_COPY",
    "MISSED_NUMBERS",
    "OUTPUT_CHARACTERS",
    "OUTPUT_NUMBERS",
    "OUTPUT_WORDS",
    "REFERENCE_CHARACTERS",
    "REFERENCE_NUMBERS",
    "REPETITION",
    "TRAIN_OVERLAP",
    "UNSUPPORTED_NUMBERS",
]

OUTPUT_CHARACTERS: Final = "output_characters"
REFERENCE_CHARACTERS: Final = "reference_characters"
OUTPUT_WORDS: Final = "output_words"
OUTPUT_NUMBERS: Final = "output_numbers"
"""Distinct numbers and times in the output."""
UNSUPPORTED_NUMBERS: Final = "unsupported_numbers"
"""Those of them that the input does not hold."""
REFERENCE_NUMBERS: Final = "reference_numbers"
"""Distinct numbers and times in the reference."""
MISSED_NUMBERS: Final = "missed_numbers"
"""Those of them that the output does not hold."""
COVERAGE: Final = "copied_coverage"
"""Share of the output's words in fragments that the input holds."""
DENSITY: Final = "copied_density"
"""Mean length of the fragment that a word of the output is in."""
LONGEST_COPY: Final = "longest_copy"
"""Words of the longest such fragment."""
REPETITION: Final = "repetition"
"""Share of the runs of four words that were there before."""
CUT: Final = "cut"
"""1 where the text was cut off, by max_new_tokens or by the model's context; else 0."""
TRAIN_OVERLAP: Final = "train_overlap"
"""Likeness to the nearest training target, from 0 to 1 for the same words; absent without training rows."""

DIAGNOSTICS: Final = (
    OUTPUT_CHARACTERS,
    REFERENCE_CHARACTERS,
    OUTPUT_WORDS,
    OUTPUT_NUMBERS,
    UNSUPPORTED_NUMBERS,
    REFERENCE_NUMBERS,
    MISSED_NUMBERS,
    COVERAGE,
    DENSITY,
    LONGEST_COPY,
    REPETITION,
    CUT,
    TRAIN_OVERLAP,
)
