"""The programs of a cluster: built from the Go modules in tools/, or found.

`KUBEBUILDER_ASSETS` names a folder with kube-apiserver, etcd and kubectl, for people who have envtest's; the rest is
built. Kubernetes allows no kubelet that is newer than its API server: the assets must be of tools/kubernetes' minor or
newer.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from servers.go_tool import GoTools, built_program, built_programs

TOOLS = Path(__file__).resolve().parent / "tools"
KUBERNETES = "k8s.io/kubernetes/cmd"
CONTAINERD = "github.com/containerd/containerd/v2/cmd"

FROM_ASSETS = ("etcd", "kube-apiserver", "kubectl")
BUILT_ALWAYS = ("kube-controller-manager", "kube-proxy", "kube-scheduler", "kubelet")

ETCD = GoTools(folder=TOOLS / "etcd", programs={"etcd": "go.etcd.io/etcd/server/v3"})
RUNTIME = GoTools(
    folder=TOOLS / "containerd",
    programs={name: f"{CONTAINERD}/{name}" for name in ("containerd", "containerd-shim-runc-v2", "ctr")},
)
RUNC = GoTools(folder=TOOLS / "runc", programs={"runc": "github.com/opencontainers/runc"}, tags="seccomp", cgo=True)
PAUSE = GoTools(folder=TOOLS / "pause", programs={"pause": "cluster/pause"})
HELM = {
    4: GoTools(folder=TOOLS / "helm4", programs={"helm": "helm.sh/helm/v4/cmd/helm"}),
    3: GoTools(folder=TOOLS / "helm3", programs={"helm": "helm.sh/helm/v3/cmd/helm"}),
}
SCHEMAS = GoTools(folder=TOOLS / "schemas", programs={"schemas": "cluster/schemas"})


class AssetsMissingError(Exception):
    """`KUBEBUILDER_ASSETS` names a folder that lacks a program; the message says which, and the remedy."""


@dataclass(frozen=True)
class Binaries:
    """Where each program lies."""

    paths: Mapping[str, Path]

    def __getitem__(self, name: str) -> Path:
        return self.paths[name]


def cluster_binaries(environ: Mapping[str, str]) -> Binaries:
    """All that a cluster runs on. Raises AssetsMissingError, MissingGoError, BuildFailedError."""
    assets = environ.get("KUBEBUILDER_ASSETS")
    paths = {"versitygw": built_program(environ), "runc": built_program(environ, tools=RUNC)}
    paths |= _built(environ, RUNTIME)
    paths["pause"] = built_program(environ, tools=PAUSE)
    if assets is None:
        paths["etcd"] = built_program(environ, tools=ETCD)
        paths |= _built(environ, kubernetes(*FROM_ASSETS[1:], *BUILT_ALWAYS))
    else:
        paths |= found_in_assets(Path(assets))
        paths |= _built(environ, kubernetes(*BUILT_ALWAYS))
    return Binaries(paths)


def helm(environ: Mapping[str, str], *, major: int) -> Path:
    """Helm 3 or 4. Raises MissingGoError, BuildFailedError."""
    return built_program(environ, tools=HELM[major])


def schemas(environ: Mapping[str, str]) -> Path:
    """Checks objects that no cluster here has a use for. Raises MissingGoError, BuildFailedError."""
    return built_program(environ, tools=SCHEMAS)


def kubernetes(*programs: str) -> GoTools:
    """These programs of Kubernetes. They report the version of their module, which Helm compares with a chart's."""
    folder = TOOLS / "kubernetes"
    version = module_version(folder / "go.mod", module="k8s.io/kubernetes")
    major, minor, _ = version.removeprefix("v").split(".", 2)
    stamp = {"gitVersion": version, "gitMajor": major, "gitMinor": minor, "gitTreeState": "clean"}
    return GoTools(
        folder=folder,
        programs={name: f"{KUBERNETES}/{name}" for name in programs},
        variables={f"k8s.io/component-base/version.{name}": value for name, value in stamp.items()},
    )


def module_version(go_mod: Path, *, module: str) -> str:
    """The version that a go.mod requires of a module."""
    found = re.search(rf"^\s*(?:require )?{re.escape(module)} (v\S+)", go_mod.read_text(encoding="utf-8"), re.MULTILINE)
    if found is None:
        raise LookupError(f"{go_mod} requires no {module}")
    return found.group(1)


def _built(environ: Mapping[str, str], tools: GoTools) -> dict[str, Path]:
    folder = built_programs(environ, tools=tools)
    return {name: folder / name for name in tools.programs}


def found_in_assets(assets: Path) -> dict[str, Path]:
    """The programs that somebody built before. Raises AssetsMissingError."""
    lacking = [name for name in FROM_ASSETS if not (assets / name).is_file()]
    if lacking:
        raise AssetsMissingError(
            f"KUBEBUILDER_ASSETS is {str(assets)!r}, and {', '.join(lacking)} is not there: "
            "correct it, or unset it to have all programs built"
        )
    return {name: assets / name for name in FROM_ASSETS}


__all__ = [
    "BUILT_ALWAYS",
    "FROM_ASSETS",
    "HELM",
    "AssetsMissingError",
    "Binaries",
    "cluster_binaries",
    "found_in_assets",
    "helm",
    "kubernetes",
    "module_version",
]
