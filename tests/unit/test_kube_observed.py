"""What the cluster says about a live submission, as the decision table wants to hear it."""

from __future__ import annotations

from typing import Any

import pytest
from kube_objects import NAME, as_json, at, condition, event, job, meet, pod, running, scheduled, terminated, waiting
from submissions import submission

from controller.backend import Observed
from controller.kube.objects import JobObject, PodObject
from controller.kube.observed import observed
from controller.kube.patches import disrupted_patch, recorded_patch, stop_patch
from controller.kube.sighting import sightings

NO_GPU = (
    "0/3 nodes are available: 1 node(s) had untolerated taint(s), 2 Insufficient nvidia.com/gpu. no new claims to "
    "deallocate, preemption: 0/3 nodes are available: 3 Preemption is not helpful for scheduling."
)
NO_MEMORY = (
    "0/3 nodes are available: 3 Insufficient memory. preemption: 0/3 nodes are available: 3 No preemption victims."
)
QUOTA = (
    f'Error creating: pods "{NAME}-q8zzt" is forbidden: exceeded quota: gpus, requested: requests.nvidia.com/gpu=1, '
    "used: requests.nvidia.com/gpu=2, limited: requests.nvidia.com/gpu=2"
)
POD_SECURITY = (
    f'Error creating: pods "{NAME}-q8zzt" is forbidden: violates PodSecurity "restricted:latest": '
    'allowPrivilegeEscalation != false (container "proxy" must set securityContext.allowPrivilegeEscalation=false)'
)
LIMIT_RANGE = (
    f'Error creating: pods "{NAME}-q8zzt" is forbidden: maximum memory usage per Container is 1Gi, but limit is 8Gi'
)
UNDER_QUOTA = (
    f'Error creating: pods "{NAME}-q8zzt" is forbidden: failed quota: cores: must specify limits.cpu for: trial'
)
WEBHOOK = 'Error creating: admission webhook "policy.example.org" denied the request: images need a signature'
PULL = (
    'Back-off pulling image "registry/job:1": ErrImagePull: rpc error: code = NotFound desc = failed to pull '
    'and unpack image "registry/job:1": not found'
)
MOUNT = 'MountVolume.SetUp failed for volume "credentials" : secret "s3" not found'

STARTED = (scheduled(), condition("Initialized"), condition("ContainersReady"), condition("Ready"))


def run_pod(number: int = 1, **changes: Any) -> dict[str, Any]:
    return pod(*STARTED, phase="Running", state=running(), number=number, **changes)


def evicted(number: int = 1, **changes: Any) -> dict[str, Any]:
    why = condition("DisruptionTarget", reason="EvictionByEvictionAPI", message="Eviction API: evicting")
    return pod(scheduled(), why, phase="Failed", state=terminated(85), number=number, **changes)


