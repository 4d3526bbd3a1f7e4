"""Runs that a CronJob starts, with pods that train nothing: each has its own name, result and end."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from cluster.controllers import controllers, log_of, wait_for_end
from cluster.release import Release
from cluster.sweep import ClusterSweep
from cluster.waiting import wait_for
from job.store import Keys, open_store

SCHEDULED = "batch.kubernetes.io/cronjob-scheduled-timestamp"
RUN_NAME = re.compile(r"[0-9]{8}-[0-9]{4}z")


def _runs(release: Release) -> dict[str, bool]:
    """Each run in the store, and whether it has its report."""
    store = open_store(f"{release.store}/demo")
    keys = [found.key for found in store.list("")]
    return {
        run: f"{run}/{Keys.report('report.html')}" in keys for run in {key.split("/")[0] for key in keys if "/" in key}
    }


def test_a_run_of_the_schedule_is_called_by_its_minute_and_a_run_by_hand_by_when_it_was_made(
    sweep_release: Release, sweep: ClusterSweep
) -> None:
    release = sweep_release
    namespace = release.namespace
    spec, _ = sweep.write()
    release("install", spec, "--set=schedule.cron=* * * * *")
    (first,) = wait_for("the schedule to start a run", lambda: controllers(namespace), deadline_s=150.0)
    namespace.kubectl("patch", "cronjob", "nightly-lorasweep", "--patch", '{"spec": {"suspend": true}}')
    assert wait_for_end(namespace, first) == "Complete", log_of(namespace, first)
    metadata = namespace.kubectl.get("job", first)["metadata"]
    planned = datetime.fromisoformat(metadata["annotations"][SCHEDULED]).astimezone(UTC)
    assert _runs(release) == {f"{planned:%Y%m%d-%H%Mz}": True}

    wait_for("another minute", lambda: datetime.now(UTC) >= planned + timedelta(minutes=1))  # or it joins that run
    namespace.kubectl("create", "job", "--from=cronjob/nightly-lorasweep", "by-hand")
    assert wait_for_end(namespace, "by-hand") == "Complete", log_of(namespace, "by-hand")
    runs = _runs(release)
    assert all(RUN_NAME.fullmatch(run) for run in runs)
    assert list(runs.values()) == [True, True]

    release.helm("uninstall", "nightly", release.place, "--wait", "--cascade=foreground")
    namespace.kubectl("delete", "job", "by-hand", "--ignore-not-found", "--cascade=foreground")
    gone = ("job,pod,configmap,lease", "--selector=lorasweep.io/sweep", "--timeout=120s")
    namespace.kubectl("wait", "--for=delete", *gone)
    assert _runs(release) == runs


def test_a_nightly_run_with_a_failed_trial_fails_its_job_at_once(sweep_release: Release, sweep: ClusterSweep) -> None:
    release = sweep_release
    spec, _ = sweep.write()
    release.trial_env["FAKE_JOB"] = '{"B": ["80"]}'
    release("install", spec, "--set=schedule.cron=30 2 * * *")
    namespace = release.namespace
    namespace.kubectl("create", "job", "--from=cronjob/nightly-lorasweep", "by-hand")
    assert wait_for_end(namespace, "by-hand") == "Failed"
    ended = namespace.kubectl.get("job", "by-hand")["status"]
    assert ended["failed"] == 1  # one pod: exit 1 is not tried again
    assert [reached["reason"] for reached in ended["conditions"] if reached["type"] == "Failed"] == ["PodFailurePolicy"]
    assert list(_runs(release).values()) == [True]
