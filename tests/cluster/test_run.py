"""`lorasweep run --backend kubernetes` from beside the cluster, with pods that train nothing."""

from __future__ import annotations

from cluster.promises import assert_promises
from cluster.sweep import ClusterSweep

ALL = {"A": "succeeded", "B": "succeeded", "C": "succeeded"}


def test_every_trial_is_a_job_and_the_report_is_in_the_store(sweep: ClusterSweep) -> None:
    ended = sweep.run()
    assert ended.code == 0, ended.stderr
    assert len(sweep.jobs()) == len(ALL)
    assert sweep.store.stat("report/report.html") is not None
    assert_promises(sweep, ALL)
