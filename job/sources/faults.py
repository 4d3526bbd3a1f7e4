"""What is wrong with a file of rows, said by line; the readers of `datasets` name no line, or the wrong one."""

from __future__ import annotations

import json
from collections.abc import Iterable
from itertools import islice
from pathlib import Path

__all__ = ["csv_fault", "encoding_fault", "json_fault"]

_NO_ROWS = "it holds no row"


def encoding_fault(lines: Iterable[bytes]) -> str | None:
    """Which line is not UTF-8; None where all are."""
    for number, line in enumerate(lines, 1):
        try:
            line.decode()
        except UnicodeDecodeError as err:
            return f"line {number} is not UTF-8 (byte 0x{line[err.start]:02x}); save it with the encoding UTF-8"
    return None


def json_fault(file: Path) -> str | None:
    """Which line of a file in UTF-8 is not JSON, or no object; None where only a reader of `datasets` knows."""
    text = file.read_text(encoding="utf-8-sig")
    try:
        return _array_fault(text) if text.lstrip().startswith("[") else _lines_fault(text)
    except RecursionError:
        return "it is nested too deep to be read"


def csv_fault(file: Path) -> str | None:
    """That there is nothing below the header; None where there is."""
    with file.open("rb") as lines:
        rows = sum(1 for _ in islice((line for line in lines if line.strip()), 2))
    return None if rows == 2 else "there is no row below the header"


def _array_fault(text: str) -> str | None:
    try:
        records = json.loads(text)
    except ValueError as err:
        return f"it is not JSON: {err}"
    if not records:
        return _NO_ROWS
    number = next((number for number, record in enumerate(records, 1) if not isinstance(record, dict)), None)
    return None if number is None else f"entry {number} of its array is no object of columns"


def _lines_fault(text: str) -> str | None:
    empty = True
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        empty = False
        try:
            record = json.loads(line)
        except ValueError as err:
            return f"line {number} is not JSON ({err}); write one object a line, or all of them as one array"
        if not isinstance(record, dict):
            return f'line {number} is no object of columns, such as {{"input": ...}}'
    return _NO_ROWS if empty else None
