"""Why a submission does not run, in the words of who holds it up: scheduler, kubelet, quota, admission, queue. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from itertools import pairwise
from typing import NamedTuple

from controller.kube.objects import EventObject, JobObject, PodObject
from controller.kube.pod_template import CONTAINER
from job.contract.errors import WaitReason

__all__ = ["Wait", "job_wait", "lost_node", "pod_wait"]

_QUEUE_LABEL = "kueue.x-k8s.io/queue-name"

# Reasons of a container that waits: pkg/kubelet/images/types.go and cri-api's pkg/errors (Kubernetes 1.37).
_IMAGE = frozenset(
    {
        "ErrImageNeverPull",
        "ErrImagePull",
        "ImageInspectError",
        "ImagePullBackOff",
        "InvalidImageName",
        "RegistryUnavailable",
        "SignatureValidationFailed",
    }
)
# pkg/kubelet/kuberuntime/kuberuntime_container.go: a Secret, a key or a user id that does not fit.
_CONFIGURATION = frozenset({"CreateContainerConfigError", "CreateContainerError", "PreCreateHookError"})
# apiserver's pkg/admission/plugin/resourcequota: these pass when others end. `failed quota` does not: it says that the
# pod names no amount for something that the quota counts.
_QUOTA = re.compile(r"exceeded quota|status unknown for quota")
_REFUSED = re.compile(r"is forbidden|denied the request|is invalid|failed calling webhook")
# Of the scheduler about a pod that has no node yet, and of autoscalers that are to bring one.
_BEFORE_A_NODE = frozenset({"FailedScheduling", "NotTriggerScaleUp", "Preempted", "TriggeredScaleUp"})
# A mount that will not come right by itself; a slow attachment may.
_NOT_THERE = re.compile(r"not found|references non-existent|doesn't exist|does not exist")
# Of the Job controller and of Kueue about a suspended Job; any other says why it is not admitted, or was stopped.
_NO_NEWS = frozenset(
    {"CreatedWorkload", "Resumed", "Started", "SuccessfulCreate", "SuccessfulDelete", "Suspended", "UpdatedWorkload"}
)


class Wait(NamedTuple):
    """What a submission waits for."""

    reason: WaitReason
    text: str
    since: datetime | None = None
    """Where it is known to be later than the beginning of all waiting."""


def pod_wait(pod: PodObject, events: Sequence[EventObject]) -> Wait:
    """What a pod waits for whose process has not begun; `events` are about the pod, the oldest first."""
    if (lost := lost_node(pod)) is not None:
        return lost
    scheduled = pod.condition("PodScheduled")
    if scheduled is None or not scheduled.holds:
        if scheduled is None:
            return Wait("queued", "no scheduler has looked at the pod yet")
        if scheduled.reason == "SchedulingGated":
            return Wait("queued", scheduled.message)
        return Wait(_shortage(pod, scheduled.message), scheduled.message or scheduled.reason)
    for status in (*pod.status.init_container_statuses, *pod.status.container_statuses):
        waiting = status.state.waiting
        if waiting is not None and waiting.reason in _IMAGE:
            return Wait("image", _told(waiting.reason, waiting.message))
        if waiting is not None and waiting.reason in _CONFIGURATION:
            return Wait("configuration", _told(waiting.reason, waiting.message))
    return _starting(events)


def job_wait(job: JobObject, events: Sequence[EventObject]) -> Wait:
    """What a Job without a living pod waits for; `events` are about the Job, the oldest first."""
    if job.spec.suspend:
        return _suspended(job, events)
    tries = [event for event in events if event.reason in {"FailedCreate", "SuccessfulCreate"}]
    if not tries or tries[-1].reason == "SuccessfulCreate":
        return Wait("queued", "the Job controller has not made its pod yet")
    newest = _refusal(tries[-1])
    for newer, older in pairwise(reversed(tries)):
        if older.reason != "FailedCreate" or _refusal(older).reason != newest.reason:
            # It waited for something else before; this wait is to be measured by itself.
            return newest._replace(since=newer.began_at)
    return newest


def lost_node(pod: PodObject) -> Wait | None:
    """That nobody hears of the pod's node any more; None while there is no sign of it.

    The node controller then sets Ready to False on the kubelet's behalf, and cannot know more (MarkPodsNotReady in
    pkg/controller/util/node): a kubelet that lives gives a reason, and takes ContainersReady along. A pod without a
    process has never been ready; it is deleted after the toleration time, which a living kubelet does at once.
    """
    ready, containers = pod.condition("Ready"), pod.condition("ContainersReady")
    silent = ready is not None and ready.status == "False" and not ready.reason and containers and containers.holds
    running = any(one.state.running is not None for one in pod.status.container_statuses)
    tainted = pod.disruption is not None and pod.disruption.reason == "DeletionByTaintManager" and not running
    if not (silent or tainted or pod.status.phase == "Unknown"):
        return None
    node = pod.spec.node_name
    return Wait(
        "node_lost",
        f"node {node!r} does not answer; the trial goes on when it does. If it is gone for good, kubectl delete node "
        f"{node}: the trial then starts elsewhere from its checkpoint",
    )


def _refusal(event: EventObject) -> Wait:
    """Why the API server took no pod of the Job. Anything else than a refusal passes, and waits like a quota."""
    text = event.message.removeprefix("(combined from similar events): ").removeprefix("Error creating: ")
    if _QUOTA.search(text):
        return Wait("quota", text)
    return Wait("admission" if _REFUSED.search(text) else "queued", text)


def _shortage(pod: PodObject, message: str) -> WaitReason:
    """`no_gpu` where the scheduler misses the device that the pod asks for."""
    devices = [name for name in pod.limits(CONTAINER) if "/" in name]
    return "no_gpu" if any(f"Insufficient {name}" in message for name in devices) else "unschedulable"


def _starting(events: Sequence[EventObject]) -> Wait:
    """A pod with a node: pulling, mounting, making its sandbox. What the scheduler said before is over."""
    since = [event for event in events if event.reason not in _BEFORE_A_NODE]
    if not since:
        return Wait("starting", "")
    newest = since[-1]
    if newest.type != "Warning":
        return Wait("starting", newest.message if newest.reason == "Pulling" else "")
    missing = newest.reason in {"FailedMount", "FailedAttachVolume"} and _NOT_THERE.search(newest.message)
    return Wait("configuration" if missing else "starting", _told(newest.reason, newest.message))


def _suspended(job: JobObject, events: Sequence[EventObject]) -> Wait:
    queue = job.metadata.labels.get(_QUEUE_LABEL)
    if queue is None:
        return Wait("suspended", f"somebody suspended Job {job.metadata.name!r}; set spec.suspend to false to go on")
    told = next((event.message for event in reversed(events) if event.reason not in _NO_NEWS), "")
    return Wait("queued", told or f"waiting for admission to Kueue's queue {queue!r}")


def _told(reason: str, message: str) -> str:
    return f"{reason}: {message}" if message else reason
