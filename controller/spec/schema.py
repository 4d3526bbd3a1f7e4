"""The JSON Schema of a spec, for editors."""

from __future__ import annotations

from typing import Any

from controller.json_schema import draft_7, indented
from controller.spec.model import SweepSpec
from controller.spec.varied import VARIED_PATHS

__all__ = ["schema_text"]


def schema_text() -> str:
    """The schema as indented JSON, with a final newline."""
    schema = draft_7(SweepSpec)
    _spell_out_vary(schema["definitions"])
    return indented(schema)


def _spell_out_vary(definitions: dict[str, Any]) -> None:
    """What validators allow or refuse beyond the types: a plain list as an axis, only paths that can be varied."""
    definitions["VariedPath"] = {"description": "A path that can be varied.", "enum": list(VARIED_PATHS)}
    path = {"$ref": "#/definitions/VariedPath"}
    vary = definitions["Vary"]["properties"]
    axis, values = vary["grid"]["additionalProperties"], definitions["Axis"]["properties"]["values"]
    plain_list = {key: values[key] for key in ("type", "items", "minItems")}
    vary["grid"]["additionalProperties"] = {"anyOf": [plain_list, axis]}
    vary["grid"]["propertyNames"] = path
    vary["paired"]["items"]["propertyNames"] = path
    vary["trials"]["items"]["propertyNames"] = path
    definitions["RandomSearch"]["properties"]["ranges"]["propertyNames"] = path
