"""What the controller may do in its namespace: the one list behind the chart's Role, preflight and the documentation.

Nothing here reaches beyond one namespace. To create Jobs is to run any image with any Secret and ServiceAccount of that
namespace, so a sweep belongs into a namespace of its own.
"""

from __future__ import annotations

from typing import NamedTuple

from controller.kube.api import Resource

__all__ = ["CONFIG_MAPS", "CONTROLLER_RIGHTS", "EVENTS", "JOBS", "LEASES", "NODES", "PODS", "QUOTAS", "Right"]

JOBS = Resource("apis/batch/v1", "jobs")
PODS = Resource("api/v1", "pods")
EVENTS = Resource("api/v1", "events")
CONFIG_MAPS = Resource("api/v1", "configmaps")
LEASES = Resource("apis/coordination.k8s.io/v1", "leases")
QUOTAS = Resource("api/v1", "resourcequotas")
NODES = Resource("api/v1", "nodes", namespaced=False)


class Right(NamedTuple):
    """One rule of a Role."""

    resource: Resource
    verbs: tuple[str, ...]
    needed: bool
    """Without it nothing runs; otherwise something is not shown or not checked."""
    purpose: str
    subresource: str | None = None


CONTROLLER_RIGHTS = (
    Right(JOBS, ("get", "list", "watch", "create", "patch", "delete"), True, "one Job per configuration"),
    Right(PODS, ("get", "list", "watch"), True, "why a trial waits, and how it ended"),
    Right(PODS, ("get",), False, "`logs`, and the last lines of a failed trial", subresource="log"),
    Right(CONFIG_MAPS, ("get", "create", "patch"), True, "the run's own object: owner of its Jobs, short status"),
    Right(LEASES, ("get", "create", "update"), True, "one leading controller per run"),
    Right(EVENTS, ("list",), False, "why a Job has no pod: quota, Pod Security"),
    Right(EVENTS, ("create",), False, "the run's story in `kubectl describe`"),
    Right(QUOTAS, ("list",), False, "whether the namespace's quota has room"),
)
