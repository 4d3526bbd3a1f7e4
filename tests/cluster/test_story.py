"""What kubectl alone tells of a run, and a pause on a cluster."""

from __future__ import annotations

from typing import Any

from cluster.sweep import ClusterSweep
from cluster.waiting import wait_for


def run_object(sweep: ClusterSweep) -> dict[str, Any]:
    """The run's ConfigMap; the namespace has no other of ours."""
    (found,) = sweep.namespace.kubectl.list_of("configmaps", "--selector=app.kubernetes.io/name=lorasweep")
    return found


def reasons(sweep: ClusterSweep) -> list[str]:
    """Of the events about the ConfigMap, in the order in which `kubectl describe` shows them."""
    described = sweep.namespace.kubectl("describe", "configmap", run_object(sweep)["metadata"]["name"])
    _, _, events = described.partition("\nEvents:")
    return [line.split()[1] for line in events.splitlines()[3:] if line.strip()]


def test_kubectl_alone_tells_the_story_of_a_run_that_is_paused_and_has_a_failure(sweep: ClusterSweep) -> None:
    sweep.behaviours = {"A": ["gate"], "B": ["80"]}
    sweep.spec["execution"]["parallelism"] = 1
    process = sweep.start("--output", "json")
    sweep.until_running("A")
    assert sweep.verb("pause").code == 0
    sweep.until_said(process, "paused: 1 trial goes on to the end, nothing new is started")
    sweep.open_gates()

    def held() -> dict[str, str] | None:
        shown: dict[str, str] = run_object(sweep)["data"]
        return shown if shown.get("trials") == "1 succeeded, 2 pending" else None

    shown = wait_for("the status of the pause", held, deadline_s=60)
    assert shown["state"] == "paused"
    assert f"`lorasweep resume {sweep.run_uri}` goes on" in shown["waiting.paused"]
    assert shown["leading"].startswith("A (lora.r=1): rougeL ")
    assert len(sweep.jobs()) == 1

    resumed = sweep.verb("resume")
    assert resumed.code == 0, resumed.stderr
    ended = sweep.finish(process)
    assert ended.code == 1, ended.stderr
    assert reasons(sweep) == ["Began", "Paused", "Resumed", "TrialFailed", "Finished"]
    shown = run_object(sweep)["data"]
    assert shown["state"] == "finished"
    assert shown["trials"] == "2 succeeded, 1 failed"
    assert shown["report"] == f"{sweep.run_uri}/report/report.html"
    assert shown["look"] == f"lorasweep status {sweep.run_uri}"
    assert shown["leading"].endswith("on test")
    assert "waiting.paused" not in shown
    assert shown["failed.diverged"].startswith("B: ")


def test_a_pause_and_a_stop_outlive_the_pod_of_their_controller(sweep: ClusterSweep) -> None:
    sweep.extra = {"LORASWEEP_JOB_UID": "5f0c9e7e-0000-4000-8000-000000000001"}
    sweep.behaviours = {"A": ["gate"]}
    sweep.spec["execution"]["parallelism"] = 1
    first = sweep.start()
    sweep.until_running("A")
    assert sweep.verb("pause").code == 0
    sweep.until_said(first, "paused: 1 trial goes on")
    first.kill()
    second = sweep.start("--output", "json")
    sweep.until_said(second, "paused: 1 trial goes on")
    assert len(sweep.jobs()) == 1
    assert sweep.verb("stop").code == 0
    assert sweep.finish(second).code == 1
    third = sweep.run()
    assert third.code == 1
    assert {trial["state"] for trial in third.json["trials"].values()} <= {"stopped", "succeeded"}
    sweep.extra = {"LORASWEEP_JOB_UID": "5f0c9e7e-0000-4000-8000-000000000002"}
    sweep.behaviours = {}  # or the new process of A waited at its gate
    assert sweep.run().code == 0
