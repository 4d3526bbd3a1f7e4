"""Cluster settings: what they may hold, and how mistakes are said."""
# ruff: noqa: S108  (paths in a pod)

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as limits
from hypothesis.strategies import characters, from_regex, text
from kube_settings import FULL, PLAIN
from pydantic import ValidationError

from controller.kube.settings import ClusterSettings
from controller.kube.settings_file import load_settings, parse_settings
from job.contract.errors import SpecError

IMAGE = "image: registry.example.org:5000/lorasweep-job:0.1.0\n"


def mistakes(text: str) -> list[str]:
    with pytest.raises(SpecError) as caught:
        parse_settings(text.encode(), name="cluster.yaml")
    return [line for line in str(caught.value).splitlines() if line.startswith("cluster.yaml:")]


def test_an_image_is_all_that_is_needed() -> None:
    settings = parse_settings(IMAGE.encode(), name="cluster.yaml")
    assert settings.gpu_resource == "nvidia.com/gpu"
    assert (settings.api.writes_per_s, settings.api.burst) == (20.0, 40)
    assert [toleration.key for toleration in settings.tolerations] == ["nvidia.com/gpu"]
    assert settings.s3.secret is None


@pytest.mark.parametrize("settings", [PLAIN, FULL])
def test_settings_survive_json(settings: ClusterSettings) -> None:
    assert ClusterSettings.model_validate_json(settings.model_dump_json(exclude_none=True)) == settings


@pytest.mark.parametrize(
    ("text", "place", "message"),
    [
        ("gpu_resorce: x", "2:1: gpu_resorce", "unknown key; did you mean `gpu_resource`?"),
        ("resources: {cpu: 2}", "2:13: resources.cpu", "2: must be text; put it in quotes"),
        ('resources: {memory: "8GB"}', "2:13: resources.memory", "'8GB': must be a quantity such as"),
        ("image_pull_secrets: [A_b]", "2:22: image_pull_secrets[0]", "'A_b': must be the name of an object"),
        ("gpu_resource: gpu", "2:1: gpu_resource", "must be a resource such as nvidia.com/gpu"),
        ("kueue: {priority_class: x}", "2:1: kueue", "`kueue.priority_class` orders a queue; name it in `kueue.queue`"),
        ("s3: {endpoint: s3.example.org}", "2:6: s3.endpoint", "must be http:// or https:// and a host"),
        ("grace_period_s: 0", "2:1: grace_period_s", "0: must be at least 1"),
        ("api: {writes_per_s: 0}", "2:7: api.writes_per_s", "must be at least 0.1"),
        ("volumes: [{name: d, claim: c, path: data}]", "2:31: volumes[0].path", "must be an absolute path"),
        ("volumes: [{name: d, claim: c, path: /tmp/x}]", "2:31: volumes[0].path", "/tmp is in use in every trial"),
        ("volumes: [{name: d, claim: c, path: /scratch}]", "2:31: volumes[0].path", "/scratch is in use"),
        ("pod_template: {spec: {hostNetwork: true}}", "hostNetwork", "cannot be set: trial pods share nothing"),
        ("pod_template: {spec: {node_selector: {}}}", "node_selector", "did you mean `nodeSelector`?"),
        (
            "pod_template: {spec: {volumes: [{name: x, hostPath: {path: /}}]}}",
            "pod_template.spec.volumes[0].hostPath",
            "cannot be set: trial pods see no files of the node; use a claim",
        ),
        (
            "pod_template: {spec: {containers: [{name: proxy}]}}",
            "pod_template.spec.containers[0].name",
            "'proxy': only 'trial' stands here",
        ),
        (
            "pod_template: {spec: {containers: [{name: trial, command: [sh]}]}}",
            "pod_template.spec.containers[0].command",
            "cannot be set: trials run our command",
        ),
        (
            "pod_template: {spec: {containers: [{name: trial, env: [{name: LORASWEEP_ATTEMPT, value: x}]}]}}",
            "env[0].name",
            "names that start with LORASWEEP_ are set by the controller",
        ),
        (
            "pod_template: {spec: {containers: [{name: trial, resources: {limits: {memory: 1Gi}}}]}}",
            "resources.limits",
            "set `resources.memory`",
        ),
        (
            'pod_template: {spec: {containers: [{name: trial, resources: {limits: {nvidia.com/gpu: "4"}}}]}}',
            "settings",
            "how many nvidia.com/gpu a trial asks for is the sweep's `execution.gpus`",
        ),
        (
            "pod_template: {spec: {volumes: [{name: x}]}}",
            "pod_template.spec.volumes[0]",
            "volume 'x' must have one source, not none",
        ),
        (
            "pod_template: {spec: {volumes: [{name: request, emptyDir: {}}]}}",
            "pod_template.spec.volumes[0].name",
            "holds the trial's request; choose another name",
        ),
        ("pod_template: {spec: {securityContext: {runAsUser: 0}}}", "securityContext.runAsUser", "must be at least 1"),
        (
            "pod_template: {spec: {containers: [{name: trial, securityContext: {runAsUser: 0}}]}}",
            "securityContext.runAsUser",
            "must be at least 1",
        ),
        (
            "pod_template: {spec: {containers: [{name: trial, securityContext: {capabilities: {add: [SYS_PTRACE]}}}]}}",
            "capabilities.add",
            "unknown key",
        ),
        (
            "pod_template: {metadata: {labels: {lorasweep.io/run: x}}}",
            "pod_template.metadata.labels",
            "'lorasweep.io/run' is set by the controller",
        ),
        (
            "volumes: [{name: a, claim: c, path: /data}, {name: b, claim: c, path: /data/x}]",
            "settings",
            "one is mounted inside another",
        ),
        (
            "volumes: [{name: a, claim: c, path: /data}, {name: a, claim: c, path: /other}]",
            "settings",
            "two have the same name",
        ),
    ],
)
def test_a_mistake_is_said_with_its_place_and_its_remedy(text: str, place: str, message: str) -> None:
    (line,) = mistakes(IMAGE + text + "\n")
    assert place in line
    assert message in line


