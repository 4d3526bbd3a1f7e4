"""What the chart takes from the code is in step with it: the schema of its values, their defaults, the Role's rules."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from chart_files import CHART, generated
from ruamel.yaml import YAML

from controller.kube.chart_values import ChartValues
from controller.kube.rights import CONTROLLER_RIGHTS
from controller.kube.settings_file import load_settings
from controller.metrics import Metrics

ROOT = Path(__file__).parents[2]
SCHEMA = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", generated(), ids=lambda path: path.name)
def test_a_generated_file_is_in_step(path: Path) -> None:
    assert path.read_text(encoding="utf-8") == generated()[path], "run: make chart"


def test_values_yaml_holds_the_defaults_of_the_models() -> None:
    written = _loaded(CHART / "values.yaml")
    assert ChartValues.model_validate(written) == ChartValues()


def test_values_yaml_has_every_section_and_every_key_that_is_not_null() -> None:
    written = _loaded(CHART / "values.yaml")
    assert list(_lacking(ChartValues().model_dump(mode="json"), written)) == []


def test_every_object_is_closed() -> None:
    for name, definition in {"values": SCHEMA, **SCHEMA["definitions"]}.items():
        if "properties" in definition:
            assert definition["additionalProperties"] is False, name


def test_every_value_of_the_chart_is_described() -> None:
    assert [
        name
        for name, field in SCHEMA["properties"].items()
        if "description" not in field and "description" not in SCHEMA["definitions"][field["$ref"].rsplit("/", 1)[-1]]
    ] == []


def test_the_role_allows_what_the_controller_needs_and_nothing_else() -> None:
    rules = _loaded(CHART / "files" / "controller-rights.yaml")
    allowed = {
        (group, resource, verb)
        for rule in rules
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    needed = {
        (right.resource.api_group, right.resource.plural + (f"/{right.subresource}" if right.subresource else ""), verb)
        for right in CONTROLLER_RIGHTS
        for verb in right.verbs
    }
    assert allowed == needed
    assert all(right.resource.namespaced for right in CONTROLLER_RIGHTS)


def test_the_documentation_lists_the_rights_one_by_one() -> None:
    page = (ROOT / "docs" / "kubernetes.md").read_text(encoding="utf-8")
    for right in CONTROLLER_RIGHTS:
        resource = right.resource.plural + (f"/{right.subresource}" if right.subresource else "")
        assert f"| {resource} | {', '.join(right.verbs)} | {right.purpose} |" in page, right


def test_no_template_makes_anything_beyond_its_namespace() -> None:
    for template in (CHART / "templates").rglob("*.yaml"):
        text = template.read_text(encoding="utf-8")
        assert text.count("\nkind: ") == text.count("\n  namespace: {{ .Release.Namespace }}\n"), template
        assert "kind: Cluster" not in text, template


def test_the_dashboard_asks_for_metrics_that_there_are() -> None:
    suffixes = {"gauge": "", "counter": "_total", "histogram": "_bucket", "info": "_info"}
    families = Metrics(sweep="s", run="r", git_commit=None).registry.collect()
    offered = {family.name + suffixes[family.type] for family in families}
    asked = set(re.findall(r"lorasweep_[a-z_]+", (CHART / "files" / "dashboard.json").read_text(encoding="utf-8")))
    assert asked <= offered


@pytest.mark.parametrize("path", sorted((ROOT / "k8s").rglob("cluster.yaml")), ids=str)
def test_cluster_settings_that_ship_are_valid(path: Path) -> None:
    if _loaded(path).get("kind") != "Cluster":  # kind's own
        load_settings(path)


def _loaded(path: Path) -> Any:
    return YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))


def _lacking(expected: dict[str, Any], written: dict[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in expected.items():
        if key not in written and value is not None and key != "pod_template":
            yield prefix + key
        # What values.yaml gives as an empty mapping says its keys in a comment.
        elif isinstance(value, dict) and written.get(key):
            yield from _lacking(value, written[key], f"{prefix}{key}.")
