"""YAML 1.2 text as plain values, with the line and column of each; hostile text is refused before it costs anything.

Values are read by the core schema alone (YAML 1.2.2, section 10.3): `1e-4` is a number, `no`, `1:30` and `2026-01-01`
are text. ruamel is used as far as its event stream, so that depth, count, aliases and tags are judged while reading
and nothing is ever constructed by tag.

Limits
- 256 KiB, 10,000 values and 32 levels: ruamel's scanner takes half a second for that much on a slow core, and some
  shapes (nested flow brackets) grow with the square of their depth.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple, NoReturn

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

from job.contract.errors import SpecError

__all__ = ["LIMIT_BYTES", "Mark", "Path", "Tree", "TreeValue", "is_text", "parse_yaml"]

LIMIT_BYTES = 256 * 2**10
_LIMIT_VALUES = 10_000
_LIMIT_DEPTH = 32
# Longer digits are no number that a sweep needs, and Python refuses to read 5,000 of them.
_LIMIT_NUMBER = 40

TreeValue = None | bool | int | float | str | list["TreeValue"] | dict[str, "TreeValue"]
Path = tuple[str | int, ...]

_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_TRUE = frozenset({"true", "True", "TRUE"})
_FALSE = frozenset({"false", "False", "FALSE"})
_INTEGER = re.compile(r"[-+]?[0-9]+")
_BASED = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
# What YAML 1.2 allows in a stream (section 5.1); ruamel's own check names neither line nor column.
_NOT_PRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_NOT_TEXT = re.compile("[\x00\ud800-\udfff]")


class Mark(NamedTuple):
    """A place in the text, counted from 1."""

    line: int
    column: int


class Tree(NamedTuple):
    """What a YAML text holds, and where each part stands."""

    value: TreeValue
    marks: Mapping[Path, Mark]
    """Of each value; for an entry of a mapping the place of its key."""


def parse_yaml(body: bytes, *, name: str) -> Tree:
    """The one document in `body`.

    Raises SpecError naming `name`, line and column for anything that is not plain YAML 1.2 within the limits.
    """
    if len(body) > LIMIT_BYTES:
        raise SpecError(
            f"{name}: larger than {LIMIT_BYTES:,} bytes, which is more than such a file may have; is it the right one?"
        )
    text = _decode(body, name=name)
    reader = _Reader(YAML(typ="safe", pure=True).parse(text), name=name)
    try:
        return reader.document()
    except MarkedYAMLError as err:
        raise SpecError(_syntax_message(err, text=text, name=name)) from err
    except (YAMLError, ValueError, OverflowError) as err:  # the last two: an escape beyond Unicode, "\\UFFFFFFFF"
        raise SpecError(f"{name}: not YAML: {err}") from err


def is_text(plain: str) -> bool:
    """Whether a scalar without quotes stands for itself, and not for a number, a flag or null."""
    return not (
        plain in _NULL | _TRUE | _FALSE
        or _INTEGER.fullmatch(plain)
        or _BASED.fullmatch(plain)
        or _FLOAT.fullmatch(plain)
    )


def _decode(body: bytes, *, name: str) -> str:
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as err:
        line = body[: err.start].count(b"\n") + 1
        raise SpecError(
            f"{name}:{line}: byte 0x{body[err.start]:02x} is not UTF-8; save the file with the encoding UTF-8"
        ) from err
    found = _NOT_PRINTABLE.search(text)
    if found:
        line = text.count("\n", 0, found.start()) + 1
        column = found.start() - (text.rfind("\n", 0, found.start()) + 1) + 1
        raise SpecError(
            f"{name}:{line}:{column}: the character U+{ord(found.group()):04X} is not allowed in YAML; take it out"
        )
    return text


def _syntax_message(err: MarkedYAMLError, *, text: str, name: str) -> str:
    mark = err.problem_mark or err.context_mark
    place = f"{name}:{mark.line + 1}:{mark.column + 1}" if mark else name
    problem = err.problem or "not YAML"
    lines = text.splitlines()
    line = lines[mark.line] if mark and mark.line < len(lines) else ""
    if "\\t" in problem or "\t" in line[: mark.column + 1 if mark else 0]:
        return f"{place}: a tab; YAML is indented with spaces only: replace each tab by two spaces"
    if "cannot start any token" in problem or "mapping values are not allowed" in problem:
        problem += "; put text that holds : # [ ] { } % @ ` in quotes, and indent with care"
    context = f" ({err.context})" if err.context else ""
    return f"{place}: not YAML: {problem}{context}"


class _Reader:
    """Turns events into values; one pass, no recursion deeper than the limit."""

    def __init__(self, events: Iterator[Event], *, name: str) -> None:
        self._events = events
        self._name = name
        self._values = 0
        self._marks: dict[Path, Mark] = {}

    def document(self) -> Tree:
        started = False
        value: TreeValue = None
        for event in self._events:
            if isinstance(event, DocumentStartEvent):
                if started:
                    self._fail(event, "a second document (`---`); a file holds one: split it")
                started = True
                value = self._value(next(self._events), path=())
        return Tree(value=value, marks=self._marks)

    def _value(self, event: Event, *, path: Path) -> TreeValue:
        self._admit(event, depth=len(path))
        self._marks.setdefault(path, _mark(event))
        if isinstance(event, ScalarEvent):
            return self._scalar(event)
        if isinstance(event, SequenceStartEvent):
            return self._sequence(path)
        return self._mapping(path)

    def _sequence(self, path: Path) -> list[TreeValue]:
        values: list[TreeValue] = []
        for event in self._events:
            if isinstance(event, SequenceEndEvent):
                break
            values.append(self._value(event, path=(*path, len(values))))
        return values

    def _mapping(self, path: Path) -> dict[str, TreeValue]:
        values: dict[str, TreeValue] = {}
        for event in self._events:
            if isinstance(event, MappingEndEvent):
                break
            self._admit(event, depth=len(path))
            if not isinstance(event, ScalarEvent):
                self._fail(event, "a key has to be a word, not a list or a mapping")
            key = str(event.value)
            if key in values:
                first = self._marks[(*path, key)]
                self._fail(event, f"the key {key!r} is given twice (first in line {first.line}); keep one of them")
            self._marks[(*path, key)] = _mark(event)
            values[key] = self._value(next(self._events), path=(*path, key))
        return values

    def _admit(self, event: Event, *, depth: int) -> None:
        self._values += 1
        if self._values > _LIMIT_VALUES:
            self._fail(event, f"more than {_LIMIT_VALUES:,} values; name ranges in vary.grid or vary.random instead")
        if depth > _LIMIT_DEPTH:
            self._fail(event, f"nested more than {_LIMIT_DEPTH} levels deep; no file of ours needs ten")
        if isinstance(event, AliasEvent) or getattr(event, "anchor", None):
            self._fail(event, "anchors (&name) and aliases (*name) are not allowed; write the value out")
        tag = getattr(event, "tag", None)
        if tag:
            self._fail(event, f"the tag {str(tag)!r} is not allowed; write plain values only")
        if isinstance(event, ScalarEvent) and _NOT_TEXT.search(str(event.value)):
            self._fail(event, "an escape stands for NUL or half a character; take it out")

    def _scalar(self, event: ScalarEvent) -> TreeValue:
        text = str(event.value)
        if not event.implicit[0] or is_text(text):
            return text
        if text in _NULL:
            return None
        if text in _TRUE or text in _FALSE:
            return text in _TRUE
        if len(text) > _LIMIT_NUMBER:
            self._fail(event, f"a number of {len(text):,} characters; at most {_LIMIT_NUMBER} are read")
        if _INTEGER.fullmatch(text):
            return int(text)
        if _BASED.fullmatch(text):
            return int(text, base=0)
        return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))

    def _fail(self, event: Event, message: str) -> NoReturn:
        mark = _mark(event)
        raise SpecError(f"{self._name}:{mark.line}:{mark.column}: {message}")


def _mark(event: Event) -> Mark:
    return Mark(line=event.start_mark.line + 1, column=event.start_mark.column + 1)
