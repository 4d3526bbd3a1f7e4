"""Two partial objects of the API as one."""
# ruff: noqa: S108  (paths in a pod)

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from controller.kube.merge import merged

Json = dict[str, Any]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(0, 3) | st.sampled_from("ab"),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["a", "b", "env"]), inner, max_size=2),
    max_leaves=5,
)
OBJECTS = st.dictionaries(st.sampled_from(["a", "b", "env", "containers"]), JSON, max_size=3)


@given(OBJECTS, OBJECTS)
def test_a_merge_changes_neither_side_and_says_it_once(
    base: dict[str, JsonValue], overlay: dict[str, JsonValue]
) -> None:
    before = json.dumps([base, overlay])
    once = merged(base, overlay)
    assert merged(once, overlay) == once
    assert json.dumps([base, overlay]) == before
    assert merged(base, {}) == base
    assert set(once) == set(base) | set(overlay)


@pytest.mark.parametrize(
    ("base", "overlay", "expected"),
    [
        ({"a": {"x": 1, "y": 2}}, {"a": {"y": 3}}, {"a": {"x": 1, "y": 3}}),
        (
            {"env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]},
            {"env": [{"name": "A", "valueFrom": {}}, {"name": "C", "value": "3"}]},
            {"env": [{"name": "A", "valueFrom": {}}, {"name": "B", "value": "2"}, {"name": "C", "value": "3"}]},
        ),
        (
            {"containers": [{"name": "trial", "env": [{"name": "A"}]}]},
            {"containers": [{"name": "trial", "env": [{"name": "B"}]}]},
            {"containers": [{"name": "trial", "env": [{"name": "A"}, {"name": "B"}]}]},
        ),
        (
            {"volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}]},
            {"volumeMounts": [{"name": "mine", "mountPath": "/tmp", "readOnly": True}]},
            {"volumeMounts": [{"name": "mine", "mountPath": "/tmp", "readOnly": True}]},
        ),
        (
            {"tolerations": [{"key": "a"}]},
            {"tolerations": [{"key": "b"}, {"key": "a"}]},
            {"tolerations": [{"key": "a"}, {"key": "b"}]},
        ),
    ],
)
def test_lists_are_merged_by_name(base: Json, overlay: Json, expected: Json) -> None:
    assert merged(base, overlay) == expected
