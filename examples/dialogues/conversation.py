"""One conversation: a plot played by people, with small talk in between, and its summary."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from grammar import Facts, Line, Person, Plot, Script, Value, draw, parse_script, shuffled
from style import draw_style, typed

# How often a marked place is filled. The bound on length thins this out: see `generate._within_bounds`.
_SMALLTALK_RATE = {"hi": 0.45, "aside": 0.5, "bye": 0.35}
_OPTIONAL_RATE = 0.45
_RETURN_RATE = 0.25


class Template(NamedTuple):
    """Where a summary comes from: kind of conversation, plot, number of the summary."""

    kind: str
    plot: str
    summary: int


@dataclass(frozen=True)
class Conversation:
    """A dialogue, one `Name: utterance` a line, with the summary a reader would write."""

    template: Template
    dialogue: str
    summary: str


class Library(NamedTuple):
    """All texts of this folder: people, common words, small talk by its mark, kinds by their name."""

    people: tuple[Person, ...]
    words: dict[str, tuple[Value, ...]]
    smalltalk: dict[str, list[Plot]]
    kinds: dict[str, Script]


def read_library(folder: Path) -> Library:
    """The texts of the folder, kinds in the order of their names."""
    smalltalk: dict[str, list[Plot]] = {}
    for plot in parse_script(_read(folder / "smalltalk.txt")).plots:
        smalltalk.setdefault(plot.name, []).append(plot)
    return Library(
        people=_parse_people(_read(folder / "names.txt")),
        words=parse_script(_read(folder / "words.txt")).words,
        smalltalk=smalltalk,
        kinds={path.stem: parse_script(_read(path)) for path in sorted((folder / "kinds").glob("*.txt"))},
    )


def templates(library: Library, kind: str) -> list[Template]:
    """Every summary template of the kind."""
    plots = library.kinds[kind].plots
    return [Template(kind, plot.name, number) for plot in plots for number in range(len(plot.summaries))]


def compose(library: Library, template: Template, *, rng: random.Random) -> Conversation:
    """A conversation whose summary comes from the template.

    Raises: ValueError when the summary says what the dialogue did not.
    """
    script = library.kinds[template.kind]
    plot = next(plot for plot in script.plots if plot.name == template.plot)
    speakers = sorted({line.speaker for line in plot.lines if line.speaker})
    people = shuffled(rng, library.people)
    cast = dict(zip((*speakers, "N", "N2"), people, strict=False))
    facts = Facts(cast=cast, words={**library.words, **script.words}, rng=rng)
    styles = {speaker: draw_style(rng) for speaker in speakers}
    turns = [
        f"{cast[line.speaker].name}: {typed(facts.say(line.text), style=styles[line.speaker], rng=rng)}"
        for line in _play(plot, speakers=speakers, smalltalk=library.smalltalk, rng=rng)
    ]
    try:
        summary = facts.report(plot.summaries[template.summary])
    except ValueError as err:
        raise ValueError(f"{template}: {err}") from err
    return Conversation(template, "\n".join(turns), summary)


def _play(
    plot: Plot, *, speakers: Sequence[str], smalltalk: Mapping[str, Sequence[Plot]], rng: random.Random
) -> list[Line]:
    """The plot's utterances in order, some optional ones left out, small talk put in at some of the marks."""
    lines: list[Line] = []
    back_to_topic = False
    for line in plot.lines:
        if line.speaker:
            if line.optional and rng.random() >= _OPTIONAL_RATE:
                continue
            text = f"anyway, {line.text}" if back_to_topic and rng.random() < _RETURN_RATE else line.text
            lines.append(line._replace(text=text))
            back_to_topic = False
        elif rng.random() < _SMALLTALK_RATE[line.text]:
            lines += _chat(draw(rng, smalltalk[line.text]), lines=lines, speakers=speakers, rng=rng)
            back_to_topic = line.text == "aside"
    return lines


def _chat(exchange: Plot, *, lines: Sequence[Line], speakers: Sequence[str], rng: random.Random) -> list[Line]:
    """The exchange between two speakers: the first who opens a conversation, later whoever did not speak last."""
    last = lines[-1].speaker if lines else speakers[1]
    first = draw(rng, [speaker for speaker in speakers if speaker != last]) if lines else speakers[0]
    roles = {"A": first, "B": last}
    return [
        line._replace(
            speaker=roles[line.speaker], text=re.sub(r"\{([AB])\}", lambda m: f"{{{roles[m[1]]}}}", line.text)
        )
        for line in exchange.lines
    ]


def _parse_people(text: str) -> tuple[Person, ...]:
    rows = (row.partition(":") for row in text.splitlines() if ":" in row and not row.startswith("#"))
    return tuple(Person(name, pronoun) for pronoun, _, names in rows for name in names.split())


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8")
