"""`status` and `logs` that ask the cluster, from a laptop and without its settings."""

from __future__ import annotations

import signal

from cluster.sweep import ClusterSweep


def test_logs_come_from_the_pod_while_it_is_there_and_from_the_store_afterwards(sweep: ClusterSweep) -> None:
    sweep.behaviours = {"A": ["gate"]}
    sweep.spec["vary"]["grid"]["lora.r"] = [1]
    here = ("--namespace", sweep.namespace.name)
    process = sweep.start()
    pod = sweep.until_running("A")

    log = sweep.verb("logs", *here, "--output", "json")
    assert log.code == 0, log.stderr
    assert log.json["log"].endswith(": gate")
    assert f"from pod {pod} in namespace {sweep.namespace.name}" in log.stderr
    assert sweep.verb("logs", "A").code == 2  # its store has none yet

    told = sweep.verb("status", *here, "--output", "json")
    assert (told.json["controller"], told.json["trials"][0]["state"]) == (True, "running")
    elsewhere = sweep.verb("status", "--namespace", "default")
    assert "has no object in namespace 'default'; this is from its store alone" in elsewhere.stderr

    process.send_signal(signal.SIGTERM)
    assert sweep.finish(process).code == 85
    left = sweep.verb("status", *here)
    assert "no controller is running; go on with: lorasweep run SPEC" in left.stdout

    sweep.open_gates()
    assert sweep.run().code == 0
    sweep.namespace.kubectl("delete", "pods", "--selector=lorasweep.io/group")
    gone = sweep.verb("logs", "A", *here)
    assert f"trial A has no pod at work in namespace {sweep.namespace.name}; this is from its store" in gone.stderr


def test_status_says_in_the_scheduler_s_words_why_a_trial_waits(sweep: ClusterSweep) -> None:
    sweep.spec["vary"]["grid"]["lora.r"] = [1]
    sweep.settings["pod_template"] = {"spec": {"nodeSelector": {"no-such-label": "here"}}}
    process = sweep.start()
    sweep.until_said(process, "waiting  unschedulable")
    told = sweep.verb("status", "--namespace", sweep.namespace.name, "--output", "json").json
    (trial,) = told["trials"]
    assert (trial["state"], trial["reason"]) == ("waiting", "unschedulable")
    assert "node(s)" in trial["note"]
    assert sweep.verb("stop").code == 0
    assert sweep.finish(process).code == 1