@pytest.mark.parametrize(
    ("pods", "events", "reason", "text"),
    [
        ([pod()], [], "queued", "no scheduler has looked"),
        ([pod(condition("PodScheduled", "False", reason="Unschedulable", message=NO_GPU))], [], "no_gpu", NO_GPU),
        (
            [pod(condition("PodScheduled", "False", reason="Unschedulable", message=NO_MEMORY))],
            [],
            "unschedulable",
            NO_MEMORY,
        ),
        (
            [pod(condition("PodScheduled", "False", reason="SchedulingGated", message="Scheduling is blocked"))],
            [],
            "queued",
            "Scheduling is blocked",
        ),
        ([pod(scheduled())], [], "starting", ""),
        (
            [pod(scheduled(), state=waiting("ContainerCreating"))],
            [
                event("Scheduled", "Successfully assigned", about="pod-1", kind="Normal", seconds=2),
                event("Pulling", 'Pulling image "registry/job:1"', about="pod-1", kind="Normal", seconds=3),
            ],
            "starting",
            'Pulling image "registry/job:1"',
        ),
        ([pod(scheduled(), state=waiting("ImagePullBackOff", PULL))], [], "image", f"ImagePullBackOff: {PULL}"),
        ([pod(scheduled(), state=waiting("ErrImageNeverPull", "not present"))], [], "image", "not present"),
        ([pod(scheduled(), state=waiting("PodInitializing"), init=waiting("ErrImagePull", "x"))], [], "image", "x"),
        (
            [pod(scheduled(), state=waiting("CreateContainerConfigError", 'secret "s3" not found'))],
            [],
            "configuration",
            'CreateContainerConfigError: secret "s3" not found',
        ),
        (
            [pod(scheduled(), state=waiting("ContainerCreating"))],
            [event("FailedMount", MOUNT, about="pod-1")],
            "configuration",
            MOUNT,
        ),
        (
            [pod(scheduled(), state=waiting("ContainerCreating"))],
            [event("FailedCreatePodSandBox", "Failed to create pod sandbox: no IP", about="pod-1")],
            "starting",
            "FailedCreatePodSandBox: Failed to create pod sandbox: no IP",
        ),
        ([], [], "queued", "has not made its pod"),
        ([], [event("FailedCreate", QUOTA)], "quota", "exceeded quota: gpus"),
        ([], [event("FailedCreate", f"(combined from similar events): {QUOTA}")], "quota", "exceeded quota: gpus"),
        ([], [event("FailedCreate", UNDER_QUOTA)], "admission", "must specify limits.cpu"),
        ([], [event("FailedCreate", POD_SECURITY)], "admission", 'violates PodSecurity "restricted:latest"'),
        ([], [event("FailedCreate", LIMIT_RANGE)], "admission", "limit is 8Gi"),
        ([], [event("FailedCreate", WEBHOOK)], "admission", "images need a signature"),
        ([], [event("FailedCreate", "Error creating: etcdserver: request timed out")], "queued", "request timed out"),
        (
            [],
            [event("FailedCreate", QUOTA, seconds=5), event("SuccessfulCreate", "Created pod", kind="Normal")],
            "queued",
            "has not made its pod",
        ),
    ],
)
def test_every_wait_has_its_reason_in_the_words_of_who_holds_it_up(
    pods: list[dict[str, Any]], events: list[dict[str, Any]], reason: str, text: str
) -> None:
    seen = observed(meet(job(), pods, events))
    assert (seen.state, seen.wait_reason) == ("waiting", reason)
    assert text in seen.text
    assert not seen.text.startswith(("Error creating", "(combined"))
    assert seen.attempt is None
    assert seen.started_at is None


def test_what_the_scheduler_said_before_there_was_a_node_is_over() -> None:
    pods = [pod(scheduled(), state=waiting("ContainerCreating"))]
    seen = observed(meet(job(), pods, [event("FailedScheduling", NO_GPU, about="pod-1")]))
    assert (seen.wait_reason, seen.text) == ("starting", "")


def test_what_a_submission_is_stands_on_its_job() -> None:
    seen = observed(meet(job()))
    asked = submission()
    assert (seen.name, seen.number, seen.group_id, seen.trial_ids) == (asked.name, 1, asked.group_id, asked.trial_ids)
    assert seen.submitted_at == at(0)


def test_a_running_pod_has_an_attempt_and_its_times() -> None:
    seen = observed(meet(job(), [run_pod()]))
    assert seen.state == "running"
    assert seen.attempt == "pod-1"
    assert (seen.submitted_at, seen.scheduled_at, seen.started_at) == (at(1), at(2), at(10))
    assert seen.disruptions == 0


def test_time_in_the_queue_is_not_time_to_start() -> None:
    seen = observed(meet(job(), [pod(scheduled(500), state=waiting("ContainerCreating"))]))
    assert (seen.submitted_at, seen.scheduled_at) == (at(1), at(500))


@pytest.mark.parametrize(
    ("queue", "events", "reason", "text"),
    [
        (None, [], "suspended", "spec.suspend"),
        ("gpus", [event("CreatedWorkload", "Created Workload: x", kind="Normal")], "queued", "Kueue's queue 'gpus'"),
        ("gpus", [event("Stopped", "Preempted by a workload", kind="Normal")], "queued", "Preempted by a workload"),
    ],
)
def test_a_suspended_job_waits_and_does_not_fail(
    queue: str | None, events: list[dict[str, Any]], reason: str, text: str
) -> None:
    since = condition("Suspended", reason="JobSuspended", message="Job suspended", seconds=300)
    seen = observed(meet(job(since, suspend=True, queue=queue), [], events))
    assert (seen.state, seen.wait_reason, seen.scheduled_at) == ("waiting", reason, None)
    assert text in seen.text
    assert seen.submitted_at == at(300)


