"""A child process, with its time and its memory."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from packed.settings import ROOT

__all__ = ["BenchmarkError", "Ran", "run"]

_TAIL = 3000  # characters of a log that are shown


class BenchmarkError(Exception):
    """There is nothing to report; the message says why, and what to do."""


class Ran(NamedTuple):
    """What a process cost."""

    seconds: float
    """From before it was started until it was gone."""
    peak_bytes: int
    """Most memory that it held."""


def run(module: str, *arguments: str, log: Path) -> Ran:
    """`python -m module` in this environment, to its end. Raises BenchmarkError with the end of its log."""
    command = [sys.executable, "-m", module, *arguments]
    path = os.pathsep.join([str(ROOT / "benchmarks"), str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": path}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # or what was not compiled before is, in every process again
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        began = time.monotonic()
        child = subprocess.Popen(command, stdout=output, stderr=output, env=environment)
        # Of this child alone; getrusage(RUSAGE_CHILDREN) would give the largest of all so far.
        _, status, usage = os.wait4(child.pid, 0)
        seconds = time.monotonic() - began
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        tail = log.read_text(errors="replace")[-_TAIL:]
        raise BenchmarkError(f"`python -m {module} {_shown(arguments)}` ended with {child.returncode}:\n{tail}")
    unit = 1 if sys.platform == "darwin" else 1024  # getrusage(2)
    return Ran(seconds, usage.ru_maxrss * unit)


def _shown(arguments: Sequence[str]) -> str:
    return " ".join(arguments)
