"""What becomes of trials whose pods and Jobs end otherwise than they should, on a real cluster."""

from __future__ import annotations

import json

from cluster.cluster import Cluster
from cluster.promises import assert_promises
from cluster.strikes import delete, evict, failures, kill_process, plan_trials, until_another_runs
from cluster.sweep import ClusterSweep
from cluster.waiting import wait_for

DISRUPTED = "lorasweep.io/disrupted"


def test_a_pod_deleted_by_hand_ends_with_85_and_its_job_replaces_it(sweep: ClusterSweep) -> None:
    plan_trials(sweep, {"A": ["resume"]})
    controller = sweep.start()
    pod = sweep.until_running("A")
    uid = sweep.namespace.kubectl.get("pod", pod)["metadata"]["uid"]
    delete(sweep, "pod", pod)
    ended = sweep.finish(controller)
    assert ended.code == 0, ended.stderr
    # Any other exit code than 85 would have ended the Job, and be a failure of the trial.
    assert [(end.number, end.outcome) for end in sweep.ends().values()] == [(1, "done")]
    assert sweep.jobs()[0]["metadata"]["annotations"][DISRUPTED] == uid
    assert [result.attempt for result in sweep.results().values()] != [uid]
    assert failures(sweep, "A") == []
    assert_promises(sweep, {"A": "succeeded"})


def test_an_evicted_trial_goes_on_in_another_pod_and_has_not_failed(sweep: ClusterSweep) -> None:
    sweep.spec["execution"]["max_attempts"] = 1
    plan_trials(sweep, {"A": ["resume"]})
    controller = sweep.start()
    evict(sweep, sweep.until_running("A"))
    ended = sweep.finish(controller)
    assert ended.code == 0, ended.stderr
    assert [(end.number, end.outcome) for end in sweep.ends().values()] == [(1, "done")]
    assert failures(sweep, "A") == []
    assert_promises(sweep, {"A": "succeeded"})


def test_an_evicted_process_that_has_to_be_killed_has_not_failed_either(sweep: ClusterSweep) -> None:
    sweep.settings["grace_period_s"] = 1
    sweep.spec["execution"] |= {"max_attempts": 1, "max_disruptions": 0}
    plan_trials(sweep, {"A": ["deaf"]})
    controller = sweep.start()
    evict(sweep, sweep.until_running("A"))
    ended = sweep.finish(controller)
    assert ended.code == 1, ended.stderr
    assert [failure.reason for failure in failures(sweep, "A")] == ["disruptions"]
    assert_promises(sweep, {"A": "failed"})


def test_a_trial_that_is_evicted_too_often_fails(sweep: ClusterSweep) -> None:
    sweep.spec["execution"]["max_disruptions"] = 1
    plan_trials(sweep, {"A": ["slow"], "B": ["ok"]})
    controller = sweep.start()
    first = sweep.until_running("A")
    evict(sweep, first)
    evict(sweep, until_another_runs(sweep, "A", than=first))
    ended = sweep.finish(controller)
    assert ended.code == 1, ended.stderr
    (failure,) = failures(sweep, "A")
    assert failure.reason == "disruptions"
    assert "2 times, more than max_disruptions=1" in failure.message
    assert_promises(sweep, {"A": "failed", "B": "succeeded"})


def test_a_process_over_its_memory_limit_has_failed_and_is_not_tried_again(sweep: ClusterSweep) -> None:
    plan_trials(sweep, {"A": ["eat"]})
    ended = sweep.run()
    assert ended.code == 1, ended.stderr
    (failure,) = failures(sweep, "A")
    assert (failure.reason, failure.permanent, failure.exit_code) == ("oom", True, 137)
    assert "memory limit of 256Mi" in failure.message
    assert "trial A" in failure.log_tail
    assert_promises(sweep, {"A": "failed"})


def test_a_kill_for_another_cause_than_memory_is_tried_again(cluster: Cluster, sweep: ClusterSweep) -> None:
    plan_trials(sweep, {"A": ["slow", "ok"]})
    controller = sweep.start()
    kill_process(cluster, sweep, sweep.until_running("A"))
    ended = sweep.finish(controller)
    assert ended.code == 0, ended.stderr
    assert [(one.reason, one.exit_code) for one in failures(sweep, "A")] == [("crash", 137)]
    assert_promises(sweep, {"A": "succeeded"})


def test_exit_codes_of_the_contract_are_permanent_and_the_report_says_what_the_process_said(
    sweep: ClusterSweep,
) -> None:
    plan_trials(sweep, {"A": ["80"], "B": ["64"], "C": ["65"]})
    ended = sweep.run()
    assert ended.code == 1, ended.stderr
    for letter, code, reason in (("A", 80, "diverged"), ("B", 64, "usage"), ("C", 65, "data")):
        (failure,) = failures(sweep, letter)
        assert (failure.exit_code, failure.reason, failure.permanent) == (code, reason, True)
        assert f"trial {letter} attempt {failure.attempt}: {code}" in failure.message  # the termination message
    assert_promises(sweep, dict.fromkeys("ABC", "failed"))


def test_a_crash_is_tried_again_up_to_max_attempts_and_its_last_lines_are_kept(sweep: ClusterSweep) -> None:
    plan_trials(sweep, {"A": ["1"], "B": ["1", "ok"]})
    ended = sweep.run()
    assert ended.code == 1, ended.stderr
    assert [one.reason for one in failures(sweep, "A")] == ["crash", "crash"]
    assert all(f"attempt {one.attempt}: 1" in one.log_tail for one in failures(sweep, "A"))
    assert [one.reason for one in failures(sweep, "B")] == ["crash"]
    assert_promises(sweep, {"A": "failed", "B": "succeeded"})


