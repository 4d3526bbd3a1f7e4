"""Whether a document fits a JSON Schema: the keywords of draft 7 that pydantic writes, and no other."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

__all__ = ["misfits"]

Schema = dict[str, Any]

_TYPES: dict[str, Callable[[Any], bool]] = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
}
_TOLD = {"description", "default", "title", "examples", "definitions", "$schema", "format"}


def misfits(value: Any, schema: Schema, root: Schema, at: str = "$") -> list[str]:
    """Where and how the value does not fit; raises ValueError for a keyword that is not known here."""
    found: list[str] = []
    for word, asked in schema.items():
        if word in _TOLD:
            continue
        if word in _INSIDE:
            found += _INSIDE[word](value, schema, root, at)
        elif not _fits(word, asked, value):
            found.append(f"{at}: {value!r} is not {word} {asked!r}")
    return found


def _reference(value: Any, schema: Schema, root: Schema, at: str) -> Iterator[str]:
    yield from misfits(value, root["definitions"][schema["$ref"].removeprefix("#/definitions/")], root, at)


def _any_of(value: Any, schema: Schema, root: Schema, at: str) -> Iterator[str]:
    tried = [misfits(value, one, root, at) for one in schema["anyOf"]]
    if all(tried):
        yield from min(tried, key=len)


def _properties(value: Any, schema: Schema, root: Schema, at: str) -> Iterator[str]:
    for name in schema["properties"].keys() & value.keys() if isinstance(value, dict) else ():
        yield from misfits(value[name], schema["properties"][name], root, f"{at}.{name}")


def _other_properties(value: Any, schema: Schema, root: Schema, at: str) -> Iterator[str]:
    asked = schema["additionalProperties"]
    for name in value.keys() - schema.get("properties", {}).keys() if isinstance(value, dict) else ():
        yield from [f"{at}.{name}: not known"] if asked is False else misfits(value[name], asked, root, f"{at}.{name}")


def _names(value: Any, schema: Schema, root: Schema, at: str) -> Iterator[str]:
    for name in value if isinstance(value, dict) else ():
        yield from misfits(name, schema["propertyNames"], root, f"{at}.{name}")


def _items(value: Any, schema: Schema, root: Schema, at: str) -> Iterator[str]:
    for place, one in enumerate(value if isinstance(value, list) else ()):
        yield from misfits(one, schema["items"], root, f"{at}[{place}]")


_INSIDE: dict[str, Callable[[Any, Schema, Schema, str], Iterator[str]]] = {
    "$ref": _reference,
    "anyOf": _any_of,
    "properties": _properties,
    "additionalProperties": _other_properties,
    "propertyNames": _names,
    "items": _items,
}


def _fits(word: str, asked: Any, value: Any) -> bool:
    is_number = _TYPES["number"](value)
    match word:
        case "type":
            return _TYPES[asked](value)
        case "required":
            return not isinstance(value, dict) or all(name in value for name in asked)
        case "enum":
            return value in asked
        case "const":
            return bool(value == asked)
        case "pattern":
            return not isinstance(value, str) or re.search(asked, value) is not None
        case "minimum":
            return not is_number or value >= asked
        case "exclusiveMinimum":
            return not is_number or value > asked
    raise ValueError(f"{word!r} is no keyword that is checked here; add it")
