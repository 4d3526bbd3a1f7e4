"""Log lines on stderr: sentences for a person, or one JSON object a line with LORASWEEP_LOG=json."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Mapping
from datetime import UTC, datetime

__all__ = ["configure_logging"]


class _JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def configure_logging(environ: Mapping[str, str]) -> None:
    """Warnings in words, as progress has its own lines; or everything as JSON for a container's log."""
    as_json = environ.get("LORASWEEP_LOG") == "json"
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonLines() if as_json else logging.Formatter("%(message)s"))
    logging.basicConfig(level=logging.INFO if as_json else logging.ERROR, handlers=[handler], force=True)
