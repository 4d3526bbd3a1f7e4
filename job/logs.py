"""Logging of the job: JSON lines in a container, human lines on a terminal, and a copy for the attempt's log.txt."""

from __future__ import annotations

import json
import logging
import os
import sys
from datetime import UTC, datetime
from pathlib import Path

__all__ = ["configure_logging", "tail"]

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_HUMAN = "%(asctime)s %(levelname)s %(name)s: %(message)s"


class JsonLines(logging.Formatter):
    """One JSON object a line: time, level, logger, message, then the record's own extras."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, tz=UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= {key: value for key, value in vars(record).items() if key not in _STANDARD}
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


def configure_logging(file: Path) -> None:
    """Send INFO and above to stderr and to `file`. LORASWEEP_LOG=json|human overrides the look of stderr."""
    human = os.environ.get("LORASWEEP_LOG", "human" if sys.stderr.isatty() else "json") == "human"
    plain = logging.Formatter(_HUMAN)
    stream = logging.StreamHandler(sys.stderr)
    stream.setFormatter(plain if human else JsonLines())
    copy = logging.FileHandler(file, encoding="utf-8")
    copy.setFormatter(plain)
    logging.basicConfig(level=logging.INFO, handlers=[stream, copy], force=True)
    # These announce each request and each shard; their warnings still come through.
    for noisy in ("httpx", "httpcore", "urllib3", "botocore", "datasets", "absl"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def tail(file: Path, *, limit_bytes: int = 4096) -> str:
    """The last lines of `file`, at most `limit_bytes`; the size that a Kubernetes termination message may have."""
    if not file.exists():
        return ""
    with file.open("rb") as stream:
        stream.seek(max(0, file.stat().st_size - limit_bytes))
        return stream.read().decode(errors="replace")
