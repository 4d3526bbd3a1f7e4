"""What a controller in the cluster tells Prometheus, read through the API server."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from cluster.controllers import log_of
from cluster.kubectl import KubectlError
from cluster.namespace import Namespace
from cluster.waiting import wait_for

__all__ = ["Samples", "page_at_the_end"]

Samples = list[tuple[str, dict[str, str], float]]
"""Name, labels and value."""


def page_at_the_end(namespace: Namespace, controller: str, *, trials: int, deadline_s: float = 1800.0) -> Samples:
    """The page once every trial has succeeded: the controller stays for a while, so that it can be read."""

    def look() -> Samples | None:
        if namespace.kubectl.get("job", controller)["status"].get("failed"):
            raise AssertionError(log_of(namespace, controller))
        seen = _page(namespace, controller)
        done = (value for name, labels, value in seen if name == "lorasweep_trials" and labels["state"] == "succeeded")
        return seen if next(done, 0.0) == trials else None

    return wait_for("every trial to have succeeded", look, deadline_s=deadline_s)


def _page(namespace: Namespace, controller: str) -> Samples:
    """What it says now; nothing while it does not listen yet."""
    pods = namespace.kubectl.list_of("pods", f"--selector=job-name={controller}")
    if not pods:
        return []
    address = f"/api/v1/namespaces/{namespace.name}/pods/{pods[0]['metadata']['name']}:9090/proxy/metrics"
    try:
        text = namespace.kubectl("get", "--raw", address)
    except KubectlError:
        return []
    families = text_string_to_metric_families(text)
    return [(sample.name, sample.labels, sample.value) for family in families for sample in family.samples]
