"""What the cluster says in events about submissions that wait."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import islice

from controller.kube.api import KubeApi
from controller.kube.objects import EventObject
from controller.kube.rights import EVENTS
from controller.kube.sighting import Sighting, begun
from job.contract.errors import PreflightError

__all__ = ["Told"]

_EVENTS_EVERY = timedelta(seconds=10)
_EVENTS_AT_ONCE = 20


class Told:
    """What the cluster says about what waits. Only events tell that a quota or an admission refuses the pod of a Job,
    and that a volume of a pod's is not there.
    """

    def __init__(self, api: KubeApi, now: Callable[[], datetime]) -> None:
        self._api = api
        self._now = now
        self._asked_at: dict[str, datetime] = {}
        self._events: dict[str, tuple[EventObject, ...]] = {}

    def about(self, found: Sequence[Sighting]) -> Mapping[str, tuple[EventObject, ...]]:
        """Events by submission; asked anew every few seconds, for the first of a crowd that all wait alike."""
        waiting = {one.identity.name: uid for one in found if (uid := _waits(one)) is not None}
        self._events = {name: events for name, events in self._events.items() if name in waiting}
        self._asked_at = {name: at for name, at in self._asked_at.items() if name in waiting}
        now = self._now()
        for name, uid in islice(waiting.items(), _EVENTS_AT_ONCE):
            asked_at = self._asked_at.get(name)
            if asked_at is not None and now - asked_at < _EVENTS_EVERY:
                continue
            self._asked_at[name] = now
            try:
                listing = self._api.list(EVENTS, fields=f"involvedObject.uid={uid}")
            except PreflightError:  # events may not be listed
                continue
            self._events[name] = tuple(EventObject.read(event) for event in listing.objects)
        return self._events


def _waits(sighting: Sighting) -> str | None:
    """UID of what has not come to a process yet: the newest living pod, or a Job without one; None when neither."""
    if sighting.living_pods:
        pod = sighting.living_pods[-1]
        return None if begun(pod) else pod.uid
    job = sighting.job
    return None if job is None or sighting.job_gone or job.end is not None else job.metadata.uid
