"""`lorasweep preflight --canary`: one pod in the shape of the largest trial looks, and nothing of it stays."""

from __future__ import annotations

import signal

from cluster.sweep import ClusterSweep, Ended
from cluster.waiting import wait_for

CANARY = "--selector=lorasweep.io/canary"


def preflight(sweep: ClusterSweep, *more: str) -> Ended:
    return sweep.finish(sweep.start_preflight("--canary", "--output", "json", *more))


def outcomes(ended: Ended) -> dict[str, str]:
    return {check["name"]: check["outcome"] for check in ended.json["checks"]}


def assert_gone(sweep: ClusterSweep) -> None:
    """Its Job at once, its pod when the kubelet is done with it; the run has no object."""
    kubectl = sweep.namespace.kubectl
    assert kubectl.list_of("jobs") == []
    wait_for("the canary's pod to go", lambda: not kubectl.list_of("pods", CANARY), deadline_s=90)
    assert not [one for one in kubectl.list_of("configmaps") if "run" in one["metadata"]["name"].split("-")]


def test_a_pod_finds_what_a_trial_would_need_and_goes(real: ClusterSweep) -> None:
    ended = preflight(real)
    assert ended.code == 0, ended.stdout + ended.stderr
    found = outcomes(ended)
    wanted = ("request", "store", "right to delete", "model", "data", "libraries", "folder of HOME", "shared memory")
    assert {name: found[f"canary: {name}"] for name in wanted} == dict.fromkeys(wanted, "ok")
    assert found["canary: device"] == "warning"  # the node's GPUs are words
    assert "running" in ended.stderr
    assert_gone(real)


def test_a_wrong_key_in_the_pods_secret_is_found_by_the_pod_alone(real: ClusterSweep) -> None:
    kubectl = real.namespace.kubectl
    kubectl("delete", "secret", real.settings["s3"]["secret"])
    keys = {"AWS_ACCESS_KEY_ID": real.bucket.server.access_key, "AWS_SECRET_ACCESS_KEY": "wrong"}
    name = real.settings["s3"]["secret"]
    kubectl.create({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": keys})
    ended = preflight(real)
    assert ended.code == 78, ended.stdout + ended.stderr
    found = outcomes(ended)
    assert (found["store"], found["canary: store"]) == ("ok", "failed")
    assert_gone(real)


def test_while_it_waits_the_schedulers_words_are_shown_and_ctrl_c_takes_it_away(sweep: ClusterSweep) -> None:
    sweep.spec["execution"]["gpus"] = 9
    looking = sweep.start_preflight("--canary")
    sweep.until_said(looking, "waiting (no_gpu): 0/1 nodes are available: 1 Insufficient nvidia.com/gpu")
    assert [job["metadata"]["name"][:12] for job in sweep.namespace.kubectl.list_of("jobs")] == ["demo-canary-"]
    looking.send_signal(signal.SIGINT)
    assert sweep.finish(looking).code == 130
    assert_gone(sweep)


def test_an_image_that_is_not_there_is_said_in_the_kubelets_words(sweep: ClusterSweep) -> None:
    sweep.settings["image"] = "localhost/none:1"
    ended = preflight(sweep)
    assert ended.code == 78
    (canary,) = (check for check in ended.json["checks"] if check["name"] == "canary")
    assert "ErrImageNeverPull" in canary["text"]
    assert_gone(sweep)
