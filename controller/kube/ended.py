"""How a submission ended: the Job's condition, its deciding pod and its exit code, as one cause. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime

from controller.backend import EndCause
from controller.kube.objects import Condition, PodObject, Terminated
from controller.kube.pod_template import CONTAINER
from controller.kube.sighting import UNSEEN, Sighting, terminated

__all__ = ["JobEnd", "end_of"]

# The Job controller's words for a FailJob rule (pkg/controller/job/pod_failure_policy.go, Kubernetes 1.37).
_BY_POLICY = re.compile(rf"Container {CONTAINER} for pod \S+ failed with exit code (\d+) matching")
_KILLED = 137  # 128 + SIGKILL


@dataclass(frozen=True, slots=True)
class JobEnd:
    """An end in the words of the backend's contract."""

    cause: EndCause
    exit_code: int | None
    text: str
    at: datetime | None
    pod: PodObject | None
    """The one that decided it."""


def end_of(sighting: Sighting) -> JobEnd:
    """How a submission ended of which no pod lives, and whose Job is over or gone."""
    pod = sighting.newest_begun or (sighting.pods[-1] if sighting.pods else None)
    last = None if pod is None else terminated(pod)
    job = sighting.job
    condition = None if job is None else job.end
    if condition is None:
        code = None if last is None else last.exit_code
        # With pods alone it is not known who deleted the Job, and whether that was about it or about all of the run.
        return JobEnd("lost" if job is None else "deleted", code, "", _time(None, last), pod)
    if condition.type == "Complete":
        return JobEnd("exited", 0, "" if last is None else last.message.strip(), _time(condition, last), pod)
    if last is None:
        return _without_process(sighting, condition, pod)
    return _with_process(condition, pod, last)


def _with_process(condition: Condition, pod: PodObject | None, last: Terminated) -> JobEnd:
    said = last.message.strip()
    at = _time(condition, last)
    if pod is not None and pod.disruption is not None:
        return JobEnd("evicted", last.exit_code, _disrupted(pod.disruption), at, pod)
    if last.reason == "OOMKilled":
        limit = "" if pod is None else pod.limits(CONTAINER).get("memory", "")
        text = f"OOMKilled at its memory limit of {limit}" if limit else "OOMKilled"
        return JobEnd("oom", last.exit_code, text, at, pod)
    if last.reason == UNSEEN:
        return JobEnd("lost", None, said or UNSEEN, at, pod)
    deleted = pod is not None and pod.metadata.deletion_timestamp is not None
    if last.exit_code == _KILLED and (deleted or condition.reason == "DeadlineExceeded"):
        return JobEnd("killed", last.exit_code, said, at, pod)
    if last.reason in {"StartError", "ContainerCannotRun"}:
        said = f"{last.reason}: {said}"
    return JobEnd("exited", last.exit_code, said, at, pod)


def _without_process(sighting: Sighting, condition: Condition, pod: PodObject | None) -> JobEnd:
    """A Job that failed, and nobody knows the end of a trial's process, or there was none."""
    at, told = _time(condition, None), f"{condition.reason}: {condition.message}"
    if by_policy := _BY_POLICY.search(condition.message):
        return JobEnd("exited", int(by_policy[1]), "", at, pod)
    if pod is None:
        return JobEnd("deleted" if sighting.stopping else "lost", None, told, at, None)
    if before := _failed_before(pod):
        return JobEnd("exited", None, before, at, pod)
    if pod.disruption is not None:
        return JobEnd("evicted", None, _disrupted(pod.disruption), at, pod)
    if pod.status.reason:
        # A kubelet that refuses a pod: UnexpectedAdmissionError (no healthy device), OutOfcpu, NodeAffinity, ...
        return JobEnd("evicted", None, f"{pod.status.reason}: {pod.status.message}", at, pod)
    if pod.metadata.deletion_timestamp is not None or pod.uid in sighting.gone:
        return JobEnd("deleted", None, f"pod {pod.metadata.name!r} was deleted before its process began", at, pod)
    return JobEnd("lost", None, told, at, pod)


def _failed_before(pod: PodObject) -> str:
    """The words about a container that ran before the trial and failed."""
    for status in pod.status.init_container_statuses:
        ended = status.state.terminated
        if ended is not None and ended.exit_code != 0:
            said = f": {ended.message.strip()}" if ended.message.strip() else ""
            return f"container {status.name!r}, which runs before the trial, ended with exit {ended.exit_code}{said}"
    return ""


def _disrupted(condition: Condition) -> str:
    return f"{condition.reason}: {condition.message}" if condition.message else condition.reason


def _time(condition: Condition | None, last: Terminated | None) -> datetime | None:
    """Of the process's end where it is known; the Job's follows seconds later."""
    if last is not None and last.finished_at is not None and last.finished_at.year > 1970:
        return last.finished_at
    return None if condition is None else condition.last_transition_time
