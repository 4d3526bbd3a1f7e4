"""The words of a text, as they are compared with those of another: in any script, without case.

Limits
- Scripts that put no blanks between words (Chinese, Japanese, Thai, Lao, Burmese, Khmer) are taken letter by letter.
- A vowel sign of an Indic script ends a word, as the `re` of Python has it; both texts are cut alike.
"""

from __future__ import annotations

import re
from unicodedata import normalize

__all__ = ["folded", "pieces_of", "runs", "words_of"]

_UNSPACED = (
    "\u0e00-\u0eff"  # Thai, Lao
    "\u1000-\u109f\u1780-\u17ff"  # Burmese, Khmer
    "\u3040-\u30ff"  # Hiragana, Katakana
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # Han
)
_WORD = re.compile(rf"[{_UNSPACED}]|[^\W_{_UNSPACED}]+")
_PIECE = re.compile(rf"[{_UNSPACED}]|[^\W_{_UNSPACED}]+|[^\w\s]|_")


def folded(text: str) -> str:
    """The text without differences of case and of form (full-width letters, ligatures, composed accents)."""
    return normalize("NFKC", text).casefold()


def words_of(text: str) -> tuple[str, ...]:
    """Runs of letters and digits, folded."""
    return tuple(_WORD.findall(folded(text)))


def pieces_of(text: str) -> tuple[str, ...]:
    """Words, and each punctuation mark and symbol between them."""
    return tuple(_PIECE.findall(folded(text)))


def runs(words: tuple[str, ...], *, length: int) -> list[tuple[str, ...]]:
    """Every run of so many words that follow one another; none in a shorter text."""
    return list(zip(*(words[start:] for start in range(length)), strict=False))
