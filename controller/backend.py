"""The seam to where submissions run: local processes or Jobs. tests/contract/test_backend.py is its meaning."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

from job.contract.config import Request
from job.contract.errors import TransientError, WaitReason

__all__ = ["Backend", "EndCause", "Observed", "PlaceEndingError", "Submission"]

EndCause = Literal[
    "exited",  # by itself; see exit_code
    "oom",  # the kernel or the kubelet killed it for memory
    "evicted",  # drained, preempted or evicted
    "killed",  # it did not end within the grace period after it was asked to stop
    "deleted",  # someone removed it from outside
    "lost",  # it is gone and nobody saw how: power cut, reboot
]


class PlaceEndingError(TransientError):
    """The place is being removed with all that runs in it. To wait for it is no use: choose another, or come back."""


@dataclass(frozen=True, slots=True)
class Submission:
    """One Job to be: its name says everything about identity, so asking twice makes one."""

    name: str
    number: int
    group_id: str
    request: Request

    @property
    def trial_ids(self) -> tuple[str, ...]:
        return tuple(trial.trial_id for trial in self.request.trials)


@dataclass(frozen=True, slots=True)
class Observed:
    """One submission as the backend sees it now."""

    name: str
    group_id: str
    number: int
    trial_ids: tuple[str, ...]
    state: Literal["waiting", "running", "ended"]
    wait_reason: WaitReason | None = None
    """Of a waiting one."""
    text: str = ""
    """What the backend says about a wait or an end, in its own words."""
    attempt: str | None = None
    """The newest process; None before there was one."""
    stopping: bool = False
    """It was asked to stop."""
    cause: EndCause = "exited"
    """Of an ended one."""
    exit_code: int | None = None
    """0 to 255; 128 + n for signal n; None when unknown."""
    log_tail: str = ""
    """Of an ended one: the last lines it wrote."""
    disruptions: int = 0
    """Processes of it that were evicted or stopped from outside, and replaced by the backend itself."""
    submitted_at: datetime | None = None
    """When it began to wait for a place; again so after each disruption."""
    scheduled_at: datetime | None = None
    """When it got its place; what it waits before is the queue."""
    started_at: datetime | None = None
    ended_at: datetime | None = None

    @property
    def live(self) -> bool:
        """Whether a process of it runs or may still start."""
        return self.state != "ended"


class Backend(Protocol):
    """Where submissions run.

    A submission stays visible to `observe`, ended or not and over restarts of the controller, until `forget`.
    Every method raises TransientError when the backend does not answer and may then be called again; PlaceEndingError,
    which is one, when that is of no use;
    ConfigurationError or PreflightError when it refuses.
    """

    @property
    def capacity(self) -> int:
        """How many submissions can run at once; the rest would wait."""
        ...

    @property
    def outlives_controller(self) -> bool:
        """Whether live submissions go on after the controller has left (Jobs), or are stopped by it (processes)."""
        ...

    def observe(self) -> Sequence[Observed]:
        """Every submission of this run, including what `submit` has just made."""
        ...

    def submit(self, submission: Submission) -> None:
        """Make it, or do nothing when it is there in any state.

        Raises ConflictError when a foreign object has its name.
        """
        ...

    def stop(self, name: str) -> None:
        """Ask a live submission to save and end (SIGTERM); after a grace period it is killed.

        Unknown names are fine.
        """
        ...

    def kill(self, name: str) -> None:
        """End it at once. Unknown names are fine."""
        ...

    def forget(self, name: str) -> None:
        """Remove what is left of an ended submission, after its end is in the store. Unknown names are fine."""
        ...

    def logs(self, name: str, *, limit_bytes: int) -> bytes | None:
        """The last `limit_bytes` of what its newest process wrote; None when there is nothing."""
        ...
