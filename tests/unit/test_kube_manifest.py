"""The Job of a submission: golden files, and what holds for all of them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from fake_sweep import DIGEST, lead_trial, lora_trial, plan_of, planned, request_for
from kube_objects import PLACE, as_json
from kube_settings import FULL, PLAIN
from submissions import submission

from controller.backend import Submission
from controller.kube.identity import RunPlace
from controller.kube.manifest import gpus_of, job_manifest
from controller.kube.settings import ClusterSettings
from controller.names import Naming
from job.contract.config import (
    DataOptions,
    GenerationOptions,
    ModelOptions,
    PlannedTrial,
    PromptTemplate,
    Request,
    Source,
    TrialConfig,
)
from job.contract.documents import parse
from job.contract.errors import SpecError

GOLDEN = Path(__file__).parents[1] / "golden" / "kube"
UPDATE = "UPDATE_GOLDEN=1 python -m pytest tests/unit/test_kube_manifest.py"
Json = dict[str, Any]


def zero_shot(text: str = "{x}") -> PlannedTrial:
    config = TrialConfig(
        kind="zero-shot",
        model=ModelOptions(digest=DIGEST),
        data=DataOptions(digest=DIGEST, splits={"validation": "v"}, columns={"input": "x", "target": "y"}),
        prompt=PromptTemplate(prompt=text, completion="{y}"),
        generation=GenerationOptions(),
    )
    return planned(config, letter="A", label="zero-shot, prompt=v1")


def of_trials(*trials: PlannedTrial) -> Submission:
    plan = plan_of(trials, per_group=len(trials))
    asked = request_for(plan, plan.groups[0].trial_ids)
    name = PLACE.naming.submission(plan.groups[0].trial_ids, 1)
    return Submission(name=name, number=1, group_id=plan.groups[0].group_id, request=asked)


def manifest(
    asked: Submission | None = None, *, settings: ClusterSettings = PLAIN, place: RunPlace = PLACE, gpus: int = 1
) -> Json:
    """As it is sent: through JSON."""
    made = job_manifest(asked or submission(), settings=settings, place=place, gpus=gpus)
    return as_json(made)


def trial_of(made: Json) -> Json:
    found: Json = made["spec"]["template"]["spec"]["containers"][0]
    return found


@pytest.mark.parametrize(
    ("name", "asked", "settings"),
    [
        ("trained", of_trials(lora_trial(0)), PLAIN),
        ("packed-everything-set", of_trials(lora_trial(0), lora_trial(1)), FULL),
        ("lead-3", of_trials(lead_trial(3)), PLAIN),
    ],
)
def test_the_manifest_is_the_golden_one(name: str, asked: Submission, settings: ClusterSettings) -> None:
    found = json.dumps(manifest(asked, settings=settings), indent=2, ensure_ascii=False) + "\n"
    golden = GOLDEN / f"{name}.json"
    if os.environ.get("UPDATE_GOLDEN"):
        golden.parent.mkdir(exist_ok=True)
        golden.write_text(found)
    assert found == golden.read_text(), f"if the change is meant: {UPDATE}"


def test_the_request_reaches_the_job_byte_for_byte_and_nothing_in_it_is_expanded() -> None:
    hostile = zero_shot('$(AWS_SECRET_ACCESS_KEY) $$(X) {{7*7}} "\n- name: LD_PRELOAD\n  value: /x\n# ümläut {x}')
    made = manifest(of_trials(hostile))
    template = made["spec"]["template"]
    text = template["metadata"]["annotations"]["lorasweep.io/request"]
    assert parse(Request, text.encode(), name="request").trials == (hostile,)
    rest = json.dumps([made["metadata"], template["spec"], template["metadata"]["labels"]])
    assert "AWS_SECRET_ACCESS_KEY" not in rest
    assert "LD_PRELOAD" not in rest
    (item,) = next(one for one in template["spec"]["volumes"] if one["name"] == "request")["downwardAPI"]["items"]
    assert item == {
        "path": "request.json",
        "fieldRef": {"fieldPath": "metadata.annotations['lorasweep.io/request']"},
    }


def test_a_dollar_in_the_store_s_address_is_no_variable_of_the_kubelet() -> None:
    place = RunPlace(Naming("s3://bucket/$(HOME)", "demo", "main"), PLACE.namespace, PLACE.owner)
    command = trial_of(manifest(place=place))["command"]
    assert command[:4] == ["python", "-m", "job", "/etc/lorasweep/request.json"]
    assert command[4:] == ["--run-uri", "s3://bucket/$$(HOME)/demo/main", "--attempt", "$(LORASWEEP_ATTEMPT)"]


@pytest.mark.parametrize(
    ("trials", "asked", "given"),
    [
        ((lora_trial(0),), 1, 1),
        ((lora_trial(0),), 0, 0),
        ((lora_trial(0), lora_trial(1)), 2, 2),
        ((zero_shot(),), 2, 1),
        ((zero_shot(),), 0, 0),
        ((lead_trial(3),), 2, 0),
    ],
)
def test_a_job_asks_for_the_gpus_that_it_uses(trials: tuple[PlannedTrial, ...], asked: int, given: int) -> None:
    made = of_trials(*trials)
    assert gpus_of(made.request, gpus=asked) == given
    pod = manifest(made, gpus=asked)["spec"]["template"]["spec"]
    limits, env = pod["containers"][0]["resources"]["limits"], pod["containers"][0]["env"]
    assert limits.get("nvidia.com/gpu") == (str(given) if given else None)
    assert ("tolerations" in pod) == bool(given)
    assert ({"name": "NVIDIA_VISIBLE_DEVICES", "value": "void"} in env) == (not given)


def test_no_gpu_is_named_where_the_cluster_hands_them_out_by_claim() -> None:
    claimed = PLAIN.model_copy(update={"gpu_resource": None})
    assert set(trial_of(manifest(settings=claimed))["resources"]["limits"]) == {"memory"}


def test_the_controller_alone_retries_and_nothing_is_timed_by_the_cluster() -> None:
    spec = manifest()["spec"]
    assert (spec["backoffLimit"], spec["podReplacementPolicy"]) == (0, "Failed")
    assert [rule["action"] for rule in spec["podFailurePolicy"]["rules"]] == ["Ignore", "Ignore", "FailJob"]
    assert "ttlSecondsAfterFinished" not in spec
    assert "activeDeadlineSeconds" not in json.dumps(spec)
    assert spec["suspend"] is False
    assert manifest(settings=FULL)["spec"]["suspend"] is True


def test_a_store_in_a_folder_is_refused() -> None:
    place = RunPlace(Naming("/runs", "demo", "main"), PLACE.namespace, PLACE.owner)
    with pytest.raises(SpecError, match=r"'/runs/demo/main' is a folder.*--store s3://"):
        manifest(place=place)


@pytest.mark.parametrize("location", ["/elsewhere/model", "/somewhere-else/model", "/somewhere/../etc", "/"])
def test_a_path_outside_of_every_declared_volume_is_refused(location: str) -> None:
    asked = submission()
    source = Source(kind="path", location=location, digest=DIGEST)
    elsewhere = asked.request.model_copy(update={"data": source})
    moved = Submission(name=asked.name, number=1, group_id=asked.group_id, request=elsewhere)
    with pytest.raises(SpecError, match=r"data.source: .*in no declared volume \(/somewhere\); use a hub id"):
        manifest(moved)


def test_a_source_in_a_bucket_needs_no_volume() -> None:
    asked = submission()
    source = Source(kind="s3", location="s3://bucket/model", digest=DIGEST)
    moved = asked.request.model_copy(update={"data": source, "model": source})
    bare = PLAIN.model_copy(update={"volumes": ()})
    manifest(Submission(name=asked.name, number=1, group_id=asked.group_id, request=moved), settings=bare)


def test_a_request_that_is_too_large_for_an_annotation_is_refused_with_its_sizes() -> None:
    with pytest.raises(SpecError, match=r"trial A \(zero-shot, prompt=v1\): .*131,072 are allowed"):
        manifest(of_trials(zero_shot("x" * 140_000)))


def test_annotations_that_are_too_large_together_are_refused_with_their_sizes() -> None:
    heavy = PLAIN.model_copy(
        update={
            "pod_template": FULL.pod_template.model_validate({"metadata": {"annotations": {"note": "x" * 200_000}}})
        }
    )
    with pytest.raises(SpecError, match=r"262,144 are allowed \(note 200,004, lorasweep.io/request 1"):
        manifest(of_trials(zero_shot("x" * 100_000)), settings=heavy)


def test_the_same_values_give_the_same_bytes() -> None:
    assert json.dumps(manifest()) == json.dumps(manifest())
