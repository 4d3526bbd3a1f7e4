"""Log lines on stderr: sentences for a person, or one JSON object a line with LORASWEEP_LOG=json."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping

from job.contract.log_lines import JsonLines

__all__ = ["configure_logging"]


def configure_logging(environ: Mapping[str, str]) -> None:
    """Warnings in words, as progress has its own lines; or everything as JSON for a container's log."""
    as_json = environ.get("LORASWEEP_LOG") == "json"
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines() if as_json else logging.Formatter("%(message)s"))
    # These announce each request, and where they found keys; their warnings still come through.
    for noisy in ("botocore", "httpx", "httpcore", "urllib3") if as_json else ():
        logging.getLogger(noisy).setLevel(logging.WARNING)
    logging.basicConfig(level=logging.INFO if as_json else logging.ERROR, handlers=[handler], force=True)
