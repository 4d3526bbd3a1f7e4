"""A container's log is read by programs: one JSON object a line, whoever wrote it and whatever it says."""

from __future__ import annotations

import json
import logging
import sys

import pytest

from controller.logs import configure_logging
from job.contract.log_lines import JsonLines


def written(message: str, *arguments: object, **extra: object) -> dict[str, object]:
    """The one line that this record becomes, parsed."""
    record = logging.getLogger("job").makeRecord("job", logging.INFO, "f.py", 1, message, arguments, None, extra=extra)
    line = JsonLines().format(record)
    assert "\n" not in line
    parsed: dict[str, object] = json.loads(line)
    return parsed


def test_a_line_has_time_level_logger_message_and_the_records_own_fields() -> None:
    line = written("step %d\nof %s", 3, "\u65e5\u672c", trial="abc")
    assert list(line) == ["time", "level", "logger", "message", "trial"]
    assert (line["level"], line["logger"], line["message"], line["trial"]) == (
        "INFO",
        "job",
        "step 3\nof \u65e5\u672c",
        "abc",
    )


def test_what_json_has_no_word_for_is_written_as_text() -> None:
    assert written("done", place=sys)["place"] == str(sys)


def test_a_traceback_stays_on_the_line() -> None:
    try:
        int("no")
    except ValueError:
        record = logging.LogRecord("job", logging.ERROR, "f.py", 1, "bug", (), sys.exc_info())
    line = JsonLines().format(record)
    assert "\n" not in line
    assert "ValueError: invalid literal" in json.loads(line)["traceback"]


def test_a_container_is_silent_about_where_the_s3_client_found_its_keys(capsys: pytest.CaptureFixture[str]) -> None:
    before = logging.getLogger().handlers[:], logging.getLogger().level
    try:
        configure_logging({"LORASWEEP_LOG": "json"})
        logging.getLogger("botocore.credentials").info("Found credentials in environment variables.")
        logging.getLogger("controller.reconcile").info("submitted")
    finally:
        logging.getLogger().handlers[:], level = before
        logging.getLogger().setLevel(level)
    said = capsys.readouterr().err
    assert "submitted" in said
    assert "credentials" not in said
