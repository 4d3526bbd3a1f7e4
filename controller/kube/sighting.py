"""Everything that is known of one submission in the cluster: its Job, its pods and what was said about them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from controller.kube.identity import DISRUPTED, RECORDED, STOP, Identity, identity_of
from controller.kube.objects import EventObject, JobObject, PodObject, Terminated
from controller.kube.pod_template import CONTAINER

__all__ = ["UNSEEN", "Sighting", "begun", "sightings", "terminated"]

UNSEEN = "ContainerStatusUnknown"
"""The kubelet's, with exit 137 and no times, for a container that ran and was not found any more."""
_BEGINNING = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True)
class Sighting:
    """One submission; objects as they were last seen."""

    identity: Identity
    job: JobObject | None
    """None: only pods of it are left."""
    pods: tuple[PodObject, ...]
    """The oldest first."""
    events: tuple[EventObject, ...]
    """About the Job or one of its pods."""
    gone: frozenset[str]
    """UIDs of those among them that the API server has no longer."""

    @property
    def living_pods(self) -> tuple[PodObject, ...]:
        """Pods that run or may still start. One that the API server has forgotten is dead, whatever its phase was."""
        return tuple(pod for pod in self.pods if not pod.over and pod.uid not in self.gone)

    @property
    def newest_begun(self) -> PodObject | None:
        """The newest pod of which a process has run."""
        return next((pod for pod in reversed(self.pods) if begun(pod)), None)

    @property
    def job_gone(self) -> bool:
        return self.job is None or self.job.metadata.uid in self.gone

    @property
    def stopping(self) -> bool:
        """Whether it was asked to stop."""
        return self.job is not None and STOP in self.job.metadata.annotations

    def about(self, uid: str) -> tuple[EventObject, ...]:
        """Events of one object, the oldest first."""
        return tuple(sorted((event for event in self.events if event.about == uid), key=_said_at))

    def disrupted(self, *, but: PodObject | None) -> frozenset[str]:
        """UIDs of the pods that ended without ending the Job, including those that only the Job still remembers.

        `but` is the pod that counts: the one that lives, or the one that ended the Job.
        """
        written = "" if self.job is None else self.job.metadata.annotations.get(DISRUPTED, "")
        living = {pod.uid for pod in self.living_pods}
        ended = {pod.uid for pod in self.pods if begun(pod) and pod.uid not in living}
        return frozenset((ended | set(written.split(","))) - {"", but.uid if but else ""})


def begun(pod: PodObject) -> bool:
    """Whether the trial's process has started in this pod."""
    if (ended := terminated(pod)) is not None:
        # A container that could not be started is "terminated", too, with the time 0 of Unix.
        return ended.reason == UNSEEN or (ended.started_at is not None and ended.started_at.year > 1970)
    return any(one.state.running is not None for one in pod.status.container_statuses if one.name == CONTAINER)


def terminated(pod: PodObject) -> Terminated | None:
    """How the trial's container ended; None while it has not, or was never made."""
    statuses = [one for one in pod.status.container_statuses if one.name == CONTAINER]
    return next((one.state.terminated for one in statuses if one.state.terminated is not None), None)


def sightings(
    jobs: Iterable[JobObject],
    pods: Iterable[PodObject],
    events: Iterable[EventObject] = (),
    *,
    gone: frozenset[str] = frozenset(),
) -> tuple[Sighting, ...]:
    """What is known of every submission of a run, by name.

    Left out are objects without our labels, and Jobs whose end is in the store, unless a pod of them lives. Raises
    PreflightError for objects of another release.
    """
    found: dict[str, _Parts] = {}
    for job in jobs:
        if identity := identity_of(job.metadata):
            found.setdefault(identity.name, _Parts(identity)).jobs.append(job)
    for pod in pods:
        if identity := identity_of(pod.metadata):
            found.setdefault(identity.name, _Parts(identity)).pods.append(pod)
    said = _by_object(events)
    seen = (parts.sighting(said, gone=gone) for _, parts in sorted(found.items()))
    return tuple(one for one in seen if not _is_recorded(one) or one.living_pods)


class _Parts:
    """The objects of one name. There may be two Jobs of it: one that is gone, and its successor."""

    def __init__(self, identity: Identity) -> None:
        self.identity = identity
        self.jobs: list[JobObject] = []
        self.pods: list[PodObject] = []

    def sighting(self, said: Mapping[str, list[EventObject]], *, gone: frozenset[str]) -> Sighting:
        here = sorted(self.jobs, key=lambda job: (job.metadata.uid not in gone, _created(job)))
        pods = sorted(self.pods, key=lambda pod: (_created(pod), pod.uid))
        job = here[-1] if here else None
        uids = [pod.uid for pod in pods] + ([job.metadata.uid] if job else [])
        events = [event for uid in uids for event in said.get(uid, ())]
        ours = gone & set(uids)
        return Sighting(self.identity, job, tuple(pods), tuple(events), ours)


def _by_object(events: Iterable[EventObject]) -> Mapping[str, list[EventObject]]:
    said: dict[str, list[EventObject]] = {}
    for event in events:
        said.setdefault(event.about, []).append(event)
    return said


def _created(found: JobObject | PodObject) -> datetime:
    return found.metadata.creation_timestamp or _BEGINNING


def _said_at(event: EventObject) -> datetime:
    return event.at or _BEGINNING


def _is_recorded(sighting: Sighting) -> bool:
    return sighting.job is not None and RECORDED in sighting.job.metadata.annotations
