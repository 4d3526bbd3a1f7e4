"""Helm with settings of its own, so that neither repositories nor plugins of this machine take part."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

CHART = Path(__file__).resolve().parents[2] / "charts" / "lorasweep"
NEWEST = "--kube-version=1.37.0"
"""What the chart is rendered for; a Helm that is built from source would take 1.20 for granted."""


class HelmError(Exception):
    """Helm failed; the message is what it said."""


@dataclass(frozen=True)
class Helm:
    """Runs Helm; without a kubeconfig only what needs no cluster."""

    program: Path
    home: Path
    kubeconfig: Path | None = None

    def __call__(self, *arguments: str, timeout_s: float = 300.0) -> str:
        """What it printed, on both streams. Raises HelmError."""
        ended = subprocess.run(
            [str(self.program), *arguments],
            env={
                "PATH": os.defpath,
                "HOME": str(self.home),
                "HELM_CONFIG_HOME": str(self.home / "config"),
                "HELM_CACHE_HOME": str(self.home / "cache"),
                "HELM_DATA_HOME": str(self.home / "data"),
                "KUBECONFIG": str(self.kubeconfig or self.home / "no-cluster"),
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=timeout_s,
        )
        if ended.returncode != 0:
            raise HelmError(f"helm {' '.join(arguments)}: {ended.stdout.strip()}")
        return ended.stdout

    def template(self, release: str, *options: str) -> Rendered:
        """What an install of the chart would create. Raises HelmError."""
        printed = self("template", release, str(CHART), "--namespace=sweeps", NEWEST, *options)
        return Rendered(tuple(one for one in YAML(typ="safe", pure=True).load_all(printed) if one))


@dataclass(frozen=True)
class Rendered:
    """Objects that come from the chart."""

    objects: tuple[dict[str, Any], ...]

    def kinds(self) -> set[str]:
        return {one["kind"] for one in self.objects}

    def one(self, kind: str) -> dict[str, Any]:
        """The only object of its kind."""
        (found,) = self.all(kind)
        return found

    def all(self, kind: str) -> tuple[dict[str, Any], ...]:
        return tuple(one for one in self.objects if one["kind"] == kind)

    def named(self, kind: str, name: str) -> dict[str, Any]:
        (found,) = (one for one in self.all(kind) if one["metadata"]["name"] == name)
        return found

    def pods(self) -> Iterable[dict[str, Any]]:
        """PodSpecs of everything that makes pods."""
        for one in self.objects:
            match one["kind"]:
                case "Pod":
                    yield one["spec"]
                case "Job":
                    yield one["spec"]["template"]["spec"]
                case "CronJob":
                    yield one["spec"]["jobTemplate"]["spec"]["template"]["spec"]


__all__ = ["CHART", "NEWEST", "Helm", "HelmError", "Rendered"]