@pytest.mark.parametrize(
    "image", ["job", "job:latest", "registry.example.org:5000/job", '"job:"', '" "', '""', '"a b:1"']
)
def test_an_image_has_to_name_its_version(image: str) -> None:
    (line,) = mistakes(f"image: {image}\n")
    assert "cluster.yaml:1:1: image: " in line


@pytest.mark.parametrize("image", ["job:1", "r.example.org:5000/a/job:v1", "job@sha256:" + "0" * 64])
def test_an_image_with_a_version_is_fine(image: str) -> None:
    assert parse_settings(f"image: {image}\n".encode(), name="cluster.yaml").image == image


def test_credentials_in_an_endpoint_are_refused_and_not_repeated() -> None:
    (line,) = mistakes(IMAGE + 's3: {endpoint: "https://key:hunter2@s3.example.org"}\n')
    assert "name a Secret in `s3.secret`" in line
    assert "hunter2" not in line


def test_every_mistake_is_said_at_once() -> None:
    assert len(mistakes("gpu_resource: x\nimage: job\nresources: {cpu: 2, disk: 1}\n")) == 4


@pytest.mark.parametrize("text", ["", "- image\n", "image\n"])
def test_what_is_no_mapping_is_said_so(text: str) -> None:
    (line,) = mistakes(text)
    assert "settings: settings are a mapping of `key: value` lines" in line


def test_the_limits_of_a_spec_file_hold_here(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="anchors"):
        parse_settings(b"image: &a job:1\n", name="cluster.yaml")
    with pytest.raises(SpecError, match="no such file"):
        load_settings(tmp_path / "missing.yaml")
    found = tmp_path / "cluster.yaml"
    found.write_text(IMAGE)
    assert load_settings(found).image.endswith(":0.1.0")


def test_the_schema_is_closed_and_knows_the_rules() -> None:
    schema = ClusterSettings.model_json_schema()
    parts = [schema, *schema["$defs"].values()]
    assert all(part["additionalProperties"] is False for part in parts if part.get("type") == "object")
    pattern = schema["$defs"]["Resources"]["properties"]["memory"]["pattern"]
    assert re.search(pattern, "8Gi")
    assert not re.search(pattern, "8GB")
    assert "hostNetwork" not in json.dumps(schema)


