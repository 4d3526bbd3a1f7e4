"""Several who look on, as one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from controller.interrupts import Wish
from controller.reconcile import Conclusion, Watcher
from controller.states import Situation, TrialStatus
from job.contract.errors import TransientError

__all__ = ["Watchers"]


class Watchers(Watcher):
    """Each is told everything, in order."""

    def __init__(self, watchers: Sequence[Watcher]) -> None:
        self._watchers = tuple(watchers)

    def update(self, situation: Situation, statuses: Mapping[str, TrialStatus]) -> None:
        for watcher in self._watchers:
            watcher.update(situation, statuses)

    def trouble(self, error: TransientError, *, since: datetime) -> None:
        for watcher in self._watchers:
            watcher.trouble(error, since=since)

    def leaving(self, wish: Wish, *, live: int) -> None:
        for watcher in self._watchers:
            watcher.leaving(wish, live=live)

    def concluded(self, conclusion: Conclusion) -> None:
        for watcher in self._watchers:
            watcher.concluded(conclusion)

    def looked(self, *, seconds: float) -> None:
        for watcher in self._watchers:
            watcher.looked(seconds=seconds)
