"""The streams of a command: stdout is the product and has to arrive, stderr is the talk and may be lost."""

from __future__ import annotations

import io
import json
import os
import sys
from contextlib import suppress
from typing import Literal

from job.contract.errors import TransientError

__all__ = ["deliver", "deliver_failure", "deliver_json", "give_up_stdout", "prepare_streams", "tell"]


def prepare_streams(*, as_json: bool) -> None:
    """Make them fit for any text.

    A stream that was closed by who started this leads nowhere. Where the encoding lacks a character, text has `?`; JSON
    is UTF-8 wherever it goes (RFC 8259).
    """
    sys.stdin = sys.stdin or _nowhere("r")
    sys.stdout = sys.stdout or _nowhere("w")
    sys.stderr = sys.stderr or _nowhere("w")
    if isinstance(sys.stdout, io.TextIOWrapper):
        if as_json:
            sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace")
        else:
            sys.stdout.reconfigure(errors="replace")


def deliver(text: str) -> None:
    """Write part of the product to stdout, at once.

    Raises BrokenPipeError when the reader has left, TransientError when it cannot be written otherwise.
    """
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as err:
        give_up_stdout()
        raise TransientError(
            f"stdout cannot be written: {err.strerror or err}; make room or send it elsewhere, then run this again"
        ) from err


def deliver_json(value: object) -> None:
    """Write one JSON document to stdout."""
    deliver(json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def deliver_failure(code: int, message: str) -> None:
    """What a script that asked for JSON reads in the place of the product."""
    deliver_json({"ok": False, "exit_code": int(code), "errors": message.splitlines()})


def tell(text: str) -> None:
    """Write to stderr. What cannot be written is lost: no work ends because nobody can hear of it."""
    with suppress(OSError):
        sys.stderr.write(text)
        sys.stderr.flush()


def give_up_stdout() -> None:
    """Let nothing more be written to stdout: Python would try again at its exit, and complain."""
    with suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _nowhere(mode: Literal["r", "w"]) -> io.TextIOWrapper:
    return open(os.devnull, mode, encoding="utf-8")  # noqa: PTH123  (open for as long as the process lives)