def test_success_without_a_result_is_a_failure(sweep: ClusterSweep) -> None:
    plan_trials(sweep, {"A": ["nothing"], "B": ["nothing", "ok"]})
    ended = sweep.run()
    assert ended.code == 1, ended.stderr
    assert [one.reason for one in failures(sweep, "A")] == ["result_missing", "result_missing"]
    assert_promises(sweep, {"A": "failed", "B": "succeeded"})


def test_a_result_counts_although_its_process_failed_and_the_report_says_so(sweep: ClusterSweep) -> None:
    plan_trials(sweep, {"A": ["stumble"]})
    ended = sweep.run()
    assert ended.code == 0, ended.stderr
    assert [end.outcome for end in sweep.ends().values()] == ["failed"]
    assert failures(sweep, "A") == []
    assert any("A" in note and "exit 1" in note for note in _notes(sweep)), _notes(sweep)
    assert_promises(sweep, {"A": "succeeded"})


def test_a_job_deleted_by_hand_is_made_again_as_the_next_attempt_and_the_report_says_so(sweep: ClusterSweep) -> None:
    plan_trials(sweep, {"A": ["slow", "ok"]})
    controller = sweep.start()
    sweep.until_running("A")
    name = _job_name(sweep)
    delete(sweep, "job", name)
    ended = sweep.finish(controller)
    assert ended.code == 0, ended.stderr
    (failure,) = failures(sweep, "A")
    assert (failure.reason, failure.permanent) == ("crash", False)
    assert sorted((end.number, end.outcome) for end in sweep.ends().values()) == [(1, "failed"), (2, "done")]
    assert any(f"{name!r} was deleted from outside" in note for note in _notes(sweep)), _notes(sweep)
    assert_promises(sweep, {"A": "succeeded"})


def test_a_job_that_is_deleted_each_time_fails_its_trial(sweep: ClusterSweep) -> None:
    plan_trials(sweep, {"A": ["slow"]})
    controller = sweep.start()
    first = sweep.until_running("A")
    delete(sweep, "job", _job_name(sweep))
    until_another_runs(sweep, "A", than=first)
    delete(sweep, "job", _job_name(sweep))
    ended = sweep.finish(controller)
    assert ended.code == 1, ended.stderr
    assert [one.reason for one in failures(sweep, "A")] == ["crash", "crash"]
    assert_promises(sweep, {"A": "failed"})


def test_a_job_that_is_gone_before_anybody_read_its_end_has_its_result_all_the_same(sweep: ClusterSweep) -> None:
    plan_trials(sweep, {"A": ["gate"], "B": ["gate"]})
    controller = sweep.start()
    sweep.until_running("A")
    sweep.until_running("B")
    controller.kill()
    controller.communicate()
    by_hand, by_time = (job["metadata"]["name"] for job in sweep.jobs())
    sweep.namespace.kubectl("patch", "job", by_time, "--type=merge", '--patch={"spec":{"ttlSecondsAfterFinished":1}}')
    sweep.open_gates()
    wait_for("both results", lambda: len(sweep.results()) == 2)
    delete(sweep, "job", by_hand)
    wait_for("both Jobs to go", lambda: not sweep.jobs(), deadline_s=90)
    ended = sweep.run()
    assert ended.code == 0, ended.stderr
    assert ended.json["submissions"] == 0
    assert_promises(sweep, {"A": "succeeded", "B": "succeeded"})


def test_jobs_go_soon_after_their_end_is_stored_where_they_are_told_to(sweep: ClusterSweep) -> None:
    sweep.settings["finished_ttl_s"] = 0
    plan_trials(sweep, {"A": ["ok"]})
    assert sweep.run().code == 0
    wait_for("the Job to go", lambda: not sweep.jobs(), deadline_s=90)
    assert_promises(sweep, {"A": "succeeded"})


def test_two_pods_of_one_trial_publish_one_result(sweep: ClusterSweep) -> None:
    plan_trials(sweep, {"A": ["gate"]})
    controller = sweep.start()
    pod = sweep.namespace.kubectl.get("pod", sweep.until_running("A"))
    sweep.namespace.kubectl.create(_twin(pod))
    sweep.namespace.wait_for_phase("twin", "Running")
    sweep.until_running("A")
    sweep.open_gates()
    ended = sweep.finish(controller)
    assert ended.code == 0, ended.stderr
    trial_id = sweep.trial_ids()["A"]
    logs = [one.key for one in sweep.store.list(f"trials/{trial_id}/attempts/") if one.key.endswith("/manifest.json")]
    assert len(logs) == 2
    assert failures(sweep, "A") == []
    assert_promises(sweep, {"A": "succeeded"})


def _twin(pod: dict[str, object]) -> dict[str, object]:
    """A second pod of the trial, as a node that was thought lost brings it back: no Job knows it."""
    whole = json.loads(json.dumps(pod))
    metadata, spec = whole["metadata"], whole["spec"]
    labels = {key: value for key, value in metadata["labels"].items() if key.split("/")[0] != "batch.kubernetes.io"}
    labels = {key: value for key, value in labels.items() if key not in {"controller-uid", "job-name"}}
    del spec["nodeName"]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "twin", "labels": labels, "annotations": metadata["annotations"]},
        "spec": spec,
    }


def _job_name(sweep: ClusterSweep) -> str:
    """Of the submission that is alive."""
    (name,) = (job["metadata"]["name"] for job in sweep.jobs() if "deletionTimestamp" not in job["metadata"])
    return str(name)


def _notes(sweep: ClusterSweep) -> list[str]:
    report = json.loads(sweep.store.read("report/report.json", limit_bytes=10**7))
    return list(report["warnings"])
