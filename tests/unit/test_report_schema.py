"""The JSON Schema of report.json that ships is the one of the code, and every report fits it."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from hostile_run import make_hostile
from json_schema import misfits
from made import GRID, made_run
from made_report import finish_all, report_of, stored

from controller.__main__ import main
from controller.report.schema import report_schema_text

SHIPPED = Path(__file__).parents[2] / "docs" / "report.schema.json"
UPDATE = "lorasweep schema --report > docs/report.schema.json"
PRICED = GRID.replace("seeds: [0]", "seeds: [0, 1]") + (
    "execution: {price_per_gpu_hour: 2.5}\nregression: {floors: {rougeL: 0.1}}\n"
)


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(report_schema_text())
    return found


def document(folder: Path, *, text: str = GRID, state: str = "finished") -> Any:
    """report.json of a made run."""
    run = make_hostile(folder) if state == "hostile" else made_run(folder, text)
    if state == "finished":
        finish_all(run)
    if state == "failed":
        for trial in run.plan.trials:
            run.fail(trial)
    report_of(run)
    return json.loads(stored(run, "report.json"))


def test_the_shipped_schema_is_in_step() -> None:
    assert SHIPPED.read_text(encoding="utf-8") == report_schema_text(), f"run: {UPDATE}"


def test_the_command_prints_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema", "--report"]) == 0
    assert capsys.readouterr().out == report_schema_text()


@pytest.mark.parametrize(
    ("text", "state"),
    [(GRID, "finished"), (PRICED, "finished"), (GRID, "failed"), (GRID, "pending"), (GRID, "hostile")],
)
def test_a_report_fits_the_schema(schema: dict[str, Any], tmp_path: Path, text: str, state: str) -> None:
    assert misfits(document(tmp_path, text=text, state=state), schema, schema) == []


def test_every_field_is_there_in_every_report(schema: dict[str, Any]) -> None:
    for definition in (schema, *schema["definitions"].values()):
        if "properties" in definition:
            assert set(definition["required"]) == set(definition["properties"])
            assert definition["additionalProperties"] is False


def test_what_is_no_report_does_not_fit(schema: dict[str, Any], tmp_path: Path) -> None:
    right = document(tmp_path)
    for place, value, said in (
        ("state", "done", "$.state: 'done' is not enum"),
        ("schema_version", 2, "$.schema_version: 2 is not const 1"),
        ("configurations", {}, "$.configurations: {} is not type 'array'"),
        ("spec_sha256", "x", "$.spec_sha256: 'x' is not pattern"),
        ("more", 1, "$.more: not known"),
    ):
        wrong = {**deepcopy(right), place: value}
        (found,) = misfits(wrong, schema, schema)
        assert found.startswith(said)
    del right["verdict"]
    (found,) = misfits(right, schema, schema)
    assert "is not required" in found
