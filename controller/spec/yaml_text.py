"""Plain values as YAML that a person would have written: parse_yaml reads the same values from it.

Limits
- Keys are on one line, and YAML allows 1,024 characters there; no key of a spec has as many.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from controller.spec.vary import written
from controller.spec.yaml_tree import TreeValue, is_text

__all__ = ["inline", "yaml_text"]

_WIDTH = 110
_WHOLE = 2.0**53
_PLAIN = re.compile(r"(?:\.{0,2}/)?[A-Za-z_](?:[A-Za-z0-9 _./+-]*[A-Za-z0-9_./+-])?")
_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
_ESCAPES: Mapping[str, str] = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "\r": "\\r"}
# Besides what YAML asks for: line ends of Unicode, and what makes a line read as another one (CVE-2021-42574).
_ESCAPED = re.compile(
    '[\\\\"\x00-\x1f\x7f-\xa0\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ud800-\uf8ff\ufeff\ufff0-\uffff]'
    "|[\U000e0000-\U0010ffff]"
)


def yaml_text(tree: Mapping[str, TreeValue]) -> str:
    """A block of `key: value` lines that ends in a newline; what is short stands in one line."""
    return "".join(f"{line}\n" for line in _mapping(tree, indent=0)) if tree else "{}\n"


def inline(value: TreeValue) -> str:
    """The value in one line, however long."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_key(key)}: {inline(part)}" for key, part in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(inline, value)) + "]"
    if isinstance(value, str):
        return _string(value)
    # From here on floats are apart by more than 1, so that their shortest digits would read as another whole number.
    return repr(value) if isinstance(value, float) and abs(value) >= _WHOLE else written(value)


def _mapping(tree: Mapping[str, TreeValue], *, indent: int) -> Iterator[str]:
    for key, value in tree.items():
        lead = f"{' ' * indent}{_key(key)}:"
        if _stands_in_a_line(value, room=_WIDTH - len(lead)):
            yield f"{lead} {inline(value)}"
        else:
            yield lead
            yield from _nested(value, indent=indent + 2)


def _nested(value: TreeValue, *, indent: int) -> Iterator[str]:
    if isinstance(value, dict):
        yield from _mapping(value, indent=indent)
    for part in value if isinstance(value, list) else ():
        if _stands_in_a_line(part, room=_WIDTH - indent - 2):
            yield f"{' ' * indent}- {inline(part)}"
            continue
        first, *rest = _nested(part, indent=indent + 2)
        yield f"{' ' * indent}- {first[indent + 2 :]}"
        yield from rest


def _stands_in_a_line(value: TreeValue, *, room: int) -> bool:
    if not isinstance(value, dict | list) or not value:
        return True
    parts = value.values() if isinstance(value, dict) else value
    shallow = not any(isinstance(part, dict) and part for part in parts)
    return (shallow or isinstance(value, list)) and len(inline(value)) <= room


def _key(key: str) -> str:
    return key if _PLAIN_KEY.fullmatch(key) else _quoted(key)


def _string(text: str) -> str:
    return text if _PLAIN.fullmatch(text) and is_text(text) else _quoted(text)


def _quoted(text: str) -> str:
    return f'"{_ESCAPED.sub(_escape, text)}"'


def _escape(found: re.Match[str]) -> str:
    character, code = found[0], ord(found[0])
    if character in _ESCAPES:
        return _ESCAPES[character]
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
