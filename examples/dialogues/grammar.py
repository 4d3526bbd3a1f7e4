"""The template language of the text files in this folder.

`[x|y]` is a choice, `{name}` a slot, `chat ~ summary` a value in two forms. A slot keeps its value for the whole
conversation, and no other slot draws the same again, as `{city2}` beside `{city}`. `{A}`..`{D}` are the speakers,
`{N}` and `{N2}` people they talk about, `{A.he}`, `{A.him}`, `{A.his}` their pronouns; `{^x}` and `{A.He}` begin with a
capital.

Limits
- Nothing here escapes `[ ] { } | ~`: the texts do without them.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, TypeVar

Form = Literal["chat", "summary"]
T = TypeVar("T")

_PRONOUNS = {"she": ("she", "her", "her"), "he": ("he", "him", "his")}
_SLOT = re.compile(r"\{(\^?)(\w+)(?:\.(\w+))?\}")
_CHOICE = re.compile(r"\[([^\[\]]*)\]")


class Person(NamedTuple):
    """A first name and the pronoun that stands for it."""

    name: str
    pronoun: str


class Value(NamedTuple):
    """What a slot says in a chat message, and what a summary makes of it."""

    chat: str
    summary: str


class Line(NamedTuple):
    """One utterance template, or, with an empty speaker, the kind of small talk that may come here."""

    speaker: str
    text: str
    optional: bool


class Plot(NamedTuple):
    """One way a conversation of a kind can go, with the summaries that fit it."""

    name: str
    lines: tuple[Line, ...]
    summaries: tuple[str, ...]


class Script(NamedTuple):
    """The words and plots of one text file."""

    words: dict[str, tuple[Value, ...]]
    plots: tuple[Plot, ...]


def draw(rng: random.Random, choices: Sequence[T]) -> T:
    """One of the choices, by `random()` alone: the one method whose sequence Python promises to keep.

    Source: docs.python.org/3/library/random.html, "Notes on Reproducibility".
    """
    return choices[int(rng.random() * len(choices))]


def shuffled(rng: random.Random, items: Sequence[T]) -> list[T]:
    """The items in random order, by `random()` alone like `draw`."""
    left = list(items)
    return [left.pop(int(rng.random() * len(left))) for _ in range(len(left))]


def parse_script(text: str) -> Script:
    """The words (`$name = a | b`) and plots (`== name`, then lines and `> summary`) of a text file.

    Raises: ValueError with the line that fits nothing.
    """
    words: dict[str, tuple[Value, ...]] = {}
    plots: list[tuple[str, list[Line], list[str]]] = []
    for raw in text.splitlines():
        row = raw.strip()
        if not row or row.startswith("#"):
            continue
        if row.startswith("$"):
            name, _, values = row[1:].partition("=")
            words[name.strip()] = tuple(_parse_value(value) for value in _split_outside_brackets(values))
        elif row.startswith("=="):
            plots.append((row[2:].strip(), [], []))
        elif row.startswith(">"):
            plots[-1][2].append(row[1:].strip())
        else:
            plots[-1][1].append(_parse_line(row))
    return Script(words, tuple(Plot(name, tuple(lines), tuple(summaries)) for name, lines, summaries in plots))


def _parse_line(row: str) -> Line:
    if row.startswith("~"):
        return Line("", row[1:], optional=True)
    match = re.fullmatch(r"(\??)([A-D]): (.+)", row)
    if match is None:
        raise ValueError(
            f"{row!r} is no utterance; write `A: text`, `?A: text`, `~aside`, `> summary` or `$word = value`"
        )
    return Line(match[2], match[3], optional=bool(match[1]))


def _parse_value(text: str) -> Value:
    chat, _, summary = (part.strip() for part in text.partition("~"))
    return Value(chat, summary or chat)


def _split_outside_brackets(text: str) -> list[str]:
    parts, depth = [""], 0
    for char in text:
        depth += (char == "[") - (char == "]")
        if char == "|" and depth == 0:
            parts.append("")
        else:
            parts[-1] += char
    return parts


@dataclass
class Facts:
    """Who and what one conversation is about: drawn when first said, then fixed."""

    cast: Mapping[str, Person]
    words: Mapping[str, Sequence[Value]]
    rng: random.Random
    drawn: dict[str, Value] = field(default_factory=dict)

    def say(self, template: str) -> str:
        """The template as a chat message; slots that were not said before are drawn."""
        return self._expand(template, "chat")

    def report(self, template: str) -> str:
        """The template as a summary. Raises: ValueError for a fact that was never said in the dialogue."""
        return self._expand(template, "summary")

    def _expand(self, template: str, form: Form) -> str:
        text = template
        while "[" in text or "{" in text:
            text = _CHOICE.sub(lambda match: draw(self.rng, match[1].split("|")), text)
            if "[" not in text:
                text = _SLOT.sub(lambda match: self._fill(match, form), text)
        text = re.sub(r"\s+('(?:ll|m) )?", lambda match: match[1] or " ", text).strip()
        text = re.sub(r" ([,.!?]+)", r"\1", text)
        return re.sub(r"([!?]|\.{3}|:D|:[()])[.,](?!\.)", r"\1", text)

    def _fill(self, match: re.Match[str], form: Form) -> str:
        capital, name, attribute = match.groups()
        if name in self.cast:
            return _refer(self.cast[name], attribute)
        if name not in self.drawn:
            if form == "summary":
                raise ValueError(f"summary fact {{{name}}} was never said in the dialogue")
            self.drawn[name] = self._draw_value(name)
        value = self._expand(getattr(self.drawn[name], form), form)
        return value[0].upper() + value[1:] if capital else value

    def _draw_value(self, name: str) -> Value:
        taken = set(self.drawn.values())
        return draw(self.rng, [value for value in self.words[name.rstrip("0123456789")] if value not in taken])


def _refer(person: Person, attribute: str | None) -> str:
    if attribute is None:
        return person.name
    word = _PRONOUNS[person.pronoun][("he", "him", "his").index(attribute.lower())]
    return word.capitalize() if attribute[0].isupper() else word
