"""JSON Schemas of our models, draft 7: what yaml-language-server and every release of Helm read.

Descriptions are the strings under the fields. Pydantic can keep them (use_attribute_docstrings), at a price at each
import; here they are taken from the source when a schema is wanted.
"""

from __future__ import annotations

import ast
import inspect
import json
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

__all__ = ["draft_7", "indented"]

_DRAFT = "http://json-schema.org/draft-07/schema#"
# A bound on a number that has a validator of its own stays under pydantic's name.
_BOUNDS = {"ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum", "lt": "exclusiveMaximum"}


def draft_7(root: type[BaseModel]) -> dict[str, Any]:
    """The schema of a model that refers to others, with a description of every field."""
    schema = root.model_json_schema()
    definitions = schema.pop("$defs")
    models = {name: model for model in _models(root) for name in _names_of(model)}
    for name, definition in definitions.items():
        if name in models:  # and not pydantic's own JsonValue
            _describe(definition, models[name])
    _describe(schema, root)
    whole = {"$schema": _DRAFT, **schema, "definitions": definitions}
    return {key: _rewritten(value) for key, value in whole.items()}


def indented(schema: dict[str, Any]) -> str:
    """The schema as a file: indented, with a final newline."""
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def _models(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    yield model
    for field in model.model_fields.values():
        for found in _classes_in(field.annotation):
            yield from _models(found)


def _names_of(model: type[BaseModel]) -> tuple[str, str]:
    """What pydantic calls it: by its name alone, or with its module where two have the same."""
    return model.__name__, f"{model.__module__}.{model.__name__}".replace(".", "__")


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


def _rewritten(node: Any) -> Any:
    """With `definitions` for `$defs`, and bounds under JSON Schema's names."""
    if isinstance(node, dict):
        closed = {"additionalProperties": False} if "patternProperties" in node else {}
        return {_BOUNDS.get(key, key): _rewritten(value) for key, value in node.items()} | closed
    if isinstance(node, list):
        return [_rewritten(value) for value in node]
    return node.replace("#/$defs/", "#/definitions/") if isinstance(node, str) else node
