"""What a job says to whoever looks on from its own machine when the store cannot carry it. Pure.

A store that takes nothing takes no progress either. So a local backend names a small file in the job's environment,
made before the job starts: writing over it needs no room on a disk that is full by now.
"""

from __future__ import annotations

__all__ = ["NOTICE_BYTES", "NOTICE_VARIABLE", "notice_body", "notice_text"]

NOTICE_VARIABLE = "LORASWEEP_NOTICE"
NOTICE_BYTES = 512


def notice_body(text: str) -> bytes:
    """The whole file for a notice; empty text is no notice."""
    return text.replace("\n", " ").encode()[:NOTICE_BYTES].ljust(NOTICE_BYTES)


def notice_text(body: bytes) -> str:
    """The notice of a file, or what can be read of it."""
    return body[:NOTICE_BYTES].decode(errors="ignore").strip()
