"""How much of a text is copied from another, and how much of it from itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from job.diagnostics.words import pieces_of, runs

__all__ = ["Copied", "copied", "fragments", "repetition"]

_RUN = 4
"""Words of a run that repeats: seq-rep-4 of Welleck et al. 2019, sec. 6."""


class Copied(NamedTuple):
    """How extractive an output is (Grusky, Naaman and Artzi 2018, NEWSROOM, https://aclanthology.org/N18-1065, sec. 4).

    Zeros for an output without words.
    """

    coverage: float
    """Share of its words that are in a fragment of the input."""
    density: float
    """Mean length, in words, of the fragment that a word of it is in."""
    longest: int
    """Words of the longest fragment."""


def copied(output: Sequence[str], source: Sequence[str]) -> Copied:
    """What of the words of an output is in its input, in the same order."""
    lengths = fragments(output, source)
    if not lengths:
        return Copied(0.0, 0.0, 0)
    words = len(output)
    return Copied(sum(lengths) / words, sum(length**2 for length in lengths) / words, max(lengths))


def fragments(output: Sequence[str], source: Sequence[str]) -> list[int]:
    """Lengths of the fragments of `source` that make up `output`, from its beginning on, each as long as can be.

    That is the greedy matching of NEWSROOM (figure 3). Here each word is a character, and a fragment a substring.
    """
    letters: dict[str, str] = {}
    inside = "".join(letters.setdefault(word, chr(len(letters))) for word in source[:_SOURCE_LIMIT])
    written = "".join(letters.get(word, _NOWHERE) for word in output)
    found: list[int] = []
    at = 0
    while at < len(written):
        end = at
        while end < len(written) and written[at : end + 1] in inside:
            end += 1
        found += [end - at] if end > at else []
        at = max(end, at + 1)
    return found


_SOURCE_LIMIT = 1_000_000
"""Words that are looked at: as many as there are characters to stand for them, nearly."""
_NOWHERE = chr(0x10FFFF)
"""Stands for words that the source has not."""


def repetition(text: str) -> float:
    """Share of the runs of four words and marks that were there before: near 1 for a text that turns in circles.

    1 minus distinct runs by all runs (Welleck et al. 2019, Neural Text Generation with Unlikelihood Training,
    https://arxiv.org/abs/1908.04319); 0 for a text of fewer than four.
    """
    found = runs(pieces_of(text), length=_RUN)
    return 1 - len(set(found)) / len(found) if found else 0.0
