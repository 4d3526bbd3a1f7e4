"""A node that falls silent on a real cluster: the kubelet is stopped, and so the cluster must be this test's alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from cluster.certificates import NODE
from cluster.cluster import GPUS, Cluster
from cluster.promises import assert_promises
from cluster.strikes import failures, plan_trials, until_waiting
from cluster.sweep import ClusterSweep
from cluster.waiting import wait_for

KUBELET = "kubelet"
DEADLINE_S = 300.0
SHORT_S = 40
"""Shorter than the 50 s after which the node controller gives a silent node up."""


def test_a_trial_on_a_lost_node_waits_for_it_and_keeps_its_attempt(cluster: Cluster, sweep: ClusterSweep) -> None:
    sweep.spec["execution"] |= {"max_attempts": 1, "start_timeout_s": SHORT_S, "queue_timeout_s": SHORT_S}
    plan_trials(sweep, {"A": ["gate"]})
    controller = sweep.start()
    pod = sweep.until_running("A")
    with _silent(cluster):
        note = until_waiting(sweep, "A", "node_lost")
        assert f"node '{NODE}' does not answer" in note
        assert f"kubectl delete node {NODE}" in note
        sweep.until_said(controller, f"waiting  node_lost: node '{NODE}' does not answer")
    wait_for("the trial to be seen running again", lambda: _state(sweep) == "running", deadline_s=DEADLINE_S)
    assert sweep.until_running("A") == pod
    sweep.open_gates()
    ended = sweep.finish(controller)
    assert ended.code == 0, ended.stderr
    assert failures(sweep, "A") == []
    assert [(end.number, end.outcome) for end in sweep.ends().values()] == [(1, "done")]
    assert_promises(sweep, {"A": "succeeded"})


@contextmanager
def _silent(cluster: Cluster) -> Iterator[None]:
    """Nobody hears of the node, while its containers go on; afterwards it is as it was, GPUs included."""
    cluster.programs.stop(KUBELET)
    try:
        yield
    finally:
        cluster.programs.start(KUBELET)
        cluster.wait_until_ready()
        cluster.set_gpus(GPUS)


def _state(sweep: ClusterSweep) -> str:
    status = sweep.verb("status", "--namespace", sweep.namespace.name, "--output", "json").json
    return str(status["trials"][0]["state"])
