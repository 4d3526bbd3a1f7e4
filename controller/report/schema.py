"""The JSON Schema of report.json, for programs that read it."""

from __future__ import annotations

from controller.json_schema import draft_7, indented
from controller.report.document import Report

__all__ = ["report_schema_text"]


def report_schema_text() -> str:
    """The schema as indented JSON, with a final newline; a report leaves no field out, so all are required."""
    schema = draft_7(Report)
    for definition in (schema, *schema["definitions"].values()):
        if "properties" in definition:
            definition["required"] = list(definition["properties"])
    return indented(schema)
