"""Foreign text made harmless to look at: what a model, a row or an error message says may hold anything."""

from __future__ import annotations

import re
import unicodedata

__all__ = ["first_line", "one_line", "shortened", "visible"]

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
# Bidirectional controls can make a line read as another one (CVE-2021-42574); surrogates cannot be encoded.
_MISLEADING = re.compile("[\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")
_PICTURES = 0x2400  # U+241B is the picture of ESC


def visible(text: str) -> str:
    """`text` with control characters as their pictures; only tab and line feed stay."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return _MISLEADING.sub("\N{REPLACEMENT CHARACTER}", _CONTROL.sub(_picture, text))


def one_line(text: str) -> str:
    """`text` with every run of blanks and line ends as one space."""
    return " ".join(visible(text).split())


def first_line(text: str) -> str:
    """The first line of `text` that says something, in one line."""
    return next((one_line(line) for line in text.splitlines() if line.strip()), "")


def shortened(text: str, limit: int) -> str:
    """The first `limit` characters of `text`, saying how many more there are; no accent is cut from its letter."""
    if len(text) <= limit:
        return text
    end = limit
    while end > 1 and unicodedata.combining(text[end]):
        end -= 1
    return f"{text[:end].rstrip()} \N{HORIZONTAL ELLIPSIS} [{len(text) - end:,} more characters]"


def _picture(found: re.Match[str]) -> str:
    code = ord(found[0])
    if code < 0x20:
        return chr(_PICTURES + code)
    return "\N{SYMBOL FOR DELETE}" if code == 0x7F else "\N{REPLACEMENT CHARACTER}"
