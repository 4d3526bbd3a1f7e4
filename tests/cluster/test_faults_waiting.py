"""Trials that cannot start on a real cluster: each says why, in the words of who holds it up, and until when."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cluster.promises import assert_promises
from cluster.strikes import delete, failures, plan_trials, suspend, until_another_runs, until_waiting
from cluster.sweep import ClusterSweep
from cluster.waiting import wait_for
from job.contract.documents import Failure

SUCCEEDED = {"A": "succeeded"}
FAILED = {"A": "failed"}
SHORT_S = 15
"""Long enough to be seen waiting by a `status` on a busy machine."""


def test_an_image_that_is_not_on_the_node_holds_the_canary_and_no_second_job_is_made(sweep: ClusterSweep) -> None:
    sweep.settings["image"] = "localhost/lorasweep-nowhere:test"
    plan_trials(sweep, {"A": ["ok"], "B": ["ok"], "C": ["ok"]})
    controller = sweep.start()
    note = until_waiting(sweep, "A", "image")
    assert "ErrImageNeverPull" in note
    assert "localhost/lorasweep-nowhere:test" in note
    sweep.until_said(controller, "waiting  image: ErrImageNeverPull")
    assert len(sweep.jobs()) == 1
    assert sweep.verb("stop").code == 0
    ended = sweep.finish(controller)
    assert ended.code == 1, ended.stderr
    assert len(sweep.ends()) == len(sweep.jobs()) == 1
    assert_promises(sweep, dict.fromkeys("ABC", "stopped"), run_again=False)  # which would take the stop back


def test_a_registry_that_does_not_answer_is_named(sweep: ClusterSweep) -> None:
    sweep.settings |= {"image": "127.0.0.1:9/lorasweep:1.0", "image_pull_policy": "IfNotPresent"}
    sweep.spec["execution"] |= {"start_timeout_s": SHORT_S}
    plan_trials(sweep, {"A": ["ok"]})
    controller = sweep.start()
    assert "127.0.0.1:9/lorasweep:1.0" in until_waiting(sweep, "A", "image")
    ended = sweep.finish(controller)
    assert ended.code == 1, ended.stderr
    assert "PullBackOff" in ended.stderr or "ErrImagePull" in ended.stderr
    failure = _only_failure(sweep)
    assert (failure.reason, failure.permanent) == ("image", True)
    assert f"not running {SHORT_S} s after it was given a place (start_timeout_s)" in failure.message
    assert_promises(sweep, FAILED)


def test_a_missing_secret_is_named_and_the_trial_starts_once_it_is_there(sweep: ClusterSweep) -> None:
    keys = sweep.settings["s3"]["secret"]
    sweep.settings["s3"]["secret"] = "late"
    plan_trials(sweep, {"A": ["ok"]})
    controller = sweep.start()
    note = until_waiting(sweep, "A", "configuration")
    assert 'CreateContainerConfigError: secret "late" not found' in note
    sweep.until_said(controller, 'waiting  configuration: CreateContainerConfigError: secret "late" not found')
    secret = sweep.namespace.kubectl.get("secret", keys)
    sweep.namespace.kubectl.create(
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "late"}, "data": secret["data"]}
    )
    ended = sweep.finish(controller)
    assert ended.code == 0, ended.stderr
    assert failures(sweep, "A") == []
    assert_promises(sweep, SUCCEEDED)


def test_a_secret_that_stays_missing_fails_the_trial_for_its_configuration(sweep: ClusterSweep) -> None:
    sweep.settings["s3"]["secret"] = "absent"
    sweep.spec["execution"] |= {"start_timeout_s": SHORT_S}
    plan_trials(sweep, {"A": ["ok"]})
    ended = sweep.run()
    assert ended.code == 1, ended.stderr
    failure = _only_failure(sweep)
    assert failure.reason == "configuration"
    assert 'secret "absent" not found' in failure.message
    assert_promises(sweep, FAILED)


def test_more_gpus_than_any_node_has_are_said_before_and_while_the_trial_waits(sweep: ClusterSweep) -> None:
    sweep.spec["execution"] |= {"queue_timeout_s": SHORT_S}
    plan_trials(sweep, {"A": ["ok"]}, gpus=8)
    controller = sweep.start()
    assert "Insufficient nvidia.com/gpu" in until_waiting(sweep, "A", "no_gpu")
    ended = sweep.finish(controller)
    assert ended.code == 1, ended.stderr
    assert "warning: GPU on a node: no node has 8 x nvidia.com/gpu" in ended.stderr
    assert "waiting  no_gpu: 0/1 nodes are available: 1 Insufficient nvidia.com/gpu" in ended.stderr
    failure = _only_failure(sweep)
    assert failure.reason == "queue_timeout"
    assert f"not running {SHORT_S} s after it was submitted (queue_timeout_s)" in failure.message
    assert_promises(sweep, FAILED)


def test_a_trial_that_needs_another_node_waits_in_the_schedulers_words(sweep: ClusterSweep) -> None:
    sweep.settings["resources"]["cpu"] = "1000"
    sweep.spec["execution"] |= {"queue_timeout_s": SHORT_S}
    plan_trials(sweep, {"A": ["ok"]})
    controller = sweep.start()
    assert "Insufficient cpu" in until_waiting(sweep, "A", "unschedulable")
    ended = sweep.finish(controller)
    assert ended.code == 1, ended.stderr
    assert _only_failure(sweep).reason == "queue_timeout"
    assert_promises(sweep, FAILED)


def test_a_quota_that_is_used_up_is_waited_for(sweep: ClusterSweep) -> None:
    _quota(sweep, {"pods": "1"})
    plan_trials(sweep, {"A": ["gate"], "B": ["ok"]})
    controller = sweep.start()
    sweep.until_running("A")
    assert "exceeded quota: small" in until_waiting(sweep, "B", "quota")
    sweep.until_said(controller, "exceeded quota: small, requested: pods=1, used: pods=1, limited: pods=1")
    sweep.open_gates()
    ended = sweep.finish(controller)
    assert ended.code == 0, ended.stderr
    assert_promises(sweep, {"A": "succeeded", "B": "succeeded"})


def test_a_quota_without_room_ends_the_wait_at_its_limit(sweep: ClusterSweep) -> None:
    _quota(sweep, {"pods": "0"})
    sweep.spec["execution"] |= {"queue_timeout_s": SHORT_S}
    plan_trials(sweep, {"A": ["ok"]})
    ended = sweep.run()
    assert ended.code == 1, ended.stderr
    failure = _only_failure(sweep)
    assert failure.reason == "queue_timeout"
    assert "exceeded quota: small" in failure.message
    assert_promises(sweep, FAILED)


def test_a_quota_on_gpus_that_no_trial_fits_in_is_refused_before_a_job_is_made(sweep: ClusterSweep) -> None:
    _quota(sweep, {"requests.nvidia.com/gpu": "1"})
    plan_trials(sweep, {"A": ["ok"]}, gpus=2)
    ended = sweep.run()
    assert ended.code == 78, ended.stderr
    assert "'small' allows 1 of requests.nvidia.com/gpu in all, one trial asks 2" in ended.stderr
    assert sweep.jobs() == []


def test_a_limit_range_that_refuses_the_pods_fails_the_trial_in_its_words(sweep: ClusterSweep) -> None:
    limits = [{"type": "Container", "max": {"memory": "64Mi"}}]
    sweep.namespace.kubectl.create(
        {"apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "tiny"}, "spec": {"limits": limits}}
    )
    _assert_refused(sweep, "maximum memory usage per Container is 64Mi, but limit is 256Mi")


def test_pod_security_that_refuses_the_pods_fails_the_trial_in_its_words(sweep: ClusterSweep) -> None:
    # The template lets through what the restricted profile allows today; as of 1.24 it did not allow this type.
    sweep.pod_spec = {"securityContext": {"seLinuxOptions": {"type": "container_engine_t"}}}
    version = "pod-security.kubernetes.io/enforce-version=v1.24"
    sweep.namespace.kubectl("label", "namespace", sweep.namespace.name, version)
    _assert_refused(sweep, 'violates PodSecurity "restricted:v1.24": seLinuxOptions')


def test_a_job_suspended_from_outside_waits_and_goes_on_without_a_failure(sweep: ClusterSweep) -> None:
    sweep.spec["execution"] |= {"max_attempts": 1}
    plan_trials(sweep, {"A": ["resume"]})
    controller = sweep.start()
    pod = sweep.until_running("A")
    (job,) = sweep.jobs()
    suspend(sweep, job["metadata"]["name"], suspended=True)
    assert f"somebody suspended Job '{job['metadata']['name']}'" in until_waiting(sweep, "A", "suspended")
    sweep.until_said(controller, "waiting  suspended: somebody suspended Job")
    suspend(sweep, job["metadata"]["name"], suspended=False)
    until_another_runs(sweep, "A", than=pod)
    ended = sweep.finish(controller)
    assert ended.code == 0, ended.stderr
    assert failures(sweep, "A") == []
    assert [one["metadata"]["uid"] for one in sweep.jobs()] == [job["metadata"]["uid"]]
    assert_promises(sweep, SUCCEEDED)


def test_a_job_that_stays_suspended_is_given_up_after_the_queues_time(sweep: ClusterSweep) -> None:
    sweep.spec["execution"] |= {"queue_timeout_s": SHORT_S}
    plan_trials(sweep, {"A": ["slow"]})
    controller = sweep.start()
    sweep.until_running("A")
    suspend(sweep, sweep.jobs()[0]["metadata"]["name"], suspended=True)
    ended = sweep.finish(controller)
    assert ended.code == 1, ended.stderr
    assert _only_failure(sweep).reason == "queue_timeout"
    assert_promises(sweep, FAILED)


def test_a_queue_without_kueue_is_waited_for_and_admitted_jobs_run(sweep: ClusterSweep) -> None:
    sweep.settings["kueue"] = {"queue": "nightly"}
    plan_trials(sweep, {"A": ["ok"], "B": ["ok"]})
    controller = sweep.start()
    assert "waiting for admission to Kueue's queue 'nightly'" in until_waiting(sweep, "A", "queued")
    sweep.until_said(controller, "waiting  queued: waiting for admission to Kueue's queue 'nightly'")
    (first,) = sweep.jobs()  # the canary
    assert first["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "nightly"
    suspend(sweep, first["metadata"]["name"], suspended=False)
    second = wait_for("B's Job", lambda: next((job for job in sweep.jobs() if job["spec"]["suspend"]), None))
    suspend(sweep, second["metadata"]["name"], suspended=False)
    ended = sweep.finish(controller)
    assert ended.code == 0, ended.stderr
    assert_promises(sweep, {"A": "succeeded", "B": "succeeded"})


def test_a_pod_deleted_by_hand_before_it_has_a_node_is_a_failed_attempt(sweep: ClusterSweep) -> None:
    plan_trials(sweep, {"A": ["ok"]}, gpus=8)
    controller = sweep.start()
    gone = ""
    for _ in range(2):
        gone = _other_pod(sweep, than=gone)
        until_waiting(sweep, "A", "no_gpu")
        delete(sweep, "pod", gone)
    ended = sweep.finish(controller)
    assert ended.code == 1, ended.stderr
    found = failures(sweep, "A")
    assert [one.reason for one in found] == ["crash", "crash"]
    assert all("was deleted before its process began" in one.message for one in found)
    assert_promises(sweep, FAILED)


def _assert_refused(sweep: ClusterSweep, words: str) -> None:
    """The API server takes the Job and refuses its pods with these words."""
    sweep.spec["execution"] |= {"start_timeout_s": SHORT_S}
    plan_trials(sweep, {"A": ["ok"]})
    controller = sweep.start()
    assert words in until_waiting(sweep, "A", "admission")
    ended = sweep.finish(controller)
    assert ended.code == 1, ended.stderr
    assert "waiting  admission: pods " in ended.stderr
    failure = _only_failure(sweep)
    assert (failure.reason, failure.permanent) == ("admission", True)
    assert words in failure.message
    assert_promises(sweep, FAILED)


def _quota(sweep: ClusterSweep, hard: Mapping[str, str]) -> None:
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "small"}, "spec": {"hard": dict(hard)}}
    sweep.namespace.kubectl.create(quota)

    def counted() -> bool:
        status: Mapping[str, Any] = sweep.namespace.kubectl.get("resourcequota", "small")["status"]
        return "used" in status

    wait_for("the quota to be counted", counted)


def _other_pod(sweep: ClusterSweep, *, than: str) -> str:
    def look() -> str | None:
        names = [str(pod["metadata"]["name"]) for pod in sweep.pods()]
        return next((name for name in names if name != than), None)

    return wait_for("a pod", look)


def _only_failure(sweep: ClusterSweep) -> Failure:
    (failure,) = failures(sweep, "A")
    return failure
