"""Controllers that die, leave, overlap or lose what they stand on, on a real cluster; the four promises after each."""

from __future__ import annotations

import signal

import pytest

from cluster.broken_controller import Break
from cluster.promises import assert_one_live_submission_each, assert_promises
from cluster.sweep import ClusterSweep
from cluster.waiting import wait_for

ALL = {"A": "succeeded", "B": "succeeded", "C": "succeeded"}
WAITING = {"A": ["gate"], "B": ["gate"], "C": ["gate"]}
LEADS = "another controller leads this run"
PLANNED = "3 trials, 2 at a time"


@pytest.fixture
def sweep(sweep: ClusterSweep) -> ClusterSweep:
    """Its pods ask for no GPU, so that they need not wait for those of other tests."""
    sweep.spec["execution"]["gpus"] = 0
    return sweep


@pytest.mark.parametrize(
    ("broken", "jobs"),
    [
        (Break("create jobs", what="killed before"), 0),
        (Break("create jobs", nth=2), 2),  # and nobody has heard of the second
        (Break("put_once submissions/", what="killed before"), 1),
        (Break("put_once submissions/", nth=3), 3),
        (Break("patch jobs", nth=3), 3),
        (Break("put report/report", what="killed before"), 3),
    ],
    ids=["no-job", "second-job", "nothing-recorded", "all-recorded", "all-forgotten", "no-report"],
)
def test_a_controller_that_is_killed_is_followed_by_one_that_goes_on_with_the_same_jobs(
    sweep: ClusterSweep, broken: Break, jobs: int
) -> None:
    sweep.break_at(broken)
    assert sweep.run().code == -signal.SIGKILL
    before = sweep.uids()
    assert len(before) >= jobs
    sweep.break_at(None)
    sweep.end_lease()
    ended = sweep.run()
    assert ended.code == 0, ended.stderr
    after = sweep.uids()
    assert len(after) == len(ALL)
    assert before.items() <= after.items()
    assert_promises(sweep, ALL)


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGTERM, 85), (signal.SIGINT, 130)])
def test_a_controller_that_is_told_to_end_leaves_its_jobs_running_and_says_how_to_go_on(
    sweep: ClusterSweep, signum: signal.Signals, code: int
) -> None:
    sweep.behaviours = dict(WAITING)
    first = sweep.start()
    pods = {sweep.until_running("A"), sweep.until_running("B")}
    first.send_signal(signum)
    left = sweep.finish(first)
    assert left.code == code, left.stderr
    assert "2 go on in the cluster" in left.stderr
    assert "go on:  lorasweep run" in left.stderr
    assert f"end:    lorasweep stop {sweep.run_uri}" in left.stderr
    before = sweep.uids()
    assert {pod["metadata"]["name"] for pod in sweep.pods("--field-selector=status.phase=Running")} == pods
    second = sweep.start()
    sweep.until_said(second, PLANNED)
    assert LEADS not in sweep.said(second)  # the Lease was given back
    sweep.open_gates()
    sweep.until_running("C")
    sweep.open_gates()
    ended = sweep.finish(second)
    assert ended.code == 0, ended.stderr
    assert before.items() <= sweep.uids().items()
    assert_promises(sweep, ALL)


def test_a_second_controller_waits_says_who_leads_and_follows_when_the_first_is_killed(sweep: ClusterSweep) -> None:
    sweep.behaviours = dict(WAITING)
    first = sweep.start()
    pods = {sweep.until_running("A"), sweep.until_running("B")}
    second = sweep.start()
    sweep.until_said(second, f"{LEADS}: ")
    assert f"-{first.pid}-" in sweep.said(second)
    before = sweep.uids()
    first.kill()
    sweep.until_said(second, PLANNED)
    sweep.open_gates()
    sweep.until_running("C")
    sweep.open_gates()
    ended = sweep.finish(second)
    assert ended.code == 0, ended.stderr
    assert before.items() <= sweep.uids().items()
    assert {result.attempt for result in sweep.results().values()} >= _uids_of(sweep, pods)  # nobody stopped them
    assert_promises(sweep, ALL)


