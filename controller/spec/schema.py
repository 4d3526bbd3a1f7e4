"""The JSON Schema of a spec, for editors; draft 7, which is what yaml-language-server reads.

Descriptions are the strings under the fields. Pydantic can keep them (use_attribute_docstrings), at a price at each
import; here they are taken from the source when the schema is wanted.
"""

from __future__ import annotations

import ast
import inspect
import json
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

from controller.spec.model import SweepSpec
from controller.spec.varied import VARIED_PATHS

__all__ = ["schema_text"]


def schema_text() -> str:
    """The schema as indented JSON, with a final newline."""
    return json.dumps(_schema(), indent=2, ensure_ascii=False) + "\n"


def _schema() -> dict[str, Any]:
    schema = SweepSpec.model_json_schema()
    definitions = schema.pop("$defs")
    models = {model.__name__: model for model in _models(SweepSpec)}
    for name, definition in definitions.items():
        _describe(definition, models[name])
    _describe(schema, SweepSpec)
    _spell_out_vary(definitions)
    whole = {"$schema": "http://json-schema.org/draft-07/schema#", **schema, "definitions": definitions}
    return {key: _draft_7(value) for key, value in whole.items()}


def _models(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    yield model
    for field in model.model_fields.values():
        for found in _classes_in(field.annotation):
            yield from _models(found)


def _classes_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in getattr(annotation, "__args__", ()):
        yield from _classes_in(part)


def _describe(definition: dict[str, Any], model: type[BaseModel]) -> None:
    """Put each field's string into its property, and drop the titles that only repeat a name."""
    texts = {name: text for owner in reversed(model.__mro__) for name, text in _field_texts(owner).items()}
    definition.pop("title", None)
    for name, property_ in definition["properties"].items():
        property_.pop("title", None)
        if name in texts:
            property_["description"] = texts[name]


def _field_texts(owner: type) -> dict[str, str]:
    if not issubclass(owner, BaseModel) or owner is BaseModel:
        return {}
    (node,) = ast.parse(inspect.getsource(owner)).body
    if not isinstance(node, ast.ClassDef):
        return {}
    return {
        field.target.id: inspect.cleandoc(text.value.value)
        for field, text in zip(node.body, node.body[1:], strict=False)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(text, ast.Expr)
        and isinstance(text.value, ast.Constant)
        and isinstance(text.value.value, str)
    }


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


# A bound on a number that has a validator of its own stays under pydantic's name.
_BOUNDS = {"ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum", "lt": "exclusiveMaximum"}


def _draft_7(node: Any) -> Any:
    """With `definitions` for `$defs`, and bounds under JSON Schema's names."""
    if isinstance(node, dict):
        closed = {"additionalProperties": False} if "patternProperties" in node else {}
        return {_BOUNDS.get(key, key): _draft_7(value) for key, value in node.items()} | closed
    if isinstance(node, list):
        return [_draft_7(value) for value in node]
    return node.replace("#/$defs/", "#/definitions/") if isinstance(node, str) else node
