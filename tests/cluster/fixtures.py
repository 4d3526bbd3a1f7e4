"""Fixtures over a real cluster, for `pytest_plugins` in tests/conftest.py.

`LORASWEEP_TEST_CLUSTER=standing` lets the tests use the cluster that `make cluster-up` left standing, and leave it so.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from servers.go_tool import MissingGoError
from servers.s3_server import S3Bucket, new_bucket

from cluster.binaries import helm as built_helm
from cluster.cluster import Cluster, NoClusterError, boot, standing_cluster
from cluster.folder import standing_folder
from cluster.helm import Helm
from cluster.images import BASE_IMAGE, Build, Images, cached_images
from cluster.kubectl import Kubectl, KubectlError
from cluster.namespace import Namespace
from cluster.our_images import CONTROLLER_IMAGE, FAKE_JOB_IMAGE, JOB_IMAGE
from cluster.prerequisites import MissingPrerequisiteError
from cluster.release import Release
from cluster.sweep import ClusterSweep, make_sweep

USE = "LORASWEEP_TEST_CLUSTER"
RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}


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
    with new_namespace(cluster) as made:
        yield made


@contextmanager
def new_namespace(cluster: Cluster) -> Iterator[Namespace]:
    """As the fixture, for as long as the block lasts."""
    name = f"test-{secrets.token_hex(4)}"
    cluster.kubectl.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": RESTRICTED}})
    kubectl = cluster.kubectl.inside(name)
    try:
        for kind, made in (("serviceaccount", "default"), ("configmap", "kube-root-ca.crt")):
            kubectl("wait", "--for=create", f"{kind}/{made}", "--timeout=60s")  # of two at once, it waits for none
        yield Namespace(name, kubectl)
    finally:
        cluster.kubectl("delete", "namespace", name, "--wait=false", "--ignore-not-found")


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


@pytest.fixture(scope="session")
def controller_image(cluster: Cluster, images: Images, base_image: str) -> str:
    """Name of the controller's image, in the cluster."""
    return _built(cluster, images, CONTROLLER_IMAGE)


@pytest.fixture(scope="session")
def job_image(cluster: Cluster, images: Images, base_image: str) -> str:
    """Name of the job's image, in the cluster. It holds torch: minutes and gigabytes where it is not there yet."""
    return _built(cluster, images, JOB_IMAGE)


@pytest.fixture(scope="session")
def fake_job_image(cluster: Cluster, images: Images, controller_image: str) -> str:
    """Name of an image that keeps the job's contract without a model; tests/fake_job.py says what it does."""
    return _built(cluster, images, FAKE_JOB_IMAGE)


@pytest.fixture
def any_sweep(
    cluster: Cluster,
    namespace: Namespace,
    cluster_bucket: S3Bucket,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[ClusterSweep]:
    """Three trials whose image is still to be set; their controller is a process beside the test, ended with it."""
    for name, value in cluster_bucket.server.environment().items():
        monkeypatch.setenv(name, value)
    made = make_sweep(tmp_path, namespace=namespace, bucket=cluster_bucket, kubeconfig=cluster.kubeconfig)
    yield made
    made.end_all()


@pytest.fixture
def sweep(any_sweep: ClusterSweep, fake_job_image: str) -> ClusterSweep:
    """Three trials that train nothing."""
    any_sweep.settings["image"] = fake_job_image
    return any_sweep


@pytest.fixture
def real(any_sweep: ClusterSweep, job_image: str) -> ClusterSweep:
    """Three trials with the job's own image, which needs room for torch."""
    any_sweep.settings["image"] = job_image
    any_sweep.settings["resources"] |= {"cpu": "100m", "memory": "2Gi"}
    return any_sweep


@pytest.fixture
def sweep_release(cluster: Cluster, sweep: ClusterSweep, controller_image: str) -> Release:
    """A release of that sweep, to be installed by the test; the Secret with the keys is there."""
    return Release(
        helm=Helm(built_helm(os.environ, major=4), sweep.folder / "helm", cluster.kubeconfig),
        namespace=sweep.namespace,
        s3=sweep.bucket.server,
        store=f"{sweep.bucket.uri}/sweeps",
        job_image=str(sweep.settings["image"]),
        controller_image=controller_image,
        folder=sweep.folder,
        trial_env={"FAKE_JOB": "{}", "FAKE_JOB_NUMBER": "1"},
    )


def _built(cluster: Cluster, images: Images, build: Build) -> str:
    cluster.import_image(images.build(build))
    return build.name


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


__all__ = [
    "Namespace",
    "any_sweep",
    "base_image",
    "cluster",
    "cluster_bucket",
    "controller_image",
    "fake_job_image",
    "images",
    "job_image",
    "namespace",
    "new_namespace",
    "real",
    "sweep",
    "sweep_release",
]