def test_a_leader_that_was_paused_for_longer_than_its_lease_ends_when_it_wakes(sweep: ClusterSweep) -> None:
    sweep.behaviours = dict(WAITING)
    first = sweep.start()
    sweep.until_running("A")
    sweep.until_running("B")
    first.send_signal(signal.SIGSTOP)
    second = sweep.start()
    sweep.until_said(second, PLANNED)  # it leads now
    first.send_signal(signal.SIGCONT)

    def ended() -> bool:
        assert_one_live_submission_each(sweep)
        return first.poll() is not None

    wait_for("the first to end", ended)
    left = sweep.finish(first)
    assert left.code == 85, left.stderr
    assert "taken by another controller" in left.stderr
    sweep.open_gates()
    sweep.until_running("C")
    assert_one_live_submission_each(sweep)
    sweep.open_gates()
    assert sweep.finish(second).code == 0
    assert len(sweep.uids()) == len(ALL)
    assert_promises(sweep, ALL)


def test_a_deleted_config_map_ends_the_run_and_its_jobs_and_a_new_run_goes_on(sweep: ClusterSweep) -> None:
    sweep.behaviours = {"B": ["late", "ok"], "C": ["late", "ok"]}  # they outlive their Jobs until the grace is over
    sweep.settings["grace_period_s"] = 15
    sweep.spec["execution"]["max_attempts"] = 1  # what was done to all of the run counts against no trial
    first = sweep.start()
    pods = [sweep.until_running("B"), sweep.until_running("C")]
    jobs = sweep.uids()
    sweep.namespace.kubectl("delete", "configmap", "--selector=lorasweep.io/run-hash", "--wait=false")
    left = sweep.finish(first)
    assert left.code == 85, left.stderr
    assert "ConfigMap" in left.stderr
    assert "was deleted, and its Jobs with it" in left.stderr
    assert set(pods) <= {pod["metadata"]["name"] for pod in sweep.pods()}
    ended = sweep.run()
    assert ended.code == 0, ended.stderr
    assert not set(jobs.values()) & set(sweep.uids().values())
    assert_promises(sweep, ALL)


def test_a_stop_while_jobs_are_made_leaves_none_running_and_keeps_what_is_finished(sweep: ClusterSweep) -> None:
    sweep.behaviours = {"A": ["ok"], "B": ["slow"], "C": ["slow"]}
    run = sweep.start()
    wait_for("the Job of B or C", lambda: len(sweep.uids()) > 1)
    wait_for("the result of A", lambda: len(sweep.results()) == 1)
    assert sweep.verb("stop").code == 0
    ended = sweep.finish(run)
    assert ended.code == 1, ended.stderr
    assert [job["metadata"]["name"] for job in sweep.jobs() if job["status"].get("active")] == []
    assert_promises(sweep, {"A": "succeeded", "B": "stopped", "C": "stopped"}, run_again=False)  # it would take it back


def test_objects_of_another_format_are_refused_by_name_and_left_alone(sweep: ClusterSweep) -> None:
    assert sweep.run().code == 0
    name, *_ = sweep.uids()
    sweep.namespace.kubectl("annotate", "job", name, "lorasweep.io/format=2", "--overwrite")
    before = sweep.namespace.kubectl.get("job", name)
    sweep.spec["vary"]["grid"]["lora.r"] = [1, 2, 3, 4]
    ended = sweep.run()
    assert ended.code == 78, ended.stderr
    assert f"Job {name!r} was made by another release of lorasweep (format '2'" in ended.stderr
    assert len(sweep.uids()) == len(ALL)
    assert sweep.namespace.kubectl.get("job", name) == before


def _uids_of(sweep: ClusterSweep, pods: set[str]) -> set[str]:
    return {pod["metadata"]["uid"] for pod in sweep.pods() if pod["metadata"]["name"] in pods}
