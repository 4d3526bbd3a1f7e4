"""Jobs that a quota on Jobs leaves no room for: they wait like any other, and say so, though there is no object yet.

Only this process remembers them. Another controller submits them anew, and hears the same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from controller.backend import Observed, Submission
from controller.kube.api import QuotaError
from job.contract.errors import ConflictError

__all__ = ["Refusals"]

_AGAIN_AFTER = timedelta(seconds=10)


@dataclass(frozen=True, slots=True)
class _Refusal:
    submission: Submission
    text: str
    since: datetime
    stopping: bool = False


class Refusals:
    """Submissions that were refused, by name."""

    def __init__(self, create: Callable[[Submission], None], now: Callable[[], datetime]) -> None:
        """`create` raises QuotaError as long as there is no room."""
        self._create = create
        self._now = now
        self._refused: dict[str, _Refusal] = {}
        self._asked_at: datetime | None = None

    def add(self, submission: Submission, error: QuotaError) -> None:
        """Remember it, and ask again later."""
        now = self._asked_at = self._now()
        known = self._refused.get(submission.name)
        self._refused[submission.name] = _Refusal(submission, str(error), now if known is None else known.since)

    def ask_again(self) -> None:
        """Make what there is room for by now; one request is enough to learn that there is none."""
        now = self._now()
        if self._asked_at is None or now - self._asked_at < _AGAIN_AFTER:
            return
        for name, refusal in tuple(self._refused.items()):
            if refusal.stopping:
                continue
            try:
                self._create(refusal.submission)
            except QuotaError as err:
                self.add(refusal.submission, err)
                return
            except ConflictError:
                pass  # it is there, or another of its name: the next submit looks which
            del self._refused[name]

    def stop(self, name: str) -> None:
        """It is no longer wanted, and has thereby ended."""
        if name in self._refused:
            self._refused[name] = replace(self._refused[name], stopping=True)

    def forget(self, name: str) -> None:
        """Unknown names are fine."""
        self._refused.pop(name, None)

    def observed(self) -> tuple[Observed, ...]:
        """Each as the decision table sees it."""
        return tuple(_observed(refusal) for refusal in self._refused.values())


def _observed(refusal: _Refusal) -> Observed:
    asked = refusal.submission
    seen = Observed(
        name=asked.name,
        group_id=asked.group_id,
        number=asked.number,
        trial_ids=asked.trial_ids,
        state="waiting",
        wait_reason="quota",
        text=refusal.text,
        submitted_at=refusal.since,
    )
    return replace(seen, state="ended", cause="deleted", stopping=True) if refusal.stopping else seen
