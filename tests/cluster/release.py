"""`helm install` of a sweep, as docs/kubernetes.md says."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from servers.s3_server import S3Server

from cluster.helm import CHART, Helm
from cluster.namespace import Namespace
from cluster.stage import SECRET

__all__ = ["Release"]


@dataclass(frozen=True)
class Release:
    """The release `nightly` in a namespace of its own."""

    helm: Helm
    namespace: Namespace
    s3: S3Server
    store: str
    job_image: str
    controller_image: str
    folder: Path
    trial_env: dict[str, str] = field(default_factory=lambda: {"OMP_NUM_THREADS": "1"})

    def __call__(self, verb: str, spec: Path, *options: str) -> str:
        """What Helm said to `install` or `upgrade`. Raises HelmError."""
        values = self.folder / "values.yaml"
        with values.open("w", encoding="utf-8") as file:
            YAML(typ="safe", pure=True).dump(self._values(), file)
        return self.helm(
            verb, "nightly", str(CHART), self.place, f"--values={values}", f"--set-file=spec={spec}", *options
        )

    @property
    def place(self) -> str:
        return f"--namespace={self.namespace.name}"

    def _values(self) -> dict[str, Any]:
        env = [{"name": name, "value": value} for name, value in self.trial_env.items()]
        return {
            "store": self.store,
            "cluster": {
                "image": self.job_image,
                "image_pull_policy": "Never",
                "resources": {"cpu": "100m", "memory": "2Gi", "ephemeral_storage": "64Mi", "shared_memory": "16Mi"},
                "s3": {"secret": SECRET, "endpoint": self.s3.endpoint, "region": self.s3.region},
                "pod_template": {"spec": {"containers": [{"name": "trial", "env": env}]}},
            },
            "controller": {
                "image": self.controller_image,
                "image_pull_policy": "Never",
                "resources": {"requests": {"cpu": "50m"}},
            },
        }