IMAGE_PATTERN = ClusterSettings.model_json_schema()["properties"]["image"]["pattern"]
IMAGES = {
    "lorasweep-job:0.1.0": True,
    "registry.example.org:5000/a/lorasweep-job:0.1.0": True,
    "registry.example.org:5000/lorasweep-job@sha256:0123": True,
    "job:latest@sha256:0123": True,
    "LOCAL:5000/a/job__x:V1.0-rc": True,
    "[::1]:5000/job:1": True,
    "job:1@": False,
    "Job:1": False,
    "jöb:1": False,
    "$(X):1": False,
    "registry.example.org//job:1": False,
    "job:latest": False,
    "registry.example.org:5000/job:latest": False,
    "registry.example.org:5000/job": False,
    "job": False,
    "job:": False,
    "job@": False,
    "": False,
    "job: 1": False,
    "job:0.1 ": False,
    **{f"job:{tag}": True for tag in ("l", "la", "lat", "late", "lates", "latest1", "Latest", "1latest", "x")},
}
ENDPOINTS = {
    "https://s3.example.org": True,
    "http://10.0.0.1:9000/": True,
    "s3.example.org": False,
    "ftp://s3.example.org": False,
    "https://s3.example.org/bucket": False,
    "https://s3.example.org?x": False,
    "http://[::1]:9000": True,
    "https://": False,
    "https://a b": False,
    "http://$(X):1": False,
}
PATHS = {
    "/data": True,
    "/data/models-1/x.y": True,
    "data": False,
    "/": False,
    "/data/": False,
    "/data/../x": False,
    "/data//x": False,
    "/da ta": False,
}


@pytest.mark.parametrize(
    ("definition", "field", "known", "text"),
    [
        ("ClusterSettings", "image", IMAGES, "image: {}"),
        ("S3", "endpoint", ENDPOINTS, "image: x:1\ns3: {{endpoint: {}}}"),
        ("DataVolume", "path", PATHS, "image: x:1\nvolumes: [{{name: d, claim: c, path: {}}}]"),
    ],
    ids=["image", "endpoint", "path"],
)
def test_helm_refuses_at_install_what_the_settings_refuse(
    definition: str, field: str, known: dict[str, bool], text: str
) -> None:
    schema = ClusterSettings.model_json_schema()
    found = (schema if definition == schema["title"] else schema["$defs"][definition])["properties"][field]
    (pattern,) = (one["pattern"] for one in (found, *found.get("anyOf", ())) if "pattern" in one)
    taken = {value: re.search(pattern, value) is not None for value in known}
    assert taken == known
    for value, right in known.items():
        try:
            parse_settings(text.format(json.dumps(value)).encode(), name="cluster.yaml")
        except SpecError:
            assert not right, value
        else:
            assert right, value


@pytest.mark.parametrize(
    "text",
    ["image: x:1\nvolumes: [{name: d, claim: c, path: /tmp/x}]", "image: x:1\ns3: {endpoint: 'https://key:s@host'}"],
)
def test_what_no_pattern_can_say_or_should_is_left_to_the_settings(text: str) -> None:
    definitions = ClusterSettings.model_json_schema()["$defs"]
    assert re.search(definitions["DataVolume"]["properties"]["path"]["pattern"], "/tmp/x")
    assert re.search(definitions["S3"]["properties"]["endpoint"]["anyOf"][0]["pattern"], "https://key:s@host")
    assert mistakes(text)


@limits(max_examples=300, deadline=None)
@given(image=text(characters(codec="ascii", exclude_categories=["Cc"])) | from_regex(r"\A[a-z]*:l?a?t?e?s?t?x?\Z"))
def test_the_schema_takes_every_image_that_the_settings_take(image: str) -> None:
    try:
        ClusterSettings(image=image)
    except ValidationError:
        return
    assert re.search(IMAGE_PATTERN, image), image
