"""A canary's findings as they are read from a log, and the Job it is on a cluster."""

from __future__ import annotations

import json
from typing import Any

import pytest
from kube_settings import FULL, PLAIN
from submissions import submission

from controller.canary import canary_checks
from controller.kube.identity import Owner, RunPlace, identity_of, selector
from controller.kube.manifest import canary_manifest, job_manifest
from controller.kube.objects import JobObject, JsonObject, PodObject
from controller.kube.settings import ClusterSettings
from controller.names import Naming
from job.contract.checks import Check

NAMING = Naming(root="s3://bucket/sweeps", sweep="a" * 40, run="main")
OWNER = Owner("release", "9" * 8)


def pod_of(manifest: JsonObject) -> Any:
    """The pod's template, as it goes over the wire."""
    return json.loads(json.dumps(manifest))["spec"]["template"]


def line(name: str, outcome: str, text: str = "", *, passing: bool = False) -> str:
    return json.dumps({"message": "x", "check": {"name": name, "outcome": outcome, "text": text, "passing": passing}})


def test_findings_are_read_from_among_the_other_lines_of_a_log() -> None:
    log = "\n".join(["Traceback", line("device", "ok", "H100"), "{", '{"check": 1}', "[]", line("store", "warning")])
    assert canary_checks(log.encode() + b"\n\xff", exit_code=0, ended="") == (
        Check("canary: device", "ok", "H100"),
        Check("canary: store", "warning"),
    )


def test_a_failure_that_is_said_is_not_said_again() -> None:
    log = line("store", "failed", "no bucket", passing=True).encode()
    assert canary_checks(log, exit_code=75, ended="exited") == (
        Check("canary: store", "failed", "no bucket", passing=True),
    )


@pytest.mark.parametrize(
    ("log", "code", "said"),
    [
        (b"", 0, "with exit code 0"),
        (b"", None, "without an exit code (deleted: by hand)"),
        (line("device", "ok").encode(), 137, "with exit code 137"),
        (line("device", "odd").encode(), 78, "with exit code 78"),
    ],
)
def test_a_process_that_does_not_explain_its_end_is_a_failure(log: bytes, code: int | None, said: str) -> None:
    *_, last = canary_checks(log, exit_code=code, ended="deleted: by hand" if code is None else "")
    assert (last.name, last.outcome) == ("canary", "failed")
    assert said in last.text


@pytest.mark.parametrize("settings", [PLAIN, FULL], ids=["plain", "full"])
@pytest.mark.parametrize("gpus", [0, 1])
def test_its_pod_is_the_trials_but_for_the_word_check(settings: ClusterSettings, gpus: int) -> None:
    made = canary_manifest(submission(), settings=settings, naming=NAMING, namespace="sweeps", gpus=gpus, release=OWNER)
    place = RunPlace(NAMING, "sweeps", OWNER)
    trial = job_manifest(submission(), settings=settings, place=place, gpus=gpus)
    pod, expected = pod_of(made), pod_of(trial)
    container = next(one for one in pod["spec"]["containers"] if one["name"] == "trial")
    assert container.pop("args") == ["--check"]
    assert pod["spec"] == expected["spec"]
    request = "lorasweep.io/request"
    assert pod["metadata"]["annotations"][request] == expected["metadata"]["annotations"][request]


def test_no_run_takes_it_for_one_of_its_own_and_it_goes_by_itself() -> None:
    made = canary_manifest(submission(), settings=FULL, naming=NAMING, namespace="sweeps", gpus=1, release=None)
    metadata = JobObject.read(made).metadata
    assert metadata.name == NAMING.canary()
    assert len(metadata.name) <= 57
    key = selector(NAMING).partition("=")[0]
    for labelled in (metadata, PodObject.read({"kind": "Pod", **pod_of(made)}).metadata):
        assert identity_of(labelled) is None
        assert key not in labelled.labels
        assert labelled.labels["lorasweep.io/canary"] == NAMING.canary()
    assert metadata.owner_references == ()
    spec = made["spec"]
    assert isinstance(spec, dict)
    assert spec["suspend"] is True  # it waits in the queue as a trial does
    assert spec["activeDeadlineSeconds"] == 1800
    assert spec["ttlSecondsAfterFinished"] == 300