def test_a_pod_that_a_suspension_deletes_holds_its_trial_until_it_is_gone() -> None:
    suspended = job(condition("Suspended"), suspend=True)
    ending = run_pod(deleted_at=400)
    assert observed(meet(suspended, [ending])).state == "running"
    assert observed(meet(suspended, [ending], gone=["pod-1"])).wait_reason == "suspended"


LOST = [
    # The node controller has set Ready to False, and the kubelet has not said a word since.
    pod(scheduled(), condition("ContainersReady"), condition("Ready", "False"), phase="Running", state=running()),
    # Five minutes later it is deleted, and nobody is there to end it.
    pod(
        scheduled(),
        condition("ContainersReady"),
        condition("Ready", "False"),
        condition("DisruptionTarget", reason="DeletionByTaintManager", message="Taint manager: deleting"),
        phase="Running",
        state=running(),
        deleted_at=500,
    ),
    # Its image was still being pulled.
    pod(
        scheduled(),
        condition("ContainersReady", "False", reason="ContainersNotReady"),
        condition("Ready", "False", reason="ContainersNotReady"),
        condition("DisruptionTarget", reason="DeletionByTaintManager", message="Taint manager: deleting"),
        state=waiting("ContainerCreating"),
        deleted_at=500,
    ),
]


@pytest.mark.parametrize("lost", LOST)
def test_a_silent_node_is_a_wait_with_its_remedy(lost: dict[str, Any]) -> None:
    seen = observed(meet(job(), [lost]))
    assert (seen.state, seen.wait_reason) == ("waiting", "node_lost")
    assert "kubectl delete node gpu-7" in seen.text


def test_a_readiness_gate_that_somebody_added_is_no_lost_node() -> None:
    gated = condition("Ready", "False", reason="ReadinessGatesNotReady", message='corresponding condition "x" of pod')
    seen = observed(
        meet(job(), [pod(scheduled(), condition("ContainersReady"), gated, phase="Running", state=running())])
    )
    assert seen.state == "running"


def test_a_pod_that_ends_in_order_is_on_no_lost_node() -> None:
    ending = pod(
        scheduled(),
        condition("ContainersReady", "False", reason="ContainersNotReady"),
        condition("Ready", "False", reason="ContainersNotReady"),
        condition("DisruptionTarget", reason="EvictionByEvictionAPI", message="Eviction API: evicting"),
        phase="Running",
        state=running(),
        deleted_at=500,
    )
    seen = observed(meet(job(), [ending]))
    assert (seen.state, seen.text) == ("running", "being evicted: Eviction API: evicting")


def test_an_evicted_pod_is_replaced_and_counted_and_its_successor_waits_anew() -> None:
    second = pod(condition("PodScheduled", "False", reason="Unschedulable", message=NO_GPU), number=2, seconds=110)
    waits = observed(meet(job(), [evicted(), second]))
    assert (waits.state, waits.wait_reason, waits.disruptions) == ("waiting", "no_gpu", 1)
    assert waits.attempt == "pod-1"  # the newest process
    assert waits.submitted_at == at(110)
    runs = observed(meet(job(), [evicted(), run_pod(2, seconds=110)]))
    assert (runs.state, runs.attempt, runs.disruptions) == ("running", "pod-2", 1)


def test_a_wait_after_an_eviction_begins_at_the_end_of_the_pod() -> None:
    seen = observed(meet(job(), [evicted()], [event("FailedCreate", QUOTA, seconds=130)]))
    assert (seen.wait_reason, seen.submitted_at, seen.disruptions) == ("quota", at(100), 1)


def test_a_refusal_after_a_wait_for_quota_is_measured_by_itself() -> None:
    events = [
        event("FailedCreate", QUOTA, seconds=10),
        event("FailedCreate", QUOTA, seconds=5000),
        event("FailedCreate", WEBHOOK, seconds=5100),
        event("FailedCreate", WEBHOOK, seconds=5200),
    ]
    for told in (events, events[::-1]):
        seen = observed(meet(job(), [], told))
        assert (seen.wait_reason, seen.submitted_at) == ("admission", at(5100))


