"""An in-memory Backend whose processes end when a test says so, and wrappers that break it in Sieve's three ways.

Sieve (Sun et al., OSDI 2022) finds controller bugs by intermediate state (crash between two writes), stale state (an
old view of the world) and unobserved state (a change that nobody was told of).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from controller.backend import Backend, EndCause, Observed, Submission
from job.contract.errors import ConflictError, TransientError


@dataclass
class FakeBackend:
    """Submissions that wait, run and end by hand."""

    now: Callable[[], datetime]
    slots: int = 2
    outlives: bool = False
    foreign: set[str] = field(default_factory=set)
    """Names that someone else's objects have."""
    seen: dict[str, Observed] = field(default_factory=dict)
    requests: dict[str, Submission] = field(default_factory=dict)
    submits: int = 0
    """Calls that made something."""
    troubles: list[TransientError] = field(default_factory=list)
    """What the next looks get instead of an answer."""
    after_effect: Callable[[], None] = lambda: None
    """Called when something was changed, before the caller hears of it."""

    @property
    def capacity(self) -> int:
        return self.slots

    @property
    def outlives_controller(self) -> bool:
        return self.outlives

    def observe(self) -> Sequence[Observed]:
        if self.troubles:
            raise self.troubles.pop()
        return tuple(self.seen.values())

    def submit(self, submission: Submission) -> None:
        if submission.name in self.foreign:
            raise ConflictError(f"Job {submission.name!r} is not ours; remove it or choose another name")
        if submission.name in self.seen:
            return
        self.submits += 1
        self.requests[submission.name] = submission
        self.seen[submission.name] = Observed(
            name=submission.name,
            group_id=submission.group_id,
            number=submission.number,
            trial_ids=submission.trial_ids,
            state="waiting",
            wait_reason="starting",
            submitted_at=self.now(),
            scheduled_at=self.now(),
        )
        self.after_effect()

    def stop(self, name: str) -> None:
        if name in self.seen and self.seen[name].live:
            self.seen[name] = replace(self.seen[name], stopping=True)
            self.after_effect()

    def kill(self, name: str) -> None:
        self.end(name, exit_code=137, cause="killed")

    def forget(self, name: str) -> None:
        if name in self.seen and not self.seen[name].live:
            del self.seen[name]
            self.after_effect()

    def logs(self, name: str, *, limit_bytes: int) -> bytes | None:
        return f"log of {name}\n".encode()[:limit_bytes] if name in self.seen else None

    def start(self, name: str) -> str:
        """The process begins; gives its attempt."""
        attempt = f"{name}-p"
        self.seen[name] = replace(self.seen[name], state="running", attempt=attempt, started_at=self.now())
        return attempt

    def end(self, name: str, *, exit_code: int | None = 0, cause: EndCause = "exited") -> None:
        """The process ends, or what waits is thrown out."""
        if name in self.seen and self.seen[name].live:
            self.seen[name] = replace(
                self.seen[name], state="ended", exit_code=exit_code, cause=cause, ended_at=self.now(), log_tail="tail"
            )

    @property
    def live(self) -> list[Observed]:
        return [seen for seen in self.seen.values() if seen.live]


class Crash(BaseException):
    """As SIGKILL: nothing catches it."""


class CrashAfter:
    """Lets the first `calls` effects through, then dies after the next: its effect is there, its reply is not."""

    def __init__(self, calls: int) -> None:
        self.left = calls

    def count(self) -> None:
        """To be called after an effect. Raises Crash when the time has come."""
        self.left -= 1
        if self.left < 0:
            raise Crash


class Stale:
    """A Backend whose view is as old as its last refresh, while its effects are real."""

    def __init__(self, inner: FakeBackend) -> None:
        self._inner = inner
        self._view: tuple[Observed, ...] = ()

    def refresh(self) -> None:
        self._view = tuple(self._inner.observe())

    @property
    def capacity(self) -> int:
        return self._inner.capacity

    @property
    def outlives_controller(self) -> bool:
        return self._inner.outlives_controller

    def observe(self) -> Sequence[Observed]:
        return self._view

    def submit(self, submission: Submission) -> None:
        self._inner.submit(submission)

    def stop(self, name: str) -> None:
        self._inner.stop(name)

    def kill(self, name: str) -> None:
        self._inner.kill(name)

    def forget(self, name: str) -> None:
        self._inner.forget(name)

    def logs(self, name: str, *, limit_bytes: int) -> bytes | None:
        return self._inner.logs(name, limit_bytes=limit_bytes)


class Deaf(Stale):
    """A Backend that hears of nothing but its own writes, until it lists everything again every few looks."""

    def __init__(self, inner: FakeBackend, *, list_every: int = 10) -> None:
        super().__init__(inner)
        self._list_every = list_every
        self._looks = 0

    def observe(self) -> Sequence[Observed]:
        if self._looks % self._list_every == 0:
            self.refresh()
        self._looks += 1
        return super().observe()

    def submit(self, submission: Submission) -> None:
        super().submit(submission)
        self._note(submission.name)

    def stop(self, name: str) -> None:
        super().stop(name)
        self._note(name)

    def forget(self, name: str) -> None:
        super().forget(name)
        self._note(name)

    def _note(self, name: str) -> None:
        others = tuple(seen for seen in self._view if seen.name != name)
        written = self._inner.seen.get(name)
        self._view = others if written is None else (*others, written)


_: type[Backend] = FakeBackend
_deaf: type[Backend] = Deaf
_stale: type[Backend] = Stale
