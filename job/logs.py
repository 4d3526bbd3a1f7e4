"""Logging of the job: JSON lines in a container, human lines on a terminal, and a copy for the attempt's log.txt."""

from __future__ import annotations

import logging
import os
import sys
from contextlib import suppress
from pathlib import Path

from job.contract.log_lines import JsonLines
from job.contract.notice import NOTICE_VARIABLE, notice_body

__all__ = ["NoticeHandler", "configure_logging", "tail"]

_HUMAN = "%(asctime)s %(levelname)s %(name)s: %(message)s"


class NoticeHandler(logging.Handler):
    """Keeps the newest `notice` that a record brings as an extra (job.contract.notice); an empty one takes it back."""

    def __init__(self, place: Path) -> None:
        super().__init__()
        self._place = place

    def emit(self, record: logging.LogRecord) -> None:
        notice = getattr(record, "notice", None)
        if isinstance(notice, str):
            with suppress(OSError), self._place.open("r+b") as file:
                file.write(notice_body(notice))


def configure_logging(file: Path) -> None:
    """Send INFO and above to stderr and to `file`. LORASWEEP_LOG=json|human overrides the look of stderr."""
    human = os.environ.get("LORASWEEP_LOG", "human" if sys.stderr.isatty() else "json") == "human"
    plain = logging.Formatter(_HUMAN)
    stream = logging.StreamHandler(sys.stderr)
    stream.setFormatter(plain if human else JsonLines())
    copy = logging.FileHandler(file, encoding="utf-8")
    copy.setFormatter(plain)
    handlers: list[logging.Handler] = [stream, copy]
    if place := os.environ.get(NOTICE_VARIABLE):
        handlers.append(NoticeHandler(Path(place)))
    logging.basicConfig(level=logging.INFO, handlers=handlers, force=True)
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
