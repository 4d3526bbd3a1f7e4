"""Prompt templates: `{column}` is a row's text, `{{` and `}}` are braces, and nothing else means anything.

Not `str.format`: that would read attributes (`{x.__class__}`) and format specifications of whatever it is given. A
value is put in once and never read again, so `{{7*7}}` or `{summary}` inside a row stays as it is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from job.contract.errors import SpecError

__all__ = ["render", "template_fields"]

_TOKEN = re.compile(r"\{\{|\}\}|\{(?P<field>[^{}]*)\}|[{}]")
# What str.format gives a meaning to; a column of such a name has to be renamed.
_REFUSED = re.compile(r"[.!:\[\]]")


def template_fields(text: str) -> frozenset[str]:
    """The columns that `text` asks for.

    Raises SpecError for a lone brace, an empty field, and anything but a plain column name in one.
    """
    return frozenset(field for token in _TOKEN.finditer(text) if (field := _field_of(token, text=text)) is not None)


def render(text: str, fields: Mapping[str, str]) -> str:
    """`text` with each `{column}` replaced by its value in `fields`.

    Raises SpecError as `template_fields` does, and KeyError for a column that `fields` lacks.
    """

    def replace(token: re.Match[str]) -> str:
        field = _field_of(token, text=text)
        return token[0][0] if field is None else fields[field]

    return _TOKEN.sub(replace, text)


def _field_of(token: re.Match[str], *, text: str) -> str | None:
    """The column that a token names; None for a doubled brace."""
    if token[0] in ("{{", "}}"):
        return None
    field = token["field"]
    if field is None:
        raise SpecError(
            f"template {_shown(text)}: a single {token[0]!r} at character {token.start()}; "
            f"write a column as {{column}}, and {token[0] * 2!r} for the brace itself"
        )
    if not field or field != field.strip() or _REFUSED.search(field):
        raise SpecError(
            f"template {_shown(text)}: {token[0]!r} is not a column in braces; a field is the plain name of a data "
            "column, without blanks around it and without any of . ! : [ ]"
        )
    return field


def _shown(text: str, limit: int = 60) -> str:
    return repr(text if len(text) <= limit else text[: limit - 3] + "...")
