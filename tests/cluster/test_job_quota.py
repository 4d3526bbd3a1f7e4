"""A namespace whose quota counts Jobs, finished ones included."""

from __future__ import annotations

from cluster.promises import assert_promises
from cluster.strikes import plan_trials
from cluster.sweep import ClusterSweep
from cluster.waiting import wait_for

ALL = {"A": "succeeded", "B": "succeeded", "C": "succeeded"}


def test_trials_wait_in_the_quota_s_words_until_a_finished_job_has_gone(sweep: ClusterSweep) -> None:
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "few"}}
    sweep.namespace.kubectl.create({**quota, "spec": {"hard": {"count/jobs.batch": 1}}})
    kubectl = sweep.namespace.kubectl
    wait_for("the quota to count", lambda: kubectl.get("resourcequota", "few").get("status", {}).get("hard"))
    plan_trials(sweep, {"A": ["gate"], "B": ["ok"], "C": ["ok"]})
    sweep.settings["finished_ttl_s"] = 1
    controller = sweep.start("--output", "json")
    told = wait_for("the run's object to tell of the quota", lambda: _told(sweep).get("waiting.quota"))
    assert "exceeded quota: few" in told
    sweep.open_gates()
    ended = sweep.finish(controller)
    assert ended.code == 0, ended.stderr
    assert_promises(sweep, ALL)


def _told(sweep: ClusterSweep) -> dict[str, str]:
    found = sweep.namespace.kubectl.list_of("configmaps", "--selector=lorasweep.io/run")
    return dict(found[0]["data"]) if found else {}
