"""Manifests of pods that Pod Security `restricted` lets in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def restricted_pod(
    name: str, *, image: str, command: Sequence[str], limits: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """A pod that runs the command once, with the image that the node has."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 0,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 10001,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [
                {
                    "name": "main",
                    "image": image,
                    "imagePullPolicy": "Never",
                    "command": list(command),
                    "resources": {"limits": dict(limits or {})},
                    "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
                }
            ],
        },
    }


__all__ = ["restricted_pod"]
