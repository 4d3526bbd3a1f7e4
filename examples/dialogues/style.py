"""How people type: tidily, casually or all in lower case, with short forms and the odd slip."""

from __future__ import annotations

import random
import re
from typing import Literal

from grammar import draw

Style = Literal["tidy", "casual", "lower"]
STYLES: tuple[Style, ...] = ("tidy", "tidy", "casual", "casual", "lower")

_SHORT_RATE = 0.25  # of the words that have a short form, among those who do not type tidily
_SLIP_RATE = 0.05  # of the words that have a known misspelling
_SHORT = {
    "please": "pls",
    "thanks": "thx",
    "you": "u",
    "because": "cuz",
    "tomorrow": "tmrw",
    "though": "tho",
    "are": "r",
    "okay": "k",
    "ok": "k",
    "people": "ppl",
    "about": "abt",
}
_SLIPS = {
    "the": "teh",
    "just": "jsut",
    "about": "abuot",
    "really": "realy",
    "because": "becuase",
    "tomorrow": "tommorow",
    "with": "wiht",
    "what": "waht",
    "bring": "birng",
    "forgot": "forgott",
    "maybe": "mabye",
    "thought": "thougth",
    "can": "cna",
    "have": "ahve",
    "then": "thne",
    "finally": "finaly",
}
_WORD = re.compile(r"[A-Za-z']+")


def typed(text: str, *, style: Style, rng: random.Random) -> str:
    """The utterance as someone with this style would type it."""
    if style == "tidy":
        return _tidy(text)
    loose = _WORD.sub(lambda match: _loosen(match[0], rng=rng), text)
    if style == "casual":
        return loose
    return " ".join(word if re.match(r"[:;xX]", word) else word.lower() for word in loose.split(" "))


def _tidy(text: str) -> str:
    capitalised = re.sub(r"(^|[.!?] )([a-z])", lambda match: match[1] + match[2].upper(), text)
    return capitalised + "." if capitalised[-1].isalnum() and not capitalised.endswith(":D") else capitalised


def _loosen(word: str, *, rng: random.Random) -> str:
    if word in _SHORT and rng.random() < _SHORT_RATE:
        return _SHORT[word]
    if word in _SLIPS and rng.random() < _SLIP_RATE:
        return _SLIPS[word]
    return word


def draw_style(rng: random.Random) -> Style:
    """A way of typing, tidy in two cases of five."""
    return draw(rng, STYLES)
