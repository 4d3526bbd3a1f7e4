"""A sweep on a real cluster whose store fails, refuses or lies; and what of its secrets is to be seen: nothing."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest
from servers.fault_proxy import Answer, FaultProxy, LoseReply, Reset, fault_proxy

from cluster.cluster import Cluster
from cluster.promises import assert_promises
from cluster.strikes import failures, plan_trials
from cluster.sweep import SECRET, ClusterSweep
from cluster.waiting import wait_for

EXPANDABLE = "$(AWS_SECRET_ACCESS_KEY)"
WRONG_KEY = "wrong-0123456789abcdef"


@pytest.fixture
def proxy(cluster: Cluster, sweep: ClusterSweep) -> Iterator[FaultProxy]:
    """Stands between the store and both controller and pods of this sweep; the test itself passes it by."""
    with fault_proxy(cluster.s3.endpoint, address=cluster.inside.machine_address) as proxy:
        sweep.settings["s3"]["endpoint"] = proxy.endpoint
        sweep.extra["AWS_ENDPOINT_URL_S3"] = proxy.endpoint
        yield proxy


def test_a_store_that_is_down_while_a_trial_publishes_is_waited_for(sweep: ClusterSweep, proxy: FaultProxy) -> None:
    sweep.spec["execution"]["max_attempts"] = 1
    plan_trials(sweep, {"A": ["gate"], "B": ["ok"]})
    controller = sweep.start()
    pod = sweep.until_running("A")
    proxy.go_down()
    sweep.open_gates()
    sweep.until_said(controller, "waiting since")
    wait_for("the trial to wait", lambda: "waiting for the store" in sweep.namespace.kubectl("logs", pod))
    proxy.come_up()
    ended = sweep.finish(controller)
    assert ended.code == 0, ended.stderr
    assert failures(sweep, "A") == []
    assert {end.number for end in sweep.ends().values()} == {1}
    assert_promises(sweep, {"A": "succeeded", "B": "succeeded"})


def test_a_store_that_is_slow_and_drops_connections_costs_time_alone(sweep: ClusterSweep, proxy: FaultProxy) -> None:
    sweep.spec["execution"]["max_attempts"] = 1
    plan_trials(sweep, {"A": ["ok"], "B": ["ok"]})
    for method in ("PUT", "GET"):
        proxy.inject(Answer(503, "SlowDown"), method=method, text="trials/", times=3)
        proxy.inject(Reset(), method=method, text="trials/", times=2)
        proxy.inject(LoseReply(), method=method, text="trials/", times=3)
    ended = sweep.run()
    assert ended.code == 0, ended.stderr
    assert failures(sweep, "A") == failures(sweep, "B") == []
    assert_promises(sweep, {"A": "succeeded", "B": "succeeded"})


def test_trials_with_a_wrong_key_fail_for_good_and_the_key_is_in_no_text(sweep: ClusterSweep) -> None:
    keys = {"AWS_ACCESS_KEY_ID": sweep.bucket.server.access_key, "AWS_SECRET_ACCESS_KEY": WRONG_KEY}
    sweep.namespace.kubectl.create(
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "wrong"}, "stringData": keys}
    )
    sweep.settings["s3"]["secret"] = "wrong"
    plan_trials(sweep, {"A": ["ok"]})
    ended = sweep.run()
    assert ended.code == 1, ended.stderr
    (failure,) = failures(sweep, "A")
    assert (failure.reason, failure.permanent, failure.exit_code) == ("configuration", True, 78)
    assert "SignatureDoesNotMatch" in failure.message
    _assert_nowhere(sweep, WRONG_KEY, ended.stdout + ended.stderr)
    assert_promises(sweep, {"A": "failed"})


def test_a_controller_with_a_wrong_key_makes_no_job(sweep: ClusterSweep) -> None:
    sweep.extra["AWS_SECRET_ACCESS_KEY"] = WRONG_KEY
    ended = sweep.run()
    assert ended.code == 78, ended.stderr
    assert "SignatureDoesNotMatch" in ended.stderr
    assert WRONG_KEY not in ended.stdout + ended.stderr
    assert sweep.jobs() == []


def test_a_missing_bucket_is_named_before_a_job_is_made(sweep: ClusterSweep) -> None:
    ended = sweep.run("--store", "s3://absent-bucket/sweeps")
    assert ended.code == 78, ended.stderr
    assert "absent-bucket" in ended.stderr
    assert sweep.jobs() == []


@pytest.mark.parametrize("file", ["predictions.jsonl", "scores.json", "manifest.json"])
def test_a_truncated_object_costs_its_trial_alone_and_retry_mends_it(sweep: ClusterSweep, file: str) -> None:
    plan_trials(sweep, {"A": ["ok"], "B": ["ok"]})
    assert sweep.run().code == 0
    _truncate(sweep, sweep.trial_ids()["A"], file)
    assert {one["letter"]: one["reason"] for one in sweep.status()["trials"]} == {"A": "result_corrupt", "B": None}
    report = sweep.verb("report", "--output", "json")
    assert report.code == 1, report.stderr
    assert [one["letter"] for one in report.json["failures"]] == ["A"]
    assert [one["letter"] for one in report.json["configurations"] if one["metrics"]] == ["B"]
    assert sweep.run().code == 1
    assert sweep.verb("retry", "A").code == 0
    mended = sweep.run()
    assert mended.code == 0, mended.stderr
    assert mended.json["submissions"] == 1
    assert_promises(sweep, {"A": "succeeded", "B": "succeeded"})


def test_the_secret_is_nowhere_but_in_its_secret(sweep: ClusterSweep) -> None:
    plan_trials(sweep, {"A": ["ok"], "B": ["80"], "C": ["1", "ok"]})
    ended = sweep.run()
    assert ended.code == 1, ended.stderr
    looked = [sweep.verb(*words) for words in (("status",), ("logs", "B"), ("report", "--output", "json"))]
    told = "".join(one.stdout + one.stderr for one in (ended, *looked))
    secret = sweep.bucket.server.secret_key
    assert _encoded(secret) in sweep.namespace.kubectl("get", "secret", SECRET, "--output=yaml")
    _assert_nowhere(sweep, secret, told)
    assert_promises(sweep, {"A": "succeeded", "B": "failed", "C": "succeeded"})


def test_values_are_never_expanded_and_add_no_variables(sweep: ClusterSweep) -> None:
    text = f"{EXPANDABLE} $(LORASWEEP_ATTEMPT)\nEVIL=1 {{dialogue}}"
    sweep.spec["prompts"]["v1"]["prompt"] = text
    sweep.spec["description"] = f"{EXPANDABLE} EVIL=2"
    plan_trials(sweep, {"A": ["gate"]})
    controller = sweep.start()
    pod = sweep.until_running("A")
    inside = ("exec", pod, "--container=trial", "--")
    names = {line.partition("=")[0] for line in sweep.namespace.kubectl(*inside, "env").splitlines()}
    assert "AWS_SECRET_ACCESS_KEY" in names
    assert not [name for name in names if "EVIL" in name]
    request = json.loads(sweep.namespace.kubectl(*inside, "cat", "/etc/lorasweep/request.json"))
    assert request["trials"][0]["config"]["prompt"]["prompt"] == text
    assert "EVIL" not in json.dumps(sweep.namespace.kubectl.get("pod", pod)["metadata"]["labels"])
    sweep.open_gates()
    ended = sweep.finish(controller)
    assert ended.code == 0, ended.stderr
    assert [result.config.prompt.prompt for result in sweep.results().values() if result.config.prompt] == [text]
    report = json.loads(sweep.store.read("report/report.json", limit_bytes=10**7))
    assert report["description"] == sweep.spec["description"]
    assert_promises(sweep, {"A": "succeeded"})


def _truncate(sweep: ClusterSweep, trial_id: str, file: str) -> None:
    """Half of the object, put behind the store's back."""
    client, result = sweep.bucket.server.client(), sweep.results()[trial_id]
    key = f"sweeps/demo/main/trials/{trial_id}/attempts/{result.attempt}/{file}"
    body = client.get_object(Bucket=sweep.bucket.name, Key=key)["Body"].read()
    client.put_object(Bucket=sweep.bucket.name, Key=key, Body=body[: len(body) // 2])


def _assert_nowhere(sweep: ClusterSweep, secret: str, told: str) -> None:
    """Neither the secret nor its encoded form is in what was told, stored, logged, or written into other objects."""
    for where, text in (("told", told), *_stored(sweep), *_written(sweep), *_logged(sweep)):
        for form in (secret, _encoded(secret)):
            assert form not in text, where


def _encoded(secret: str) -> str:
    return base64.b64encode(secret.encode()).decode()


def _stored(sweep: ClusterSweep) -> Iterator[tuple[str, str]]:
    listed = list(sweep.store.list(""))
    assert any(one.key == "report/report.html" for one in listed)
    for one in listed:
        yield one.key, sweep.store.read(one.key, limit_bytes=10**8).decode(errors="replace")


def _written(sweep: ClusterSweep) -> Iterator[tuple[str, str]]:
    for kind in ("jobs", "pods", "events", "configmaps", "leases"):
        found = sweep.namespace.kubectl("get", kind, "--output=yaml")
        assert "metadata" in found
        yield kind, found


def _logged(sweep: ClusterSweep) -> Iterator[tuple[str, str]]:
    pods: list[dict[str, Any]] = list(sweep.pods())
    assert pods
    for pod in pods:
        yield pod["metadata"]["name"], sweep.namespace.kubectl("logs", pod["metadata"]["name"])
