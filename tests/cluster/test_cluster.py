"""The cluster under the tests is a real one: it schedules, isolates, limits and refuses as any other does."""

from __future__ import annotations

import json

import pytest
from servers.s3_server import S3Bucket

from cluster.binaries import TOOLS, module_version
from cluster.certificates import NODE
from cluster.cluster import GPU, Cluster
from cluster.kubectl import KubectlError
from cluster.namespace import Namespace
from cluster.pods import restricted_pod
from cluster.waiting import wait_for

ASK_FOR_THE_VERSION = """
import os, ssl, urllib.request
account = "/var/run/secrets/kubernetes.io/serviceaccount"
trusted = ssl.create_default_context(cafile=account + "/ca.crt")
host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ["KUBERNETES_SERVICE_PORT"]
asked = urllib.request.Request(f"https://{host}:{port}/version")
asked.add_header("Authorization", "Bearer " + open(account + "/token").read())
print(host, os.getuid(), urllib.request.urlopen(asked, context=trusted, timeout=30).read().decode())
"""


def test_the_node_is_ready_and_has_two_gpus_to_give(cluster: Cluster) -> None:
    status = cluster.kubectl.get("node", NODE)["status"]
    assert {seen["type"]: seen["status"] for seen in status["conditions"]}["Ready"] == "True"
    assert status["allocatable"][GPU] == "2"


def test_a_restricted_pod_reaches_the_api_through_its_service_and_its_log_can_be_read(
    namespace: Namespace, base_image: str
) -> None:
    namespace.kubectl.create(restricted_pod("asker", image=base_image, command=["python3", "-c", ASK_FOR_THE_VERSION]))
    namespace.wait_for_phase("asker", "Succeeded")
    host, user, version = namespace.kubectl("logs", "asker").split(maxsplit=2)
    assert (host, user) == ("10.96.0.1", "10001")
    built = module_version(TOOLS / "kubernetes" / "go.mod", module="k8s.io/kubernetes")
    assert json.loads(version)["gitVersion"] == built


def test_a_pod_that_may_be_root_is_refused(namespace: Namespace, base_image: str) -> None:
    rooted = restricted_pod("rooted", image=base_image, command=["true"])
    del rooted["spec"]["securityContext"]["runAsNonRoot"]
    with pytest.raises(KubectlError, match="violates PodSecurity"):
        namespace.kubectl.create(rooted)


def test_a_pod_over_its_memory_limit_is_killed_and_says_so(namespace: Namespace, base_image: str) -> None:
    hog = ["python3", "-c", "held = [b'x' * 2**20 for _ in range(512)]"]
    namespace.kubectl.create(restricted_pod("hog", image=base_image, command=hog, limits={"memory": "64Mi"}))
    ended = namespace.wait_for_phase("hog", "Failed")["status"]["containerStatuses"][0]["state"]["terminated"]
    assert (ended["reason"], ended["exitCode"]) == ("OOMKilled", 137)


def test_a_third_pod_that_asks_for_a_gpu_waits_and_the_scheduler_says_why(
    namespace: Namespace, base_image: str
) -> None:
    for name in ("first", "second", "third"):
        if name == "third":
            namespace.wait_for_phase("first", "Running")
            namespace.wait_for_phase("second", "Running")
        namespace.kubectl.create(restricted_pod(name, image=base_image, command=["sleep", "600"], limits={GPU: "1"}))

    def why_it_waits() -> str:
        seen = namespace.kubectl.get("pod", "third")["status"].get("conditions", [])
        return next((each["message"] for each in seen if each.get("reason") == "Unschedulable"), "")

    assert f"Insufficient {GPU}" in wait_for("the scheduler's word", why_it_waits)
    namespace.kubectl("delete", "pod", "first")
    namespace.wait_for_phase("third", "Running")


def test_a_pod_reads_what_the_test_put_into_a_bucket(
    cluster_bucket: S3Bucket, namespace: Namespace, base_image: str
) -> None:
    client = cluster_bucket.server.client()
    client.put_object(Bucket=cluster_bucket.name, Key="greeting", Body=b"hello from the bucket")
    link = client.generate_presigned_url("get_object", Params={"Bucket": cluster_bucket.name, "Key": "greeting"})
    read = "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1], timeout=30).read().decode())"
    namespace.kubectl.create(restricted_pod("reader", image=base_image, command=["python3", "-c", read, link]))
    namespace.wait_for_phase("reader", "Succeeded")
    assert namespace.kubectl("logs", "reader").strip() == "hello from the bucket"


def test_the_api_server_and_the_s3_server_come_back_with_what_they_had(
    cluster: Cluster, cluster_bucket: S3Bucket, namespace: Namespace
) -> None:
    client = cluster_bucket.server.client()
    client.put_object(Bucket=cluster_bucket.name, Key="kept", Body=b"1")
    for program in ("versitygw", "kube-apiserver"):
        cluster.programs.stop(program, signal_name="KILL")
    with pytest.raises(KubectlError, match="refused"):
        namespace.kubectl("get", "pods")
    for program in ("versitygw", "kube-apiserver"):
        cluster.programs.start(program)
    cluster.wait_until_ready()
    assert namespace.kubectl.get("serviceaccount", "default")
    assert client.get_object(Bucket=cluster_bucket.name, Key="kept")["Body"].read() == b"1"
