"""Two releases of one sweep: the second waits, and is not left behind when the first is uninstalled."""

from __future__ import annotations

from cluster.sweep import ClusterSweep


def test_a_release_that_waits_for_another_ones_run_is_begun_anew_when_that_goes(sweep: ClusterSweep) -> None:
    for release in ("one", "two"):
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": release}}
        sweep.namespace.kubectl.create(body)
    sweep.behaviours = {"A": ["resume"]}
    first = sweep.start("--owner", "one")
    sweep.until_running("A")
    second = sweep.start("--owner", "two")
    sweep.until_said(second, "another controller leads this run")
    sweep.namespace.kubectl("delete", "configmap", "one")
    for process in (first, second):
        ended = sweep.finish(process, deadline_s=120)  # far from the five minutes after which everything is listed anew
        assert ended.code == 85, ended.stderr
    assert "was deleted, and its Jobs with it" in sweep.said(second)
    ended = sweep.run("--owner", "two")  # as the Job's next pod does
    assert ended.code == 0, ended.stderr
    assert len(sweep.results()) == 3
