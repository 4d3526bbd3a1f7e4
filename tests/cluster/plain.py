"""The plain manifests of k8s/, edited and applied as k8s/README.md says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from servers.s3_server import S3Server

from cluster.namespace import Namespace

__all__ = ["K8S", "PlainManifests"]

K8S = Path(__file__).resolve().parents[2] / "k8s"
_yaml = YAML(typ="safe", pure=True)


@dataclass(frozen=True)
class PlainManifests:
    """What the README has a person change: images, and the way to the store."""

    namespace: Namespace
    s3: S3Server
    job_image: str
    controller_image: str
    folder: Path

    def prepare(self, sweep: Path) -> None:
        """Step 2: rights, and the ConfigMap with sweep and cluster settings."""
        for rights in self._documents("rights.yaml"):
            self._create(rights)
        settings = next(iter(self._documents("cluster.yaml")))
        settings["image"] = self.job_image
        settings["s3"] |= {"endpoint": self.s3.endpoint, "region": self.s3.region}
        settings["image_pull_policy"] = "Never"
        settings["resources"] = {"cpu": "100m", "memory": "2Gi", "ephemeral_storage": "64Mi"}
        one_thread = [{"name": "OMP_NUM_THREADS", "value": "1"}]
        settings["pod_template"] = {"spec": {"containers": [{"name": "trial", "env": one_thread}]}}
        edited = self.folder / "cluster.yaml"
        with edited.open("w", encoding="utf-8") as file:
            _yaml.dump(settings, file)
        files = (f"--from-file=sweep.yaml={sweep}", f"--from-file={edited}")
        self.namespace.kubectl("create", "configmap", "lorasweep", *files)

    def start(self, *, store: str) -> str:
        """Step 3: the controller's Job; gives its name."""
        (job,) = self._documents("job.yaml")
        (container,) = job["spec"]["template"]["spec"]["containers"]
        container["image"], container["imagePullPolicy"] = self.controller_image, "Never"
        container["args"] += ["--store", store]
        places = {"AWS_ENDPOINT_URL_S3": self.s3.endpoint, "AWS_DEFAULT_REGION": self.s3.region}
        for variable in container["env"]:
            if variable["name"] in places:
                variable["value"] = places[variable["name"]]
        return self._create(job)

    def _documents(self, name: str) -> Iterator[dict[str, Any]]:
        for document in _yaml.load_all((K8S / name).read_text(encoding="utf-8")):
            if "metadata" in document:
                document["metadata"]["namespace"] = self.namespace.name
            for subject in document.get("subjects", ()):
                subject["namespace"] = self.namespace.name
            yield document

    def _create(self, document: dict[str, Any]) -> str:
        made = self.namespace.kubectl("create", "--filename=-", "--output=name", stdin=json.dumps(document))
        return made.strip().rpartition("/")[2]
