"""Whether a namespace will take a sweep: asked before anything is created, with a remedy for everything that is not so.

What cannot be asked with the rights at hand is said to be not checked; it is no failure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from email.utils import parsedate_to_datetime
from typing import Any

from controller.kube.api import KubeApi, Object, QuotaError, Resource
from controller.kube.quantity import quantity
from controller.kube.rights import CONTROLLER_RIGHTS, JOBS, NODES, QUOTAS, Right
from job.contract.checks import Check
from job.contract.errors import ConfigurationError, NotFoundError, PreflightError, SweepError

__all__ = ["check_cluster", "check_rights"]

_REVIEWS = Resource("apis/authorization.k8s.io/v1", "selfsubjectaccessreviews", namespaced=False)
_NAMESPACES = Resource("api/v1", "namespaces", namespaced=False)
_SKEW_LIMIT_S = 300.0  # S3 refuses requests that are 15 minutes off; a third of that deserves a word
# What the design rests on. A server that is too old drops the fields it does not know, without a word.
_KEPT_FIELDS = ("podFailurePolicy", "podReplacementPolicy", "backoffLimit")


def check_cluster(
    api: KubeApi, *, largest: Object, gpus: int, gpu_resource: str, now: Callable[[], datetime]
) -> Iterator[Check]:
    """What the cluster says to the largest trial; to be asked once the rights are there.

    `largest` is the manifest of the trial that asks for most; `gpus` is what it asks for. Raises TransientError when
    the API server does not answer.
    """
    yield _clock(api, now=now)
    yield _dry_run(api, largest)
    yield _quota(api, gpus=gpus, gpu_resource=gpu_resource)
    yield _nodes(api, gpus=gpus, gpu_resource=gpu_resource)


def check_rights(api: KubeApi) -> Iterator[Check]:
    """Every verb that the controller uses, one by one."""
    for right in CONTROLLER_RIGHTS:
        missing = [verb for verb in right.verbs if not _may(api, right, verb)]
        what = right.resource.plural + (f"/{right.subresource}" if right.subresource else "")
        name = f"rights on {what}"
        if not missing:
            yield Check(name, "ok", ", ".join(right.verbs))
        elif right.needed:
            text = f"may not {', '.join(missing)} in namespace {api.namespace!r} ({right.purpose}); add it to the Role"
            yield Check(name, "failed", text)
        else:
            yield Check(name, "warning", f"may not {', '.join(missing)}, so without: {right.purpose}")


def _may(api: KubeApi, right: Right, verb: str) -> bool:
    attributes = {
        "namespace": api.namespace,
        "verb": verb,
        "group": right.resource.api_group,
        "resource": right.resource.plural,
        "subresource": right.subresource or "",
    }
    review = api.create(
        _REVIEWS,
        {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": attributes},
        },
    )
    return bool(review["status"]["allowed"])


def _clock(api: KubeApi, *, now: Callable[[], datetime]) -> Check:
    stamp = api.server_date()
    try:
        skew_s = (now() - parsedate_to_datetime(stamp)).total_seconds() if stamp else None
    except (ValueError, TypeError):
        skew_s = None
    if skew_s is None:
        return Check("clock", "not checked", "the API server sends no date")
    if abs(skew_s) > _SKEW_LIMIT_S:
        ahead = "ahead of" if skew_s > 0 else "behind"
        return Check("clock", "warning", f"this machine is {abs(skew_s):.0f} s {ahead} the API server; set its clock")
    return Check("clock", "ok", f"{abs(skew_s):.0f} s from the API server's")


def _dry_run(api: KubeApi, largest: Object) -> Check:
    """The API server's own word on the manifest, admission and Pod Security included."""
    name = "dry run of the largest trial"
    try:
        answered = api.create(JOBS, largest, dry_run=True)
    except QuotaError as err:
        return Check(name, "warning", f"{err}; trials wait until a Job goes (finished ones do after finished_ttl_s)")
    except NotFoundError as err:  # the namespace
        return Check(name, "failed", str(err))
    except (ConfigurationError, PreflightError) as err:
        return Check(name, "failed", f"{err}; mend the pod template or the cluster settings")
    lost = [field for field in _KEPT_FIELDS if answered["spec"].get(field) != largest["spec"][field]]
    if lost:
        text = f"the API server does not keep {', '.join(lost)}; it needs Kubernetes 1.31 or newer"
        return Check(name, "failed", text)
    return _pod_security(api, name)


def _pod_security(api: KubeApi, name: str) -> Check:
    """Jobs are not judged by Pod Security, their pods are: so what the namespace enforces is read from its labels."""
    try:
        labels = api.get(_NAMESPACES, api.namespace)["metadata"].get("labels") or {}
    except SweepError:
        return Check(name, "ok", "accepted; the namespace's Pod Security level may not be read")
    level = labels.get("pod-security.kubernetes.io/enforce", "privileged")
    return Check(name, "ok", f"accepted; Pod Security level {level!r}, trial pods meet 'restricted'")


def _quota(api: KubeApi, *, gpus: int, gpu_resource: str) -> Check:
    try:
        quotas = api.list(QUOTAS).objects
    except PreflightError:
        return Check("quota", "not checked", "resourcequotas may not be listed")
    asked = f"requests.{gpu_resource}"
    short = list(_short(quotas, resource=asked, gpus=gpus))
    if short:
        return Check("quota", "failed", "; ".join(short))
    return Check("quota", "ok", "none" if not quotas else f"room for one trial of {gpus} x {gpu_resource}")


def _short(quotas: Sequence[Object], *, resource: str, gpus: int) -> Iterator[str]:
    for quota in quotas:
        hard = (quota.get("status") or {}).get("hard") or {}
        if resource in hard and quantity(hard[resource]) < gpus:
            name = quota["metadata"]["name"]
            yield f"{name!r} allows {hard[resource]} of {resource} in all, one trial asks {gpus}; raise it"


def _nodes(api: KubeApi, *, gpus: int, gpu_resource: str) -> Check:
    if not gpus:
        return Check("GPU on a node", "ok", "no trial asks for one")
    try:
        nodes = api.list(NODES).objects
    except PreflightError:
        return Check("GPU on a node", "not checked", "nodes may not be listed")
    most = max((_allocatable(node, gpu_resource) for node in nodes), default=Decimal(0))
    if most >= gpus:
        return Check("GPU on a node", "ok", f"a node has {most} x {gpu_resource}")
    text = f"no node has {gpus} x {gpu_resource} (most: {most}); install the device plugin, or set gpu_resource"
    # A cluster autoscaler may bring such a node when a pod asks for it.
    return Check("GPU on a node", "warning", f"{text}; unless nodes are added on demand, trials will wait")


def _allocatable(node: Mapping[str, Any], resource: str) -> Decimal:
    return quantity((node.get("status") or {}).get("allocatable", {}).get(resource, "0"))
