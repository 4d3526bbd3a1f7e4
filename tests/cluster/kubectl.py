"""kubectl with the kubeconfig of one cluster."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any


class KubectlError(Exception):
    """kubectl failed; the message is what it said."""


@dataclass(frozen=True)
class Kubectl:
    """Runs kubectl, in a namespace if it has one."""

    program: Path
    kubeconfig: Path
    namespace: str = ""

    def inside(self, namespace: str) -> Kubectl:
        return replace(self, namespace=namespace)

    def __call__(self, *arguments: str, stdin: str = "", timeout_s: float = 120.0) -> str:
        """What it printed. Raises KubectlError."""
        ended = subprocess.run(
            [str(self.program), *(["--namespace", self.namespace] if self.namespace else []), *arguments],
            env={"PATH": os.defpath, "KUBECONFIG": str(self.kubeconfig), "KUBECACHEDIR": str(self.kubeconfig.parent)},
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout_s,
        )
        if ended.returncode != 0:
            raise KubectlError(f"kubectl {' '.join(arguments)}: {ended.stderr.strip() or ended.stdout.strip()}")
        return ended.stdout

    def get(self, kind: str, name: str) -> dict[str, Any]:
        """One object. Raises KubectlError."""
        found: dict[str, Any] = json.loads(self("get", kind, name, "--output=json"))
        return found

    def list_of(self, kind: str, *options: str) -> Sequence[dict[str, Any]]:
        """Objects of a kind. Raises KubectlError."""
        found: list[dict[str, Any]] = json.loads(self("get", kind, "--output=json", *options))["items"]
        return found

    def create(self, *manifests: dict[str, Any]) -> None:
        """Raises KubectlError, with the API server's words where it refuses."""
        for manifest in manifests:
            self("create", "--filename=-", stdin=json.dumps(manifest))


__all__ = ["Kubectl", "KubectlError"]
