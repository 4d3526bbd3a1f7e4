"""The JSON Schema that ships is the one that the models give, and it says what an editor shows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from controller.spec.model import SweepSpec
from controller.spec.schema import schema_text
from controller.spec.varied import VARIED_PATHS

SHIPPED = Path(__file__).parents[2] / "docs" / "sweep.schema.json"
UPDATE = "lorasweep schema > docs/sweep.schema.json"


def test_the_shipped_schema_is_in_step() -> None:
    assert SHIPPED.read_text(encoding="utf-8") == schema_text(), f"run: {UPDATE}"


def test_every_field_has_a_description() -> None:
    schema = json.loads(schema_text())
    owners = {"spec": schema, **schema["definitions"]}
    assert [
        f"{owner}.{name}"
        for owner, definition in owners.items()
        for name, field in definition.get("properties", {}).items()
        if "description" not in field and "$ref" not in field
    ] == []


def test_every_reference_leads_somewhere() -> None:
    schema = json.loads(schema_text())
    names = {found.removeprefix("#/definitions/") for found in _references(schema)}
    assert names == set(schema["definitions"])


def test_every_object_of_the_format_is_closed() -> None:
    schema = json.loads(schema_text())
    for name, definition in {"spec": schema, **schema["definitions"]}.items():
        if definition.get("type") == "object":
            assert definition["additionalProperties"] is False, name


def test_paths_that_can_be_varied_are_offered() -> None:
    assert json.loads(schema_text())["definitions"]["VariedPath"]["enum"] == list(VARIED_PATHS)


def test_top_level_keys_are_those_of_the_spec() -> None:
    assert list(json.loads(schema_text())["properties"]) == list(SweepSpec.model_fields)


def _references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        yield from ([node["$ref"]] if "$ref" in node else [])
        for value in node.values():
            yield from _references(value)
    if isinstance(node, list):
        for value in node:
            yield from _references(value)
