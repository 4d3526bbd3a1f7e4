"""Helm in both versions, and what is rendered with it; no cluster is needed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from servers.go_tool import MissingGoError

from cluster.binaries import helm as built_helm
from cluster.binaries import schemas as built_schemas
from cluster.charted import OPERATOR_VALUES, SWEEP, spec_option
from cluster.helm import Helm


@pytest.fixture(scope="session", params=[4, 3], ids=["helm4", "helm3"])
def helm(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Helm:
    return _helm(request.param, tmp_path_factory)


@pytest.fixture(scope="session")
def helm_4(tmp_path_factory: pytest.TempPathFactory) -> Helm:
    """Shows notes without a cluster, which Helm 3 does not."""
    return _helm(4, tmp_path_factory)


@pytest.fixture(scope="session")
def schemas() -> Path:
    """Knows the fields of NetworkPolicy, PodMonitor and PrometheusRule, and PromQL."""
    try:
        return built_schemas(os.environ)
    except MissingGoError as missing:
        pytest.skip(str(missing))


@pytest.fixture
def spec(tmp_path: Path) -> str:
    """The option that names a small sweep."""
    return spec_option(tmp_path, SWEEP)


@pytest.fixture
def operator_values(tmp_path: Path) -> str:
    """The option that names a file with a value of every kind."""
    (tmp_path / "values.yaml").write_text(OPERATOR_VALUES)
    return f"--values={tmp_path / 'values.yaml'}"


def _helm(major: int, tmp_path_factory: pytest.TempPathFactory) -> Helm:
    try:
        program = built_helm(os.environ, major=major)
    except MissingGoError as missing:
        pytest.skip(str(missing))
    return Helm(program, tmp_path_factory.mktemp("helm"))
