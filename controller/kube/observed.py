"""What a submission looks like to the decision table: waiting, running or ended, and why. Pure.

| Job | newest pod | seen as |
|---|---|---|
| any | lives, its process has not begun | waiting: the scheduler's, kubelet's or node's reason |
| any | its process runs | running; waiting(node_lost) where the node does not answer |
| suspended | none lives | waiting: queued with a Kueue queue, else suspended; ended where it was asked to stop |
| its end is decided | none lives | running, until the Job controller has closed it |
| not over | succeeded, or failed by itself | running, likewise |
| not over | none, or one that is replaced | waiting: quota, admission, or queued |
| Complete, Failed | none lives | ended |
| gone, or being deleted | none lives | ended(deleted) |

A pod that lives comes before all else: while it does, its trials are taken, whatever became of the Job.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Literal, assert_never

from controller.backend import Observed
from controller.kube.ended import end_of
from controller.kube.objects import JobObject, PodObject
from controller.kube.sighting import Sighting, begun, terminated
from controller.kube.waiting import Wait, job_wait, lost_node, pod_wait
from job.contract.errors import ExitCode

__all__ = ["counted_pod", "observed"]


def observed(sighting: Sighting) -> Observed:
    """The submission as it is now."""
    pod = counted_pod(sighting)
    match _phase(sighting):
        case "pod" if pod is not None:
            return _of_pod(sighting, pod)
        case "over":
            return _ended(sighting)
        case "closing":
            return _running(sighting, pod, text="its process has ended; the Job controller closes the Job")
        case _:
            job = sighting.job
            wait = Wait("queued", "") if job is None else job_wait(job, sighting.about(job.metadata.uid))
            return _waiting(sighting, wait, pod=None)


def counted_pod(sighting: Sighting) -> PodObject | None:
    """The pod that the submission stands on: it lives, or its end is the Job's. All others were disrupted."""
    match _phase(sighting):
        case "pod":
            return sighting.living_pods[-1]
        case "over":
            return end_of(sighting).pod
        case "closing":
            return sighting.newest_begun
        case "none":
            return None
        case unreachable:
            assert_never(unreachable)


def _phase(sighting: Sighting) -> Literal["pod", "over", "closing", "none"]:
    """A pod lives; the Job is over; it will be, as its pods have ended; it has to make a pod first."""
    job = sighting.job
    if sighting.living_pods:
        return "pod"
    if job is None or sighting.job_gone or job.end is not None or job.metadata.deletion_timestamp is not None:
        return "over"
    if job.spec.suspend:
        # Asked to stop, and nothing of it runs: it need not be admitted for that.
        return "over" if sighting.stopping else "none"
    return "closing" if job.closing or _ends_the_job(sighting) else "none"


def _ends_the_job(sighting: Sighting) -> bool:
    """Whether the newest pod's end is one that the Job's failure policy does not pass over."""
    if not sighting.pods:
        return False
    pod = sighting.pods[-1]
    last = terminated(pod)
    passed_over = pod.disruption is not None or (last is not None and last.exit_code == ExitCode.STOPPED)
    return pod.uid not in sighting.gone and not (pod.status.phase == "Failed" and passed_over)


def _of_pod(sighting: Sighting, pod: PodObject) -> Observed:
    if not begun(pod):
        return _waiting(sighting, pod_wait(pod, sighting.about(pod.uid)), pod=pod)
    if (lost := lost_node(pod)) is not None:
        return replace(_running(sighting, pod), state="waiting", wait_reason=lost.reason, text=lost.text)
    if pod.disruption is not None:
        return _running(sighting, pod, text=f"being evicted: {pod.disruption.message or pod.disruption.reason}")
    if sighting.job_gone:
        return _running(sighting, pod, text="its Job was deleted; the pod ends")
    return _running(sighting, pod)


def _seen(sighting: Sighting, *, counts: PodObject | None) -> Observed:
    """What is the same in every state; `counts` is the pod that is not a disruption."""
    name, number, group_id, trial_ids = sighting.identity
    newest = sighting.newest_begun
    return Observed(
        name=name,
        group_id=group_id,
        number=number,
        trial_ids=trial_ids,
        state="waiting",
        attempt=None if newest is None else newest.uid,
        stopping=sighting.stopping,
        disruptions=len(sighting.disrupted(but=counts)),
    )


def _waiting(sighting: Sighting, wait: Wait, *, pod: PodObject | None) -> Observed:
    return replace(
        _seen(sighting, counts=pod),
        wait_reason=wait.reason,
        text=wait.text,
        submitted_at=wait.since or _queued_since(sighting, pod),
        scheduled_at=_scheduled_at(pod),
    )


def _running(sighting: Sighting, pod: PodObject | None, *, text: str = "") -> Observed:
    return replace(
        _seen(sighting, counts=pod),
        state="running",
        text=text,
        submitted_at=_queued_since(sighting, pod),
        scheduled_at=_scheduled_at(pod),
        started_at=_started_at(pod),
    )


def _ended(sighting: Sighting) -> Observed:
    end = end_of(sighting)
    return replace(
        _seen(sighting, counts=end.pod),
        state="ended",
        cause=end.cause,
        exit_code=end.exit_code,
        text=end.text.replace("\x00", ""),
        submitted_at=_queued_since(sighting, end.pod),
        scheduled_at=_scheduled_at(end.pod),
        started_at=_started_at(end.pod),
        ended_at=end.at,
    )


def _queued_since(sighting: Sighting, pod: PodObject | None) -> datetime | None:
    """When this wait for a place began: of a pod that replaces an evicted one, when it was made."""
    if pod is not None:
        return pod.metadata.creation_timestamp
    job = sighting.job
    if job is None:
        return None
    times = [job.metadata.creation_timestamp, _suspension(job), *(_ended_at(one) for one in sighting.pods)]
    return max((time for time in times if time is not None), default=None)


def _suspension(job: JobObject) -> datetime | None:
    """When it was suspended or resumed last."""
    found = [one.last_transition_time for one in job.status.conditions if one.type == "Suspended"]
    return found[0] if found else None


def _ended_at(pod: PodObject) -> datetime | None:
    last = terminated(pod)
    return last.finished_at if last is not None else pod.metadata.creation_timestamp


def _scheduled_at(pod: PodObject | None) -> datetime | None:
    found = None if pod is None else pod.condition("PodScheduled")
    return found.last_transition_time if found is not None and found.holds else None


def _started_at(pod: PodObject | None) -> datetime | None:
    if pod is None or not begun(pod):
        return None
    last = terminated(pod)
    if last is not None:
        return last.started_at
    running = (one.state.running for one in pod.status.container_statuses)
    return next((one.started_at for one in running if one is not None), None)
