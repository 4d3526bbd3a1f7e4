"""Requests, mirror and Lease against a real API server."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from cluster.cluster import Cluster
from cluster.namespace import Namespace
from cluster.waiting import wait_for
from controller.kube.api import KubeApi, Object
from controller.kube.connection import connect
from controller.kube.lease import Lease
from controller.kube.mirror import Mirror
from controller.kube.objects import JobObject
from controller.kube.pacing import TokenBucket
from controller.kube.preflight import check_rights
from controller.kube.rights import CONFIG_MAPS, JOBS, LEASES
from job.contract.errors import ConfigurationError, ConflictError, NotFoundError, PreflightError

LABELS = {"tests": "api"}


@pytest.fixture
def api(cluster: Cluster, namespace: Namespace) -> KubeApi:
    environ = {"KUBECONFIG": str(cluster.kubeconfig)}
    return KubeApi(
        connect(namespace=namespace.name, environ=environ),
        reconnect=lambda: connect(namespace=namespace.name, environ=environ),
        writes=TokenBucket(per_s=1000, burst=1000, monotonic=time.monotonic, sleep=time.sleep),
        sleep=time.sleep,
    )


def a_job(name: str) -> Object:
    """A Job that makes no pod, as it is suspended."""
    container = {"name": "trial", "image": "none.invalid/none:1"}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "labels": LABELS},
        "spec": {"suspend": True, "template": {"spec": {"restartPolicy": "Never", "containers": [container]}}},
    }


def a_config_map(name: str) -> Object:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": LABELS}, "data": {"a": "1"}}


def test_what_was_made_is_found_changed_and_removed(api: KubeApi) -> None:
    made = api.create(CONFIG_MAPS, a_config_map("one"))
    assert api.get(CONFIG_MAPS, "one")["data"] == {"a": "1"}
    assert api.patch(CONFIG_MAPS, "one", {"data": {"a": None, "b": "2"}})["data"] == {"b": "2"}
    api.delete(CONFIG_MAPS, "one", uid=made["metadata"]["uid"])
    with pytest.raises(NotFoundError, match="configmaps 'one'"):
        api.get(CONFIG_MAPS, "one")
    api.delete(CONFIG_MAPS, "one", uid=made["metadata"]["uid"])


def test_a_name_that_is_taken_and_a_successor_of_the_same_name_are_conflicts(api: KubeApi) -> None:
    first = api.create(CONFIG_MAPS, a_config_map("one"))
    with pytest.raises(ConflictError):
        api.create(CONFIG_MAPS, a_config_map("one"))
    api.delete(CONFIG_MAPS, "one", uid=first["metadata"]["uid"])
    api.create(CONFIG_MAPS, a_config_map("one"))
    with pytest.raises(ConflictError):
        api.delete(CONFIG_MAPS, "one", uid=first["metadata"]["uid"])
    assert api.get(CONFIG_MAPS, "one")


def test_a_list_of_many_pages_holds_each_object_once(api: KubeApi) -> None:
    names = {f"many-{number:04}" for number in range(1100)}
    for name in names:
        api.create(CONFIG_MAPS, a_config_map(name))
    listing = api.list(CONFIG_MAPS, labels="tests=api")
    assert sorted(found["metadata"]["name"] for found in listing.objects) == sorted(names)


def test_a_dry_run_makes_nothing_and_an_object_that_is_not_valid_is_named(api: KubeApi) -> None:
    api.create(JOBS, a_job("dry"), dry_run=True)
    with pytest.raises(NotFoundError):
        api.get(JOBS, "dry")
    misspelled = a_job("misspelled")
    misspelled["spec"]["template"]["spec"]["affinity"] = {"nodeAffinitty": {}}
    with pytest.raises(ConfigurationError, match=r'unknown field "spec\.template\.spec\.affinity\.nodeAffinitty"'):
        api.create(JOBS, misspelled, dry_run=True)
    wrong = a_job("wrong")
    wrong["spec"]["template"]["spec"]["containers"][0]["resources"] = {"limits": {"cpu": "lots"}}
    with pytest.raises(ConfigurationError, match="jobs"):
        api.create(JOBS, wrong)


def test_a_watch_brings_each_change_and_ends_by_itself(api: KubeApi) -> None:
    since = api.list(JOBS, labels="tests=api").resource_version
    made = api.create(JOBS, a_job("one"))
    api.patch(JOBS, "one", {"metadata": {"annotations": {"a": "b"}}})
    api.delete(JOBS, "one", uid=made["metadata"]["uid"], grace_s=0)
    seen = [kind for kind, _ in api.watch(JOBS, labels="tests=api", since=since, for_s=2) if kind != "BOOKMARK"]
    assert seen[0] == "ADDED"
    assert "MODIFIED" in seen
    assert "DELETED" in seen or seen[-1] == "MODIFIED"  # a finalizer may hold it a little longer


@pytest.fixture
def mirror(api: KubeApi) -> Iterator[Mirror[JobObject]]:
    following = Mirror(api, JOBS, JobObject.read, labels="tests=api", monotonic=time.monotonic, watch_s=2)
    following.start()
    yield following
    following.stop()


def test_a_mirror_follows_what_others_make_and_remove_over_many_watches(
    api: KubeApi, mirror: Mirror[JobObject]
) -> None:
    assert mirror.objects() == {}
    made = api.create(JOBS, a_job("one"))
    wait_for("the Job to be seen", lambda: "one" in mirror.objects(), deadline_s=20)
    began = time.monotonic()
    wait_for("two watches to end", lambda: time.monotonic() - began > 5, deadline_s=20)
    api.create(JOBS, a_job("two"))
    wait_for("the second to be seen", lambda: "two" in mirror.objects(), deadline_s=20)
    api.delete(JOBS, "one", uid=made["metadata"]["uid"])
    wait_for("the first to be gone", lambda: set(mirror.objects()) == {"two"}, deadline_s=20)


def lease(api: KubeApi, identity: str, *, duration_s: float = 3.0) -> Lease:
    return Lease(
        api,
        "demo-run-0",
        identity=identity,
        owner=None,
        labels=LABELS,
        now=lambda: datetime.now(UTC),
        monotonic=time.monotonic,
        duration_s=duration_s,
        every_s=0.5,
    )


def never(why: str) -> None:
    raise AssertionError(why)


def test_one_leads_and_the_next_follows_at_once_when_it_lets_go(api: KubeApi) -> None:
    said: list[str] = []
    led = threading.Event()

    def wait(why: str) -> None:
        said.append(why)
        time.sleep(0.1)

    def follow() -> None:
        with lease(api, "second").held(wait=wait, lost=never):
            led.set()

    with lease(api, "first").held(wait=never, lost=never):
        follower = threading.Thread(target=follow, daemon=True)
        follower.start()
        wait_for("the second to wait for longer than the first's Lease lasts", lambda: len(said) > 40, deadline_s=30)
        assert not led.is_set()
    assert led.wait(10)
    follower.join(10)
    assert "first" in said[0]


def test_a_lease_of_a_holder_that_died_is_taken_after_its_duration(api: KubeApi) -> None:
    with lease(api, "first").held(wait=never, lost=never):
        dead = api.get(LEASES, "demo-run-0")
    dead["metadata"] = api.get(LEASES, "demo-run-0")["metadata"]
    api.replace(LEASES, dead)  # as if it had never let go
    began = time.monotonic()
    with lease(api, "second").held(wait=lambda why: time.sleep(0.1), lost=never):
        assert time.monotonic() - began > 2.5
        assert api.get(LEASES, "demo-run-0")["spec"]["holderIdentity"] == "second"


def test_who_loses_the_lease_is_told(api: KubeApi) -> None:
    told: list[str] = []
    with lease(api, "first").held(wait=never, lost=told.append):
        found = api.get(LEASES, "demo-run-0")
        taken = found | {"spec": found["spec"] | {"holderIdentity": "second"}}
        api.patch(LEASES, "demo-run-0", {"spec": taken["spec"]})
        wait_for("the first to be told", lambda: bool(told), deadline_s=20)
    assert "taken by another" in told[0]
    assert api.get(LEASES, "demo-run-0")["spec"]["holderIdentity"] == "second"


def test_an_account_without_rights_is_told_each_verb_that_it_lacks(
    cluster: Cluster, namespace: Namespace, tmp_path: Path
) -> None:
    token = namespace.kubectl("create", "token", "default").strip()
    text = cluster.kubeconfig.read_text()
    poor = tmp_path / "kubeconfig"
    poor.write_text(text)
    namespace.kubectl("config", f"--kubeconfig={poor}", "set-credentials", "poor", f"--token={token}")
    namespace.kubectl("config", f"--kubeconfig={poor}", "set-context", "--current", "--user=poor")
    environ = {"KUBECONFIG": str(poor)}
    weak = KubeApi(
        connect(namespace=namespace.name, environ=environ),
        reconnect=lambda: connect(namespace=namespace.name, environ=environ),
        writes=TokenBucket(per_s=1000, burst=1000, monotonic=time.monotonic, sleep=time.sleep),
        sleep=time.sleep,
    )
    with pytest.raises(PreflightError, match="'list' on 'jobs'"):
        weak.list(JOBS)
    checks = {check.name: check for check in check_rights(weak)}
    assert checks["rights on jobs"].outcome == "failed"
    assert "create" in checks["rights on jobs"].text
    assert checks["rights on pods/log"].outcome == "warning"
