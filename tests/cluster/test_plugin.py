"""`kubectl lorasweep`: the same command, found by kubectl on PATH."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from cluster.cluster import Cluster
from cluster.namespace import Namespace

ROOT = Path(__file__).resolve().parents[2]
Ask = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def ask(cluster: Cluster, namespace: Namespace, tmp_path: Path) -> Ask:
    """kubectl with the plugin on PATH, as an installer writes it from the entry point."""
    entry = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["scripts"]
    module, _, function = entry["kubectl-lorasweep"].partition(":")
    script = tmp_path / "bin" / "kubectl-lorasweep"
    script.parent.mkdir()
    script.write_text(f"#!{sys.executable}\nimport sys\nfrom {module} import {function}\nsys.exit({function}())\n")
    script.chmod(0o755)
    environment = {
        **os.environ,
        **cluster.s3.environment(),
        "PATH": os.pathsep.join([str(script.parent), os.environ["PATH"]]),
        "PYTHONPATH": str(ROOT),
        "KUBECONFIG": str(cluster.kubeconfig),
    }

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = [str(cluster.kubectl.program), *words]
        return subprocess.run(command, env=environment, cwd=tmp_path, text=True, capture_output=True, check=False)

    return run


def test_kubectl_finds_the_plugin_and_hands_the_words_over(ask: Ask) -> None:
    assert "kubectl-lorasweep" in ask("plugin", "list").stdout
    assert ask("lorasweep", "--version").stdout.startswith("kubectl lorasweep ")
    assert ask("lorasweep", "run", "--help").stdout.startswith("usage: kubectl lorasweep run ")


def test_the_plugin_runs_on_a_cluster_unless_it_is_told_otherwise(ask: Ask, tmp_path: Path) -> None:
    spec = (ROOT / "examples" / "kubernetes.yaml").read_text(encoding="utf-8")
    (tmp_path / "sweep.yaml").write_text(spec)
    refused = ask("lorasweep", "run", "sweep.yaml", "--store", "s3://nowhere/sweeps")
    assert refused.returncode == 2
    assert refused.stderr.startswith("kubectl lorasweep run: --backend kubernetes needs --cluster FILE")
    missing = ask("lorasweep", "status", "s3://lorasweep-no-bucket/sweeps/demo/main")
    assert missing.returncode != 0
    assert missing.stderr.startswith("kubectl lorasweep status: ")


def test_commands_that_are_told_begin_as_the_person_began(ask: Ask, tmp_path: Path) -> None:
    missing = ask("lorasweep", "status", str(tmp_path / "runs" / "demo" / "main"))
    store = tmp_path / "runs"
    assert f"`kubectl lorasweep run SPEC --store {store} --cluster FILE` makes one" in missing.stderr
