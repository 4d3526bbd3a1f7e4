"""What the end of a submission means: its outcome, and the reason of the trials that it leaves undone. Pure."""

from __future__ import annotations

import signal
from typing import Literal, NamedTuple, assert_never

from controller.backend import Observed
from job.contract.errors import ExitCode, FailureReason, failure_of_exit

__all__ = ["Ending", "ending", "said"]

# Python's own end by SIGTERM, in the tenths of a second before the job has installed its handler.
_DIED_OF_SIGTERM = 128 + signal.SIGTERM


class Ending(NamedTuple):
    """How a submission ended."""

    outcome: Literal["done", "failed", "stopped", "disrupted", "retry"]
    reason: FailureReason | None
    """Of the trials that it leaves undone; None when it is no failure of theirs."""
    message: str


def ending(seen: Observed, *, asked: bool, complete: bool) -> Ending:
    """What an ended submission stands for.

    `asked`: a person or a limit wanted it to end. `complete`: it left each trial with a result or a failure.
    """
    match seen.cause:
        case "exited":
            return _exit(seen, asked=asked, complete=complete)
        case "oom":
            return Ending("failed", "oom", said(seen, "the system killed the process: out of memory"))
        case "evicted":
            return Ending("disrupted", None, said(seen, "evicted"))
        case "lost":
            return Ending("disrupted", None, said(seen, "the process is gone and nobody saw it end"))
        case "deleted" if seen.stopping:
            return _stop(seen, "it ended as it was asked to", asked=asked)
        case "deleted":
            return Ending("failed", "crash", said(seen, f"submission {seen.name!r} was deleted from outside"))
        case "killed":
            return _stop(seen, "killed: it did not end within the grace period", asked=asked)
        case unreachable:
            assert_never(unreachable)


def said(seen: Observed, message: str) -> str:
    """Our sentence, and the backend's own words behind it."""
    return f"{message}: {seen.text}" if seen.text else message


def _exit(seen: Observed, *, asked: bool, complete: bool) -> Ending:
    code = seen.exit_code
    if code == ExitCode.DONE:
        if complete:
            return Ending("done", None, "")
        return Ending("failed", "result_missing", "the process reported success, but the store has no result")
    if code in {ExitCode.STOPPED, _DIED_OF_SIGTERM}:
        return _stop(seen, "stopped by SIGTERM", asked=asked)
    if code == ExitCode.TRY_AGAIN:
        return Ending("retry", "unavailable", said(seen, "the process asked to be tried again (exit 75)"))
    reason = "crash" if code is None else failure_of_exit(code)
    return Ending("failed", reason, said(seen, _exit_text(code)))


def _stop(seen: Observed, message: str, *, asked: bool) -> Ending:
    return Ending("stopped" if asked else "disrupted", None, said(seen, message))


def _exit_text(code: int | None) -> str:
    if code is None:
        return "the process ended and its exit code is unknown"
    if code > 128:
        try:
            return f"the process ended by {signal.Signals(code - 128).name} (exit {code})"
        except ValueError:
            pass
    return f"the process ended with exit {code}"
