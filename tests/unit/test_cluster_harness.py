"""The parts of the harness in tests/cluster that need no cluster."""

from __future__ import annotations

from pathlib import Path

import pytest
from cluster.binaries import (
    BUILT_ALWAYS,
    FROM_ASSETS,
    AssetsMissingError,
    found_in_assets,
    kubernetes,
    module_version,
)
from cluster.folder import ClusterFolder, lives
from cluster.prerequisites import DEBIAN_PACKAGES, missing_packages


def test_a_missing_package_is_told_by_its_sign() -> None:
    lines = "buildah buildah\nlibseccomp-dev /usr/include/seccomp.h\n\niproute2 ip\n"
    assert missing_packages(lines, is_there={"ip"}.__contains__) == ("buildah", "libseccomp-dev")


def test_each_line_of_the_package_list_is_a_package_and_its_sign() -> None:
    rows = [line.split() for line in DEBIAN_PACKAGES.read_text(encoding="utf-8").splitlines()]
    assert all(len(row) == 2 for row in rows)
    assert rows == sorted(rows)


def test_the_version_of_a_module_is_read_from_either_form_of_require(tmp_path: Path) -> None:
    go_mod = tmp_path / "go.mod"
    go_mod.write_text(
        "module m\n\nrequire k8s.io/one v1.2.3\n\nrequire (\n\tk8s.io/two v4.5.6 // indirect\n)\n", "utf-8"
    )
    assert module_version(go_mod, module="k8s.io/one") == "v1.2.3"
    assert module_version(go_mod, module="k8s.io/two") == "v4.5.6"
    with pytest.raises(LookupError, match=r"k8s\.io/three"):
        module_version(go_mod, module="k8s.io/three")


def test_kubernetes_reports_the_version_of_its_module() -> None:
    variables = kubernetes("kubelet").variables
    assert variables is not None
    version = variables["k8s.io/component-base/version.gitVersion"]
    assert version.startswith(f"v1.{variables['k8s.io/component-base/version.gitMinor']}.")


def test_assets_that_lack_a_program_are_named(tmp_path: Path) -> None:
    (tmp_path / "etcd").touch()
    with pytest.raises(AssetsMissingError, match="kube-apiserver, kubectl is not there"):
        found_in_assets(tmp_path)
    for name in FROM_ASSETS:
        (tmp_path / name).touch()
    assert found_in_assets(tmp_path) == {name: tmp_path / name for name in FROM_ASSETS}
    assert not set(FROM_ASSETS) & set(BUILT_ALWAYS)


def test_a_folder_that_nobody_holds_belongs_to_no_cluster(tmp_path: Path) -> None:
    folder = ClusterFolder(tmp_path)
    assert not lives(folder)
    folder.lock.touch()
    assert not lives(folder)
