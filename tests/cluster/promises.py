"""The four promises of docs/design.md, checked on what a fault test has left behind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from cluster.sweep import ClusterSweep, Ended
from job.store import Keys

__all__ = ["assert_one_live_submission_each", "assert_promises"]

FINAL = {"succeeded", "failed", "stopped"}
REWRITTEN = ("report/", Keys.CONTROL)
"""What a run may write again; a report is compared by its numbers elsewhere."""


def assert_promises(sweep: ClusterSweep, states: Mapping[str, str], *, run_again: bool = True) -> None:
    """After a fault, once the sweep is over: `states` is what has become of the trials, by letter."""
    assert_one_live_submission_each(sweep)
    seen = {trial["letter"]: trial["state"] for trial in sweep.status()["trials"]}
    assert seen == dict(states)
    assert set(seen.values()) <= FINAL
    verified = sweep.verb("report", "--verify", "--output", "json")
    assert verified.code in {0, 1}, verified.stderr
    failed = [letter for letter, state in states.items() if state == "failed"]
    assert sorted(one["letter"] for one in verified.json["failures"]) == sorted(failed), verified.stderr
    assert len(sweep.results()) == list(states.values()).count("succeeded")
    if run_again:
        _assert_nothing_changes(sweep, code=0 if set(states.values()) == {"succeeded"} else 1)


def assert_one_live_submission_each(sweep: ClusterSweep) -> None:
    """No two pods, and no two unfinished Jobs, hold one trial."""
    living_pods = [pod for pod in sweep.pods() if pod["status"].get("phase") not in {"Succeeded", "Failed"}]
    open_jobs = [job for job in sweep.jobs() if not _ended(job)]
    for what in (living_pods, open_jobs):
        held = Counter(
            trial for one in what for trial in one["metadata"]["annotations"]["lorasweep.io/trials"].split(",")
        )
        assert [trial for trial, count in held.items() if count > 1] == []


def _ended(job: dict[str, object]) -> bool:
    status = job["status"]
    conditions = status.get("conditions", []) if isinstance(status, dict) else []
    return any(seen["type"] in {"Complete", "Failed"} and seen["status"] == "True" for seen in conditions)


def _assert_nothing_changes(sweep: ClusterSweep, *, code: int) -> None:
    before, jobs = _kept(sweep), _uids(sweep)
    again: Ended = sweep.run()
    assert again.code == code, again.stderr
    assert _kept(sweep) == before
    assert _uids(sweep) <= jobs  # the TTL may have taken some away


def _kept(sweep: ClusterSweep) -> dict[str, str]:
    return {found.key: found.etag for found in sweep.store.list("") if not found.key.startswith(REWRITTEN)}


def _uids(sweep: ClusterSweep) -> set[str]:
    return {job["metadata"]["uid"] for job in sweep.jobs()}
