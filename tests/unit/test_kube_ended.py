"""How Jobs end, and what that means for their trials."""

from __future__ import annotations

from typing import Any

import pytest
from kube_objects import NAME, as_json, at, condition, job, meet, pod, running, scheduled, terminated

from controller.backend import Observed
from controller.endings import ending
from controller.kube.objects import PodObject
from controller.kube.observed import observed
from controller.kube.patches import disrupted_patch, stop_patch
from controller.kube.sighting import sightings

Json = dict[str, Any]

DRAINED = condition("DisruptionTarget", reason="EvictionByEvictionAPI", message="Eviction API: evicting")
STOP: dict[str, str] = as_json(stop_patch(now=at(50)))["metadata"]["annotations"]


def failed(reason: str = "PodFailurePolicy", message: str = "", *, stop: bool = False) -> Json:
    said = condition(
        "Failed", reason=reason, message=message or f"Container trial for pod x/{NAME} failed", seconds=120
    )
    return job(condition("FailureTarget", reason=reason), said, annotations=STOP if stop else None)


def by_policy(code: int) -> Json:
    text = f"Container trial for pod sweeps/{NAME}-x7k21 failed with exit code {code} matching FailJob rule at index 2"
    return failed(message=text)


def dead(exit_code: int, reason: str = "Error", *conditions: Json, **changes: Any) -> Json:
    state = terminated(exit_code, reason, message=changes.pop("said", ""))
    return pod(scheduled(), *conditions, phase="Failed", state=state, **changes)


DEADLINE = failed("DeadlineExceeded", "Job was active longer than specified deadline", stop=True)
BACKOFF = failed("BackoffLimitExceeded", "Job has reached the specified backoff limit")
UNSEEN = pod(
    scheduled(),
    phase="Failed",
    state=terminated(137, "ContainerStatusUnknown", message="could not be located", began=None, ended=None),
)
NO_DEVICE = pod(
    scheduled(),
    phase="Failed",
    reason="UnexpectedAdmissionError",
    message="Allocate failed due to no healthy devices present; cannot allocate unhealthy devices nvidia.com/gpu",
)

# Job, pods, asked to stop: cause, exit code, words; outcome and reason of a trial that it leaves undone.
ENDS: list[tuple[str, Json, list[Json], bool, tuple[str, int | None, str], tuple[str, str | None]]] = [
    (
        "out of GPU memory",
        by_policy(79),
        [dead(79, said="batch 8\n")],
        False,
        ("exited", 79, "batch 8"),
        ("failed", "gpu_oom"),
    ),
    ("diverged", by_policy(80), [dead(80)], False, ("exited", 80, ""), ("failed", "diverged")),
    (
        "try again",
        by_policy(75),
        [dead(75, said="store is down")],
        False,
        ("exited", 75, "store"),
        ("retry", "unavailable"),
    ),
    ("crash", by_policy(139), [dead(139)], False, ("exited", 139, ""), ("failed", "crash")),
    ("killed by nobody known", by_policy(137), [dead(137)], False, ("exited", 137, ""), ("failed", "crash")),
    ("OOM", by_policy(137), [dead(137, "OOMKilled")], False, ("oom", 137, "memory limit of 8Gi"), ("failed", "oom")),
    ("OOM of a worker", by_policy(70), [dead(70, "OOMKilled")], False, ("oom", 70, "OOMKilled"), ("failed", "oom")),
    (
        "no such command",
        by_policy(128),
        [pod(scheduled(), phase="Failed", state=terminated(128, "StartError", message="exec: python", began=1970))],
        False,
        ("exited", 128, "StartError: exec: python"),
        ("failed", "crash"),
    ),
    ("asked to stop", DEADLINE, [dead(85, deleted_at=200)], True, ("exited", 85, ""), ("stopped", None)),
    ("stopped from outside", by_policy(85), [dead(85)], False, ("exited", 85, ""), ("disrupted", None)),
    (
        "SIGTERM before the handler",
        by_policy(143),
        [dead(143, deleted_at=200)],
        False,
        ("exited", 143, ""),
        ("disrupted", None),
    ),
    ("grace is over", DEADLINE, [dead(137, deleted_at=200)], True, ("killed", 137, ""), ("stopped", None)),
    (
        "drained too slowly",
        by_policy(137),
        [dead(137, deleted_at=200)],
        False,
        ("killed", 137, ""),
        ("disrupted", None),
    ),
    (
        "evicted",
        BACKOFF,
        [dead(137, "Error", DRAINED)],
        False,
        ("evicted", 137, "Eviction API: evicting"),
        ("disrupted", None),
    ),
    ("no device", BACKOFF, [NO_DEVICE], False, ("evicted", None, "no healthy devices"), ("disrupted", None)),
    ("container lost", by_policy(137), [UNSEEN], False, ("lost", None, "could not be located"), ("disrupted", None)),
    (
        "deleted while unscheduled",
        BACKOFF,
        [pod(phase="Failed", deleted_at=30)],
        False,
        ("deleted", None, "before its process began"),
        ("failed", "crash"),
    ),
    (
        "stopped while unscheduled",
        DEADLINE,
        [pod(phase="Failed", deleted_at=30)],
        True,
        ("deleted", None, ""),
        ("stopped", None),
    ),
    ("stopped, pods gone", DEADLINE, [], True, ("deleted", None, "DeadlineExceeded"), ("stopped", None)),
    ("pods gone, by policy", by_policy(79), [], False, ("exited", 79, ""), ("failed", "gpu_oom")),
    ("pods gone", BACKOFF, [], False, ("lost", None, "backoff limit"), ("disrupted", None)),
    (
        "fetched in vain",
        BACKOFF,
        [pod(scheduled(), phase="Failed", init=terminated(7, message="no route"))],
        False,
        ("exited", None, "'fetch', which runs before the trial, ended with exit 7: no route"),
        ("failed", "crash"),
    ),
]


