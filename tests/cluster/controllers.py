"""The Jobs of a namespace: those of controllers and those of trials."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from servers.s3_server import S3Bucket

from cluster.kubectl import KubectlError
from cluster.namespace import Namespace
from cluster.stage import SECRET
from cluster.waiting import wait_for

__all__ = ["controllers", "gpus_of", "log_of", "put_keys", "trial_jobs", "trial_pods", "wait_for_end"]

FINISHED_AFTER_S = 900.0  # two minutes on an idle machine of two cores; the rest is for a busy one
GPU = "nvidia.com/gpu"


def put_keys(namespace: Namespace, bucket: S3Bucket) -> None:
    """The Secret with the bucket's keys."""
    keys = {"AWS_ACCESS_KEY_ID": bucket.server.access_key, "AWS_SECRET_ACCESS_KEY": bucket.server.secret_key}
    namespace.kubectl.create({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": SECRET}, "stringData": keys})


def controllers(namespace: Namespace) -> Sequence[str]:
    """Names of controllers' Jobs, oldest first."""
    found = namespace.kubectl.list_of("jobs", "--selector=app.kubernetes.io/component=controller")
    return [job["metadata"]["name"] for job in sorted(found, key=lambda job: str(job["metadata"]["creationTimestamp"]))]


def trial_jobs(namespace: Namespace) -> Sequence[dict[str, Any]]:
    return namespace.kubectl.list_of("jobs", "--selector=lorasweep.io/group")


def trial_pods(namespace: Namespace) -> Sequence[dict[str, Any]]:
    return namespace.kubectl.list_of("pods", "--selector=lorasweep.io/group")


def gpus_of(template: dict[str, Any]) -> str:
    """How many GPUs a pod asks for, or a template of pods."""
    limits: dict[str, str] = template["spec"]["containers"][0]["resources"].get("limits", {})
    return limits.get(GPU, "0")


def wait_for_end(namespace: Namespace, job: str) -> str:
    """`Complete` or `Failed`: how a controller's Job ended."""

    def look() -> str | None:
        conditions = namespace.kubectl.get("job", job)["status"].get("conditions", [])
        ended = (seen["type"] for seen in conditions if seen["status"] == "True")
        return next((kind for kind in ended if kind in {"Complete", "Failed"}), None)

    return wait_for(f"controller {job} to end", look, deadline_s=FINISHED_AFTER_S)


def log_of(namespace: Namespace, job: str) -> str:
    """What the controller wrote, for messages of failed tests."""
    try:
        return namespace.kubectl("logs", f"job/{job}", "--tail=60")
    except KubectlError as error:
        return str(error)
