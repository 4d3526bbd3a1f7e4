"""Which Jobs are made anew because the settings have changed: those that wait and have never run."""

from __future__ import annotations

from typing import Any

import pytest
from kube_objects import PLACE, condition, job, meet, pod, running, scheduled, terminated, waiting
from kube_settings import PLAIN
from submissions import submission

from controller.kube.identity import DISRUPTED, MADE_WITH, RECORDED, STOP
from controller.kube.manifest import job_manifest, settings_mark
from controller.kube.outdated import is_outdated

MARK = settings_mark(PLAIN, run_uri=PLACE.naming.run_uri, gpus=1)
OLD = {MADE_WITH: "0" * 16}
NO_IMAGE = pod(scheduled(), state=waiting("ImagePullBackOff", "no such image"))


def test_a_job_is_marked_with_what_it_was_made_of() -> None:
    (made, same, other) = (
        job_manifest(submission(number=number), settings=settings, place=PLACE, gpus=1)["metadata"]
        for number, settings in ((1, PLAIN), (2, PLAIN), (1, PLAIN.model_copy(update={"image": "job:2"})))
    )
    marks = [dict(metadata)["annotations"][MADE_WITH] for metadata in (made, same, other)]  # type: ignore[arg-type, call-overload, index]  # JSON
    assert marks[0] == marks[1] == MARK
    assert marks[2] != MARK


@pytest.mark.parametrize(
    "settings",
    [{"image": "job:2"}, {"gpu_resource": "amd.com/gpu"}, {"kueue": {"queue": "gpus"}}, {"grace_period_s": 7}],
)
def test_what_a_pod_or_its_queue_is_made_of_has_a_mark_of_its_own(settings: dict[str, Any]) -> None:
    changed = PLAIN.model_validate({**PLAIN.model_dump(mode="json"), **settings})
    assert settings_mark(changed, run_uri=PLACE.naming.run_uri, gpus=1) != MARK
    assert settings_mark(PLAIN, run_uri=PLACE.naming.run_uri, gpus=2) != MARK


def test_how_hard_the_api_server_is_pressed_makes_no_other_pod() -> None:
    changed = PLAIN.model_validate({**PLAIN.model_dump(mode="json"), "api": {"burst": 1}, "finished_ttl_s": 1})
    assert settings_mark(changed, run_uri=PLACE.naming.run_uri, gpus=1) == MARK


@pytest.mark.parametrize("pods", [[], [NO_IMAGE], [pod()]], ids=["refused", "no image", "no node"])
def test_a_job_that_waits_for_what_was_mended_is_made_anew(pods: list[dict[str, Any]]) -> None:
    assert is_outdated(meet(job(annotations=OLD), pods), mark=MARK)
    # A controller died between the mark and the deletion.
    assert not pods or is_outdated(meet(job(annotations=OLD | {RECORDED: "now"}), pods), mark=MARK)


@pytest.mark.parametrize(
    ("one", "pods"),
    [
        (job(annotations={MADE_WITH: MARK}), [NO_IMAGE]),
        (job(), [NO_IMAGE]),
        (job(annotations=OLD | {STOP: "now"}), [NO_IMAGE]),
        (job(annotations=OLD, deleting=True), [NO_IMAGE]),
        (job(condition("FailureTarget"), annotations=OLD), [NO_IMAGE]),
        (job(condition("Failed"), annotations=OLD), []),
        (job(annotations=OLD), [pod(scheduled(), phase="Running", state=running())]),
        (job(annotations=OLD), [pod(scheduled(), phase="Failed", state=terminated(85))]),
        (job(annotations=OLD | {DISRUPTED: "pod-1"}), [NO_IMAGE]),
    ],
    ids=["same", "earlier release", "stops", "goes", "closes", "over", "runs", "ran", "was disrupted"],
)
def test_every_other_job_is_left_alone(one: dict[str, Any], pods: list[dict[str, Any]]) -> None:
    assert not is_outdated(meet(one, pods), mark=MARK)
