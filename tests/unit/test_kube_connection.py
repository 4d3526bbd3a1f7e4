"""A kubeconfig that cannot be used is said in one sentence, whatever is wrong with it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from controller.kube.connection import connect
from job.contract.errors import PreflightError

CONTEXTS = {"contexts": [{"name": "a", "context": {"cluster": "c", "user": "u"}}], "current-context": "a"}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "contexts: [",
        "- a",
        "words",
        json.dumps({"contexts": 3}),
        json.dumps({"contexts": [{"name": "a", "context": 3}], "current-context": "a"}),
        json.dumps({**CONTEXTS, "clusters": [], "users": []}),
        json.dumps({**CONTEXTS, "clusters": [{"name": "c", "cluster": {"server": 7}}], "users": []}),
    ],
)
def test_a_kubeconfig_that_is_none_is_a_mistake_of_its_owner(text: str, tmp_path: Path) -> None:
    file = tmp_path / "config"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(PreflightError, match=r"no usable Kubernetes configuration: .*; set KUBECONFIG"):
        connect(environ={"KUBECONFIG": str(file)})


def test_the_mistake_names_the_place(tmp_path: Path) -> None:
    file = tmp_path / "config"
    file.write_text("contexts: [", encoding="utf-8")
    with pytest.raises(PreflightError, match=str(file)):
        connect(environ={"KUBECONFIG": str(file)})
