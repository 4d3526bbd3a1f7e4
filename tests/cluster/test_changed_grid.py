"""A sweep whose spec was changed between two runs, on a real cluster."""

from __future__ import annotations

import json
from typing import Any

from cluster.sweep import ClusterSweep


def _report_of_a_run(sweep: ClusterSweep) -> Any:
    ended = sweep.run()
    assert ended.code == 0, ended.stderr
    return json.loads(sweep.store.read("report/report.json", limit_bytes=10**7))


def test_a_changed_grid_runs_what_is_new_and_what_left_it_stays_in_the_store_and_out_of_the_ranking(
    sweep: ClusterSweep,
) -> None:
    sweep.spec["execution"]["gpus"] = 0
    was = _report_of_a_run(sweep)["spec_sha256"]
    left, *kept = sweep.trial_ids().values()
    results, jobs = sweep.results(), sweep.uids()

    sweep.spec["vary"]["grid"]["lora.r"] = [2, 3, 4]
    report = _report_of_a_run(sweep)
    (new,) = set(sweep.trial_ids().values()) - {*kept}
    assert set(sweep.results()) == {left, *kept, new}
    assert results.items() <= sweep.results().items()
    assert len(set(sweep.uids().values()) - set(jobs.values())) == 1
    assert {trial["trial_id"] for row in report["configurations"] for trial in row["trials"]} == {*kept, new}
    assert report["spec_sha256"] != was
    (said,) = (warning for warning in report["warnings"] if "left the grid" in warning)
    assert was[:12] in said
    assert report["spec_sha256"][:12] in said
    assert left in said
