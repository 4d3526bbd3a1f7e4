"""What a process of `python -m job --check` found, read from its log, whether of a pod or of a local child. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import get_args

from job.contract.checks import Check, Outcome
from job.contract.errors import ExitCode

__all__ = ["canary_checks"]

_OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)


def canary_checks(log: bytes, *, exit_code: int | None, ended: str) -> tuple[Check, ...]:
    """Each finding with its place in front, then the process's own end, where the findings do not explain it.

    `ended` says in words how the process ended.
    """
    found = tuple(_findings(log))
    explained = exit_code == ExitCode.DONE or any(check.outcome == "failed" for check in found)
    if explained and found:
        return found
    code = "without an exit code" if exit_code is None else f"with exit code {exit_code}"
    said = f" ({ended})" if ended else ""
    text = f"its process ended {code}{said} and did not say why; look at its log, or at the image it runs in"
    return (*found, Check("canary", "failed", text, passing=exit_code == ExitCode.TRY_AGAIN))


def _findings(log: bytes) -> Iterator[Check]:
    for line in log.splitlines():
        try:
            said = json.loads(line)
            found = said["check"]
            name, outcome, text, passing = (found[key] for key in ("name", "outcome", "text", "passing"))
        except (ValueError, KeyError, TypeError):  # other lines of the log, of libraries too
            continue
        if outcome in _OUTCOMES:
            yield Check(f"canary: {name}", outcome, str(text), passing=bool(passing))
