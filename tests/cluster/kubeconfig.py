"""Kubeconfig files: who a part of the cluster is, and where the API server is. Written as JSON, which is YAML."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from pathlib import Path

from cluster.certificates import Certificates

API_PORT = 6443


def write_kubeconfig(path: Path, *, certificates: Certificates, client: str, node_address: str) -> Path:
    """A file that carries its certificates within, readable by its owner alone."""
    pair = certificates.pair(client)
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "cluster-under-test",
        "contexts": [{"name": "cluster-under-test", "context": {"cluster": "cluster-under-test", "user": client}}],
        "clusters": [
            {
                "name": "cluster-under-test",
                "cluster": {
                    "server": f"https://{node_address}:{API_PORT}",
                    "certificate-authority-data": _encoded(certificates.authority.certificate),
                },
            }
        ],
        "users": [
            {
                "name": client,
                "user": {
                    "client-certificate-data": _encoded(pair.certificate),
                    "client-key-data": _encoded(pair.key),
                },
            }
        ],
    }
    path.touch(mode=0o600)
    path.write_text(json.dumps(content, indent=1), encoding="utf-8")
    return path


def altered_kubeconfig(
    source: Path, path: Path, *, cluster: Mapping[str, str | None], user: Mapping[str, str] | None = None
) -> Path:
    """A copy of a file of ours, with other words about the cluster (None takes one out) and, if said, another user."""
    content = json.loads(source.read_text(encoding="utf-8"))
    known = {**content["clusters"][0]["cluster"], **cluster}
    content["clusters"][0]["cluster"] = {key: value for key, value in known.items() if value is not None}
    if user is not None:
        content["users"][0]["user"] = dict(user)
    path.touch(mode=0o600)
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def _encoded(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()


__all__ = ["API_PORT", "altered_kubeconfig", "write_kubeconfig"]