def test_disruptions_are_remembered_by_the_job_when_the_pods_are_gone() -> None:
    sighting = meet(job(), [evicted(), run_pod(2, seconds=110)])
    patch = disrupted_patch(sighting)
    assert patch == {"metadata": {"annotations": {"lorasweep.io/disrupted": "pod-1"}}}
    noted = job(annotations=as_json(patch)["metadata"]["annotations"])
    later = meet(noted, [run_pod(2, seconds=110)])
    assert observed(later).disruptions == 1
    assert disrupted_patch(later) is None
    assert observed(meet(noted, [evicted(), run_pod(2, seconds=110)])).disruptions == 1


def test_a_pod_that_never_ran_was_not_disrupted() -> None:
    unscheduled = pod(phase="Failed", deleted_at=50)
    assert observed(meet(job(), [unscheduled, run_pod(2, seconds=60)])).disruptions == 0


@pytest.mark.parametrize(
    "pods",
    [
        [pod(scheduled(), phase="Succeeded", state=terminated(0, "Completed"))],
        [pod(scheduled(), condition("DisruptionTarget"), phase="Succeeded", state=terminated(0, "Completed"))],
        [pod(scheduled(), phase="Failed", state=terminated(79))],
        [pod(phase="Failed", deleted_at=50)],
    ],
)
def test_a_job_that_the_job_controller_has_yet_to_close_still_runs(pods: list[dict[str, Any]]) -> None:
    seen = observed(meet(job(), pods))
    assert seen.state == "running"
    assert "closes the Job" in seen.text
    assert seen.disruptions == 0


def test_a_decided_end_waits_for_the_pods() -> None:
    decided = job(condition("FailureTarget", reason="DeadlineExceeded", message="Job was active longer"))
    assert observed(meet(decided, [run_pod(deleted_at=300)])).state == "running"
    assert observed(meet(decided, [])).state == "running"


def test_a_live_pod_outlives_its_job() -> None:
    left = run_pod()
    assert observed(meet(None, [left])).trial_ids == submission().trial_ids
    seen = observed(meet(job(), [left], gone=[job()["metadata"]["uid"]]))
    assert (seen.state, seen.text) == ("running", "its Job was deleted; the pod ends")


def test_a_forgotten_pod_is_dead_whatever_its_phase_was() -> None:
    seen = observed(meet(job(), [run_pod()], gone=["pod-1"]))
    assert (seen.state, seen.wait_reason, seen.disruptions) == ("waiting", "queued", 1)


def test_a_job_that_was_asked_to_stop_says_so() -> None:
    asked = stop_patch(now=at(50))
    assert asked["spec"] == {"activeDeadlineSeconds": 1}
    marked = job(annotations=as_json(asked)["metadata"]["annotations"])
    assert observed(meet(marked, [run_pod()])).stopping
    assert not observed(meet(job(), [run_pod()])).stopping


def seen_again(*jobs: dict[str, Any], pods: list[dict[str, Any]], gone: frozenset[str] = frozenset()) -> list[Observed]:
    found = sightings(map(JobObject.read, jobs), map(PodObject.read, pods), gone=gone)
    return [observed(one) for one in found]


def test_a_recorded_job_counts_for_nothing_unless_a_pod_of_it_lives() -> None:
    patch = recorded_patch(now=at(200), ttl_s=60)
    assert patch["spec"] == {"ttlSecondsAfterFinished": 60}
    kept = job(condition("Complete"), annotations=as_json(patch)["metadata"]["annotations"])
    assert seen_again(kept, pods=[pod(scheduled(), phase="Succeeded", state=terminated(0))]) == []
    assert [one.state for one in seen_again(kept, pods=[run_pod()])] == ["running"]


def test_what_is_not_ours_is_not_seen() -> None:
    foreign = job()
    del foreign["metadata"]["labels"]["lorasweep.io/submission"]
    broken = job()
    broken["metadata"]["annotations"]["lorasweep.io/trials"] = "../../x"
    assert seen_again(foreign, broken, pods=[]) == []


@pytest.mark.parametrize("seconds", [0, 100])
def test_two_jobs_of_one_name_are_one_submission(seconds: float) -> None:
    successor = job(uid="second", seconds=seconds)
    gone = frozenset({job()["metadata"]["uid"]})
    assert [one.state for one in seen_again(job(), successor, pods=[run_pod()], gone=gone)] == ["running"]
    for jobs in ((successor, job()), (job(), successor)):
        assert [one.wait_reason for one in seen_again(*jobs, pods=[], gone=gone)] == ["queued"]
