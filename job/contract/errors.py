"""The error tree, the closed lists of reasons, and the exit codes; a contract of job, CLI and controller.

Leaves are named by what the person does next. A foreign exception is mapped to one of these where it enters.
"""

from __future__ import annotations

from enum import IntEnum
from typing import ClassVar, Literal, get_args

__all__ = [
    "FAILURE_REASONS",
    "PERMANENT_REASONS",
    "RETRIED_REASONS",
    "ConfigurationError",
    "ConflictError",
    "DataError",
    "DivergedError",
    "ExitCode",
    "FailureReason",
    "GpuMemoryError",
    "HungError",
    "NotFoundError",
    "PreflightError",
    "ResultError",
    "SpecError",
    "StoppedError",
    "SweepError",
    "TransientError",
    "TrialState",
    "UsageError",
    "WaitReason",
    "failure_of_exit",
]

TrialState = Literal["pending", "waiting", "running", "succeeded", "failed", "stopped"]

FailureReason = Literal[
    "usage",  # the job was called wrongly
    "data",  # rows, columns, splits or lengths
    "bug",  # ours
    "configuration",  # model, adapter, device or credentials do not fit
    "gpu_oom",
    "diverged",  # a non-finite loss
    "timeout",  # over trial_timeout_s, or no progress
    "unavailable",  # store, hub or disk did not answer in time (exit 75)
    "oom",  # the kernel or kubelet killed the process for memory
    "crash",  # any other end of the process
    "image",
    "admission",
    "start_timeout",
    "queue_timeout",
    "conflict",  # a foreign object holds the Job's name
    "result_missing",  # the process reported success, the store holds no result
    "result_corrupt",  # a result that does not verify
    "disruptions",  # more than max_disruptions evictions
]
FAILURE_REASONS: tuple[FailureReason, ...] = get_args(FailureReason)

WaitReason = Literal[
    "slot",  # parallelism or devices are taken
    "canary",  # the first trial has to run before the second is submitted
    "starting",
    "backoff",  # before the next attempt
    "paused",
    "no_gpu",
    "unschedulable",  # for any other reason: cores, memory, a taint, a volume
    "quota",
    "image",
    "configuration",  # a Secret, a key or a volume that is not there
    "queued",
    "suspended",
    "node_lost",
    "admission",
]


class ExitCode(IntEnum):
    """Of `python -m job`, the CLI and the controller; 64 to 78 are named as in BSD sysexits.h."""

    DONE = 0
    FINISHED_WITH_FAILURES = 1  # CLI only
    MISTAKE = 2  # CLI only: the spec or the arguments
    USAGE = 64
    DATA = 65
    BUG = 70
    TRY_AGAIN = 75
    CONFIGURATION = 78  # and a refused preflight
    GPU_MEMORY = 79
    DIVERGED = 80
    TIMEOUT = 81
    STOPPED = 85  # by SIGTERM, or a lost lease
    INTERRUPTED = 130  # Ctrl-C


class SweepError(Exception):
    """A failure that a person can act on; its message says what happened, to what, and what to do."""

    exit_code: ClassVar[ExitCode] = ExitCode.BUG
    reason: ClassVar[FailureReason] = "bug"
    shared = False
    """Of a failed trial: the cause is what every trial of the run has, such as its data."""


class SpecError(SweepError):
    """Mend the spec or the arguments."""

    exit_code = ExitCode.MISTAKE
    reason = "usage"


class UsageError(SweepError):
    """The job process was called wrongly."""

    exit_code = ExitCode.USAGE
    reason = "usage"


class DataError(SweepError):
    """Mend the data, the columns, the splits or the lengths."""

    exit_code = ExitCode.DATA
    reason = "data"


class ConfigurationError(SweepError):
    """Mend the model, the adapter options, the device or the credentials."""

    exit_code = ExitCode.CONFIGURATION
    reason = "configuration"


class PreflightError(SweepError):
    """Mend the place where the sweep is to run; nothing was created."""

    exit_code = ExitCode.CONFIGURATION
    reason = "configuration"


class GpuMemoryError(SweepError):
    """Lower the batch, the rank or the length, or take a larger device."""

    exit_code = ExitCode.GPU_MEMORY
    reason = "gpu_oom"


class DivergedError(SweepError):
    """Lower the learning rate; the loss became NaN or infinite."""

    exit_code = ExitCode.DIVERGED
    reason = "diverged"


class HungError(SweepError):
    """Raise trial_timeout_s, or find out why there was no progress."""

    exit_code = ExitCode.TIMEOUT
    reason = "timeout"


class TransientError(SweepError):
    """Try again later; nothing needs mending."""

    exit_code = ExitCode.TRY_AGAIN
    reason = "unavailable"


class StoppedError(SweepError):
    """Asked to stop by SIGTERM; what was saved will be resumed."""

    exit_code = ExitCode.STOPPED
    reason = "crash"  # never written: a stop is not a failure


class ConflictError(SweepError):
    """Something that is not ours holds the place; look at it before anything else."""

    exit_code = ExitCode.FINISHED_WITH_FAILURES
    reason = "conflict"


class ResultError(SweepError):
    """A stored document that cannot be trusted; `lorasweep retry` makes it anew."""

    exit_code = ExitCode.FINISHED_WITH_FAILURES
    reason = "result_corrupt"


class NotFoundError(SweepError):
    """The store holds no object of that key."""

    exit_code = ExitCode.MISTAKE
    reason = "result_missing"


_BY_EXIT: dict[int, FailureReason] = {
    ExitCode.USAGE: "usage",
    ExitCode.DATA: "data",
    ExitCode.BUG: "bug",
    ExitCode.TRY_AGAIN: "unavailable",
    ExitCode.CONFIGURATION: "configuration",
    ExitCode.GPU_MEMORY: "gpu_oom",
    ExitCode.DIVERGED: "diverged",
    ExitCode.TIMEOUT: "timeout",
}

# Any other reason would fail in the same way again with the same input, and is never retried unchanged.
RETRIED_REASONS: frozenset[FailureReason] = frozenset({"unavailable", "crash", "result_missing", "result_corrupt"})
PERMANENT_REASONS: frozenset[FailureReason] = frozenset(FAILURE_REASONS) - RETRIED_REASONS


def failure_of_exit(code: int) -> FailureReason:
    """The reason that an exit code of the job stands for; `crash` for any that is not in the contract."""
    return _BY_EXIT.get(code, "crash")
