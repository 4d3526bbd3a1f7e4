"""Fixtures over a real cluster, for `pytest_plugins` in tests/conftest.py.

`LORASWEEP_TEST_CLUSTER=standing` lets the tests use the cluster that `make cluster-up` left standing, and leave it so.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from servers.go_tool import MissingGoError
from servers.s3_server import S3Bucket, new_bucket

from cluster.cluster import Cluster, NoClusterError, boot, standing_cluster
from cluster.folder import standing_folder
from cluster.images import BASE_IMAGE, Images, cached_images
from cluster.kubectl import Kubectl, KubectlError
from cluster.prerequisites import MissingPrerequisiteError
from cluster.waiting import wait_for

USE = "LORASWEEP_TEST_CLUSTER"
ENDED = ("Succeeded", "Failed")
RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}


class PodEndedError(Exception):
    """A pod ended in another way than the test waited for; the message has its log."""


@dataclass(frozen=True)
class Namespace:
    """A namespace of its own for one test, in which Pod Security `restricted` is enforced."""

    name: str
    kubectl: Kubectl
    """Speaks of this namespace."""

    def wait_for_phase(self, name: str, phase: str, *, deadline_s: float = 90.0) -> dict[str, Any]:
        """The pod, once it is in that phase. Raises WaitedInVainError, PodEndedError."""

        def look() -> dict[str, Any] | None:
            pod = self.kubectl.get("pod", name)
            seen = pod["status"].get("phase", "")
            if seen in ENDED and seen != phase:
                raise PodEndedError(
                    f"pod {name} was to be {phase} and is {seen}; its log:\n{self.kubectl('logs', name)}"
                )
            return pod if seen == phase else None

        return wait_for(f"pod {name} to be {phase}", look, deadline_s=deadline_s)


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A real cluster of one node with 2 GPUs, one a test process. Where it cannot run, a skip with the remedy."""
    if os.environ.get(USE) == "standing":
        try:
            yield standing_cluster(standing_folder())
        except NoClusterError as missing:
            pytest.fail(f"{USE} is set: {missing}")
        return
    try:
        booted = boot(os.environ)
    except (MissingPrerequisiteError, MissingGoError) as missing:
        pytest.skip(str(missing))
    try:
        yield booted
    finally:
        booted.down()


@pytest.fixture
def namespace(cluster: Cluster) -> Iterator[Namespace]:
    """An empty namespace whose default service account is there. It goes, with all in it, when the test ends."""
    name = f"test-{secrets.token_hex(4)}"
    cluster.kubectl.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": RESTRICTED}})
    kubectl = cluster.kubectl.inside(name)
    for kind, made in (("serviceaccount", "default"), ("configmap", "kube-root-ca.crt")):
        kubectl("wait", "--for=create", f"{kind}/{made}", "--timeout=60s")  # of two at once, it waits for none
    yield Namespace(name, kubectl)
    cluster.kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture
def cluster_bucket(cluster: Cluster) -> S3Bucket:
    """An empty bucket on the cluster's S3 server; its endpoint is the same for pods and for the test."""
    return new_bucket(cluster.s3)


@pytest.fixture(scope="session")
def images() -> Images:
    """Builds images, with layers kept between runs."""
    return cached_images(os.environ)


@pytest.fixture(scope="session")
def base_image(cluster: Cluster, images: Images) -> str:
    """Name of an image with sh and Python, in the cluster."""
    cluster.import_image(images.base())
    return BASE_IMAGE


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failed test shows what was in its namespace, and the ends of the cluster's logs."""
    report = yield
    fixtures = getattr(item, "funcargs", {})
    namespace = fixtures.get("namespace")
    if report.failed and isinstance(namespace, Namespace):
        report.sections.append((f"namespace {namespace.name}", _told(namespace.kubectl)))
    used = fixtures.get("cluster")
    if report.failed and isinstance(used, Cluster):
        report.sections.append(("cluster logs", used.programs.tails()))
    return report


def _told(kubectl: Kubectl) -> str:
    asked = (("get", "all", "--output=wide"), ("get", "events", "--sort-by=.lastTimestamp"))
    told = []
    for arguments in asked:
        try:
            told.append(kubectl(*arguments))
        except KubectlError as error:
            told.append(str(error))
    return "\n".join(told)


__all__ = ["Namespace", "PodEndedError", "base_image", "cluster", "cluster_bucket", "images", "namespace"]
