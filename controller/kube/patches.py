"""The changes that a controller makes to a Job after it was made, as merge patches. Pure.

- Stop: the Job controller ends what runs (SIGTERM, grace period, SIGKILL) and closes the Job, as a deadline of one
  second does. Unlike a deletion, that leaves a Job whose end can be read; unlike spec.suspend, it is not Kueue's. A
  suspended Job has no clock: it is marked, and then deleted when its end is in the store.
- Recorded: its end is in the store. It stays for people until the TTL is over, and counts for nothing.
- Disrupted: a pod was evicted or stopped from outside and replaced. Such pods vanish from the API, so the Job notes
  them; their number is bounded by the sweep's max_disruptions.
"""

from __future__ import annotations

from datetime import datetime

from controller.kube.identity import DISRUPTED, RECORDED, STOP
from controller.kube.objects import JsonObject
from controller.kube.observed import counted_pod
from controller.kube.sighting import Sighting

__all__ = ["disrupted_patch", "recorded_patch", "stop_patch"]


def stop_patch(*, now: datetime) -> JsonObject:
    """Ask a Job to end; its pods get their grace period."""
    return {"metadata": {"annotations": {STOP: now.isoformat()}}, "spec": {"activeDeadlineSeconds": 1}}


def recorded_patch(*, now: datetime, ttl_s: int) -> JsonObject:
    """Say that the end of a finished Job is in the store, and let the cluster remove it later."""
    return {"metadata": {"annotations": {RECORDED: now.isoformat()}}, "spec": {"ttlSecondsAfterFinished": ttl_s}}


def disrupted_patch(sighting: Sighting) -> JsonObject | None:
    """Note pods of a live Job that were disrupted since the last note; None when there is nothing new."""
    job = sighting.job
    if job is None or sighting.job_gone or job.end is not None:
        return None
    found = sorted(sighting.disrupted(but=counted_pod(sighting)))
    written = job.metadata.annotations.get(DISRUPTED, "")
    note = ",".join(found)
    return None if not found or note == written else {"metadata": {"annotations": {DISRUPTED: note}}}
