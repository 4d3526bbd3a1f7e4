"""Whose a Job is, and what a name that is taken means."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kube_objects import NAME, PLACE, condition, job, pod
from submissions import PLAN, submission

from controller.backend import Submission
from controller.kube.identity import Owner, RunPlace, annotations_of, identity_of, labels_of, same_submission, selector
from controller.kube.objects import JobObject, PodObject
from controller.names import Naming
from job.contract.errors import PreflightError, TransientError

Json = dict[str, Any]
# apimachinery's rules: pkg/util/validation.
LABEL_KEY = re.compile(r"([a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
LABEL_VALUE = re.compile(r"([A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?")
RUNS = st.from_regex(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,126}[A-Za-z0-9])?", fullmatch=True)
SWEEPS = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?", fullmatch=True)


def standing(given_job: Json, *, asked: Submission | None = None, place: RunPlace = PLACE) -> str:
    return same_submission(JobObject.read(given_job), asked or submission(), place)


@pytest.mark.parametrize(
    ("given_job", "expected"),
    [
        (job(), "adopted"),
        (job(suspend=True, queue="gpus"), "adopted"),
        (job(deleting=True), "terminating"),
        (job(condition("Complete")), "finished"),
        (job(condition("Failed")), "finished"),
        (job(condition("Failed"), deleting=True), "finished"),
        (job(condition("FailureTarget")), "adopted"),
        (job(condition("Complete"), annotations={"lorasweep.io/recorded": "t"}), "recorded"),
        (job(condition("Complete"), annotations={"lorasweep.io/recorded": "t"}, deleting=True), "terminating"),
    ],
)
def test_a_job_of_our_own_name_is_taken_for_what_it_is(given_job: Json, expected: str) -> None:
    assert standing(given_job) == expected


@pytest.mark.parametrize("label", ["sweep", "run", "run-hash", "group", "submission"])
def test_a_job_that_differs_in_a_label_is_foreign(label: str) -> None:
    changed = job()
    changed["metadata"]["labels"][f"lorasweep.io/{label}"] = "other"
    if label == "submission":
        del changed["metadata"]["labels"]["lorasweep.io/submission"]
    assert standing(changed) == "foreign"


def test_a_job_without_our_marks_is_foreign() -> None:
    plain = job()
    plain["metadata"] |= {"labels": {"app": "theirs"}, "annotations": {}}
    assert standing(plain) == "foreign"


def test_another_store_s_job_is_foreign() -> None:
    elsewhere = RunPlace(Naming("s3://bucket/other", "demo", "main"), "sweeps", PLACE.owner)
    assert standing(job(), place=elsewhere) == "foreign"


def test_a_job_whose_owner_is_gone_goes_too_and_one_with_another_owner_is_foreign() -> None:
    renewed = RunPlace(PLACE.naming, PLACE.namespace, Owner(PLACE.owner.name, "owner-2"))
    assert standing(job(), place=renewed) == "terminating"
    stranger = RunPlace(PLACE.naming, PLACE.namespace, Owner("lorasweep-other", "owner-2"))
    assert standing(job(), place=stranger) == "foreign"
    orphan = job()
    del orphan["metadata"]["ownerReferences"]
    assert standing(orphan) == "foreign"


def test_a_submission_for_fewer_trials_of_its_group_is_the_same() -> None:
    fewer = submission()
    changed = job()
    changed["metadata"]["annotations"]["lorasweep.io/trials"] = PLAN.trials[1].trial_id
    assert standing(changed, asked=fewer) == "adopted"


@pytest.mark.parametrize("kind", [JobObject, PodObject])
def test_a_job_and_its_pods_say_the_same(kind: type[JobObject] | type[PodObject]) -> None:
    found = identity_of(kind.read(job() if kind is JobObject else pod()).metadata)
    asked = submission()
    assert found == (NAME, 1, asked.group_id, asked.trial_ids)


def test_another_release_is_refused_by_name() -> None:
    newer = job(annotations={"lorasweep.io/format": "2"})
    with pytest.raises(PreflightError, match=rf"{NAME}.*format '2'.*kubectl delete job {NAME}"):
        identity_of(JobObject.read(newer).metadata)


@pytest.mark.parametrize("value", [None, "text", [], {"metadata": {"uid": 3}}, {"spec": {}}, {"metadata": "x"}])
def test_what_is_no_job_is_worth_another_look(value: object) -> None:
    with pytest.raises(TransientError, match="Job that cannot be read"):
        JobObject.read(value)


def test_the_request_of_a_pod_is_not_kept() -> None:
    assert "lorasweep.io/request" in pod()["metadata"]["annotations"]
    kept = PodObject.read(pod()).metadata.annotations
    assert "lorasweep.io/request" not in kept
    assert "other" not in kept


@given(sweep=SWEEPS, run=RUNS, number=st.integers(min_value=1, max_value=9_999_999))
def test_every_label_is_valid(sweep: str, run: str, number: int) -> None:
    naming = Naming("s3://bucket/root", sweep, run)
    first = submission()
    name = naming.submission(first.trial_ids, number)
    asked = Submission(name=name, number=number, group_id=first.group_id, request=first.request)
    labels = labels_of(asked, naming)
    assert all(LABEL_KEY.fullmatch(key) and LABEL_VALUE.fullmatch(value) for key, value in labels.items())
    assert selector(naming).split("=", 1)[1] == labels["lorasweep.io/run-hash"]
    assert LABEL_KEY.fullmatch(selector(naming).split("=", 1)[0])
    read = JobObject.read({"metadata": {"labels": labels, "annotations": annotations_of(asked, naming)}})
    assert identity_of(read.metadata) == (name, number, first.group_id, first.trial_ids)


def test_runs_of_two_stores_are_told_apart() -> None:
    assert selector(Naming("s3://a/runs", "demo", "main")) != selector(Naming("s3://b/runs", "demo", "main"))


def test_long_runs_with_one_beginning_have_labels_of_their_own() -> None:
    labels = {labels_of(submission(), Naming("s3://a", "demo", "x" * 100 + end))["lorasweep.io/run"] for end in "ab"}
    assert len(labels) == 2
