"""The two ways in which the texts of a zero-shot baseline are scored, and the better of them."""

from __future__ import annotations

from typing import Literal

__all__ = ["VARIANTS", "Variant", "key_of", "spoken_variant"]

Variant = Literal["whole", "first_line"]
VARIANTS: tuple[Variant, ...] = ("whole", "first_line")


def key_of(letter: str, variant: Variant) -> str:
    """The name of a variant among the letters of a table; that of whole texts is the letter."""
    return letter if variant == "whole" else f"{letter}/{variant}"


def spoken_variant(name: str, variant: Variant) -> str:
    """The name of a baseline that says how its texts were scored; just the name where they are whole."""
    return name if variant == "whole" else f"{name} cut at its first newline"