def left_undone(seen: Observed, *, asked: bool) -> tuple[str, str | None]:
    found = ending(seen, asked=asked, complete=False)
    return found.outcome, found.reason


@pytest.mark.parametrize(
    ("given", "pods", "asked", "said", "meant"), [row[1:] for row in ENDS], ids=[row[0] for row in ENDS]
)
def test_the_end_of_a_failed_job(
    given: Json, pods: list[Json], asked: bool, said: tuple[str, int | None, str], meant: tuple[str, str | None]
) -> None:
    seen = observed(meet(given, pods))
    cause, code, text = said
    assert (seen.state, seen.cause, seen.exit_code) == ("ended", cause, code)
    assert text in seen.text
    assert left_undone(seen, asked=asked) == meant
    assert seen.stopping == asked


def test_a_complete_job_names_its_pod_and_its_times() -> None:
    done = pod(scheduled(), phase="Succeeded", state=terminated(0, "Completed"))
    seen = observed(meet(job(condition("SuccessCriteriaMet"), condition("Complete", seconds=120)), [done]))
    assert (seen.state, seen.cause, seen.exit_code, seen.attempt) == ("ended", "exited", 0, "pod-1")
    assert (seen.scheduled_at, seen.started_at, seen.ended_at) == (at(2), at(10), at(100))
    assert left_undone(seen, asked=False) == ("failed", "result_missing")


def test_a_complete_job_without_pods_is_still_complete() -> None:
    seen = observed(meet(job(condition("Complete", seconds=120))))
    assert (seen.cause, seen.exit_code, seen.attempt, seen.ended_at) == ("exited", 0, None, at(120))


def test_the_newest_process_decides_and_the_others_were_disrupted() -> None:
    sighting = meet(by_policy(80), [dead(85, "Error", DRAINED), dead(80, number=2, seconds=110)])
    seen = observed(sighting)
    assert (seen.attempt, seen.exit_code, seen.disruptions) == ("pod-2", 80, 1)
    assert disrupted_patch(sighting) is None  # its end is written down with the Job


@pytest.mark.parametrize("how", ["gone", "being deleted"])
def test_a_job_deleted_by_hand_ends_when_its_pod_does(how: str) -> None:
    given = job(deleting=how == "being deleted")
    gone = [given["metadata"]["uid"]] if how == "gone" else []
    alive = pod(scheduled(), phase="Running", state=running(), deleted_at=200)
    assert observed(meet(given, [alive], gone=gone)).state == "running"
    seen = observed(meet(given, [dead(85, deleted_at=200)], gone=[*gone, "pod-1"]))
    assert (seen.state, seen.cause, seen.exit_code) == ("ended", "deleted", 85)
    assert left_undone(seen, asked=False) == ("failed", "crash")


def test_pods_that_are_left_of_a_job_that_nobody_here_has_seen_are_no_failure() -> None:
    (sighting,) = sightings((), [PodObject.read(dead(85, deleted_at=200))])
    seen = observed(sighting)
    assert (seen.state, seen.cause, seen.exit_code) == ("ended", "lost", 85)
    assert left_undone(seen, asked=False) == ("disrupted", None)


def test_a_finished_job_that_somebody_tidied_away_ended_as_it_did() -> None:
    given = by_policy(79)
    seen = observed(meet(given, [dead(79)], gone=[given["metadata"]["uid"], "pod-1"]))
    assert (seen.cause, seen.exit_code) == ("exited", 79)


def test_a_suspended_job_that_is_asked_to_stop_has_ended() -> None:
    seen = observed(meet(job(condition("Suspended"), suspend=True, queue="gpus", annotations=STOP)))
    assert (seen.state, seen.cause, seen.stopping) == ("ended", "deleted", True)
    assert left_undone(seen, asked=True) == ("stopped", None)
    assert left_undone(seen, asked=False) == ("disrupted", None)
