"""Jobs, pods and events as an API server of Kubernetes 1.37 shows them, put together from a few words."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

from fake_sweep import NOW
from submissions import submission

from controller.kube.identity import Owner, RunPlace, annotations_of, labels_of
from controller.kube.objects import EventObject, JobObject, PodObject
from controller.kube.sighting import Sighting, sightings
from controller.names import Naming

__all__ = [
    "JOB_UID",
    "NAME",
    "NODE",
    "PLACE",
    "as_json",
    "at",
    "condition",
    "event",
    "job",
    "meet",
    "pod",
    "scheduled",
    "stamp",
    "terminated",
    "waiting",
]

PLACE = RunPlace(Naming("s3://bucket/runs", "demo", "main"), "sweeps", Owner("lorasweep-demo-main", "owner-1"))
NAME = submission().name
NODE = "gpu-7"
JOB_UID = "4f6b2c1e-0000-4000-8000-000000000001"

Json = dict[str, Any]


def as_json(found: object) -> Json:
    """As it goes over the wire."""
    read: Json = json.loads(json.dumps(found, allow_nan=False))
    return read


def at(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def stamp(seconds: float) -> str:
    return at(seconds).strftime("%Y-%m-%dT%H:%M:%SZ")


def condition(kind: str, status: str = "True", *, reason: str = "", message: str = "", seconds: float = 5) -> Json:
    found = {"type": kind, "status": status, "lastProbeTime": None, "lastTransitionTime": stamp(seconds)}
    return found | ({"reason": reason} if reason else {}) | ({"message": message} if message else {})


def job(
    *conditions: Json,
    suspend: bool = False,
    queue: str | None = None,
    annotations: dict[str, str] | None = None,
    deleting: bool = False,
    uid: str = JOB_UID,
    seconds: float = 0,
) -> Json:
    """The Job of the first submission."""
    asked = submission()
    labels = labels_of(asked, PLACE.naming) | ({"kueue.x-k8s.io/queue-name": queue} if queue else {})
    metadata: Json = {
        "name": NAME,
        "namespace": PLACE.namespace,
        "uid": uid,
        "resourceVersion": "4711",
        "generation": 1,
        "creationTimestamp": stamp(seconds),
        "labels": labels,
        "annotations": annotations_of(asked, PLACE.naming) | (annotations or {}),
        "ownerReferences": [
            {"apiVersion": "v1", "kind": "ConfigMap", "name": PLACE.owner.name, "uid": PLACE.owner.uid}
        ],
        "managedFields": [{"manager": "lorasweep", "operation": "Update", "fieldsV1": {"f:spec": {}}}],
    }
    if deleting:
        metadata |= {"deletionTimestamp": stamp(60), "deletionGracePeriodSeconds": 0, "finalizers": ["orphan"]}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": metadata,
        "spec": {"parallelism": 1, "completions": 1, "backoffLimit": 0, "suspend": suspend, "manualSelector": None},
        "status": {"conditions": list(conditions) or None, "terminating": 0, "ready": 0},
    }


def scheduled(seconds: float = 2) -> Json:
    return condition("PodScheduled", seconds=seconds)


def waiting(reason: str, message: str = "") -> Json:
    return {"waiting": {"reason": reason} | ({"message": message} if message else {})}


def running(seconds: float = 10) -> Json:
    return {"running": {"startedAt": stamp(seconds)}}


def terminated(
    exit_code: int, reason: str = "Error", *, message: str = "", began: float | None = 10, ended: float | None = 100
) -> Json:
    """`began` 1970 where the container could not be started, None where the kubelet does not know."""
    found = {
        "exitCode": exit_code,
        "reason": reason,
        "startedAt": None if began is None else "1970-01-01T00:00:00Z" if began == 1970 else stamp(began),
        "finishedAt": None if ended is None else stamp(ended),
        "containerID": "containerd://0123",
    }
    return {"terminated": found | ({"message": message} if message else {})}


def pod(
    *conditions: Json,
    phase: str = "Pending",
    state: Json | None = None,
    init: Json | None = None,
    number: int = 1,
    node: str = NODE,
    reason: str = "",
    message: str = "",
    deleted_at: float | None = None,
    seconds: float = 1,
) -> Json:
    """The Job's pod of this number; the container's state is None until a kubelet has the pod."""
    asked = submission()
    status: Json = {"phase": phase, "conditions": list(conditions), "qosClass": "Burstable"}
    if state is not None:
        name_of = {"name": "trial", "image": "registry/job:1", "ready": "running" in state, "restartCount": 0}
        status["containerStatuses"] = [name_of | {"state": state, "lastState": {}, "started": "running" in state}]
    if init is not None:
        status["initContainerStatuses"] = [{"name": "fetch", "restartCount": 0, "state": init, "lastState": {}}]
    if reason:
        status |= {"reason": reason, "message": message}
    metadata: Json = {
        "name": f"{NAME}-x7k2{number}",
        "namespace": PLACE.namespace,
        "uid": f"pod-{number}",
        "resourceVersion": str(5000 + number),
        "creationTimestamp": stamp(seconds),
        "labels": labels_of(asked, PLACE.naming) | {"batch.kubernetes.io/controller-uid": JOB_UID},
        "annotations": annotations_of(asked, PLACE.naming) | {"lorasweep.io/request": "{}" * 1000, "other": "x"},
        "ownerReferences": [
            {"apiVersion": "batch/v1", "kind": "Job", "name": NAME, "uid": JOB_UID, "controller": True}
        ],
        "finalizers": ["batch.kubernetes.io/job-tracking"],
    }
    if deleted_at is not None:
        metadata |= {"deletionTimestamp": stamp(deleted_at), "deletionGracePeriodSeconds": 120}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": {
            "containers": [
                {
                    "name": "trial",
                    "image": "registry/job:1",
                    "resources": {
                        "limits": {"memory": "8Gi", "nvidia.com/gpu": "1"},
                        "requests": {"cpu": "2", "memory": "8Gi", "nvidia.com/gpu": "1"},
                    },
                }
            ],
            **(
                {"nodeName": node}
                if any(one["type"] == "PodScheduled" and one["status"] == "True" for one in conditions)
                else {}
            ),
        },
        "status": status,
    }


def event(
    reason: str,
    message: str,
    *,
    about: str = JOB_UID,
    kind: str = "Warning",
    seconds: float = 20,
    first: float | None = None,
) -> Json:
    """As the older recorder writes it (Job controller, kubelet)."""
    return {
        "metadata": {"name": f"x.{seconds}", "namespace": PLACE.namespace, "creationTimestamp": stamp(seconds)},
        "involvedObject": {"kind": "Job" if about == JOB_UID else "Pod", "uid": about, "name": NAME},
        "reason": reason,
        "message": message,
        "type": kind,
        "eventTime": None,
        "firstTimestamp": stamp(seconds if first is None else first),
        "lastTimestamp": stamp(seconds),
        "count": 1,
    }


def meet(
    job_json: Json | None, pods: Sequence[Json] = (), events: Iterable[Json] = (), *, gone: Iterable[str] = ()
) -> Sighting:
    """The sighting of the first submission."""
    found = sightings(
        [] if job_json is None else [JobObject.read(job_json)],
        [PodObject.read(one) for one in pods],
        [EventObject.read(one) for one in events],
        gone=frozenset(gone),
    )
    assert len(found) == 1
    return found[0]
