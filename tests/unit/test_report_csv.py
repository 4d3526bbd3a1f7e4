"""report.csv."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from made import GRID, MadeRun, made_run
from made_report import finish_all, report_of, stored


@pytest.fixture
def run(tmp_path: Path) -> MadeRun:
    """8 trained configurations A to H, zero-shot I and J, lead-3 K; nothing finished."""
    return made_run(tmp_path)


def test_the_table_for_spreadsheets_has_a_line_for_each_configuration(run: MadeRun) -> None:
    finish_all(run)
    report = report_of(run)
    lines = list(csv.DictReader(io.StringIO(stored(run, "report.csv"))))
    assert [line["letter"] for line in lines] == [found.letter for found in report.configurations]
    first, metric = lines[0], report.configurations[0].metrics["validation"]["rougeL"]
    assert float(first["validation.rougeL"]) == metric.mean
    assert float(first["validation.rougeL.low"]) == metric.low
    assert first["rank"] == "1"
    assert {path: first[path] for path in report.configurations[0].values} == report.configurations[0].values
    assert next(line for line in lines if line["letter"] == "K")["validation.completion_loss"] == ""


def test_a_formula_in_a_cell_is_text_to_a_spreadsheet(tmp_path: Path) -> None:
    run = made_run(tmp_path, GRID.replace("target_modules: all-linear, ", "").replace(
        "lora.r: [8, 16]", "lora.r: [8]\n    lora.target_modules: ['=1+1', '@x']"
    ))  # fmt: skip
    report_of(run)
    lines = list(csv.DictReader(io.StringIO(stored(run, "report.csv"))))
    assert {line["lora.target_modules"] for line in lines} == {"'=1+1", "'@x", ""}
