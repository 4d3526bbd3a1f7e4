"""A trial's pod in three layers: what we propose, what the operator's template changes, what nobody may. Pure.

Proposed: caches, scratch space, credentials, resources. Not to be changed: the restricted Pod Security profile, the
command, the request, no token for the Kubernetes API. The template is closed to what would break those
(controller.kube.pod_template); putting the last layer on top keeps that true where two lists are merged.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from pydantic import JsonValue

from controller.kube.merge import merged
from controller.kube.objects import REQUEST_ANNOTATION, JsonObject
from controller.kube.pod_template import CONTAINER, REQUEST_FOLDER, REQUEST_VOLUME
from controller.kube.settings import HUB_CACHE, SCRATCH, ClusterSettings

__all__ = ["trial_pod"]

REQUEST_FILE = "request.json"
_ATTEMPT = "LORASWEEP_ATTEMPT"
_CACHE = f"{SCRATCH}/.cache"
# Any user id works: no home, name or cache of the image's is needed, and the root may be read-only.
_ENVIRONMENT: Mapping[str, str] = {
    "HOME": SCRATCH,
    "USER": "lorasweep",  # torch asks for a name, and an arbitrary user id has none in /etc/passwd
    "XDG_CACHE_HOME": _CACHE,
    "XDG_CONFIG_HOME": f"{SCRATCH}/.config",
    "HF_HOME": f"{_CACHE}/huggingface",
    "TORCH_HOME": f"{_CACHE}/torch",
    "TORCHINDUCTOR_CACHE_DIR": f"{_CACHE}/torchinductor",
    "TRITON_CACHE_DIR": f"{_CACHE}/triton",
    "CUDA_CACHE_PATH": f"{_CACHE}/nv",
    "NUMBA_CACHE_DIR": f"{_CACHE}/numba",
    "MPLCONFIGDIR": f"{SCRATCH}/.config/matplotlib",
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONUNBUFFERED": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "DO_NOT_TRACK": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
}
# The keys of a Secret that holds credentials for S3, and whether it has to have them.
_S3_KEYS: Mapping[str, bool] = {"AWS_ACCESS_KEY_ID": True, "AWS_SECRET_ACCESS_KEY": True, "AWS_SESSION_TOKEN": False}


def trial_pod(settings: ClusterSettings, *, run_uri: str, gpus: int) -> JsonObject:
    """The PodSpec of a trial that asks for so many GPUs and publishes to `run_uri`."""
    spec = settings.pod_template.spec
    template: JsonObject = {} if spec is None else spec.model_dump(mode="json", exclude_none=True)
    pod = merged(_proposed(settings, gpus=gpus), template)
    return merged(pod, _kept(settings, pod, run_uri=run_uri, gpus=gpus))


def _proposed(settings: ClusterSettings, *, gpus: int) -> JsonObject:
    trial: JsonObject = {
        "name": CONTAINER,
        "env": list(_environment(settings, gpus=gpus)),
        "resources": _resources(settings),
        "securityContext": {"readOnlyRootFilesystem": True},
        "volumeMounts": list(_mounts(settings)),
    }
    pod: JsonObject = {
        "enableServiceLinks": False,  # variables for every Service of the namespace would be noise at best
        "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [trial],
        "volumes": list(_volumes(settings)),
    }
    if settings.image_pull_secrets:
        pod["imagePullSecrets"] = [{"name": name} for name in settings.image_pull_secrets]
    if gpus and settings.tolerations:
        pod["tolerations"] = [toleration.model_dump(exclude_none=True) for toleration in settings.tolerations]
    return pod


def _kept(settings: ClusterSettings, pod: JsonObject, *, run_uri: str, gpus: int) -> JsonObject:
    """What is put on top of everything."""
    confined: JsonObject = {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "runAsNonRoot": True,
    }
    trial: JsonObject = {
        "name": CONTAINER,
        "image": settings.image,
        "imagePullPolicy": settings.image_pull_policy,
        "command": _command(run_uri),
        "env": [{"name": _ATTEMPT, "valueFrom": {"fieldRef": {"fieldPath": "metadata.uid"}}}],
        "securityContext": confined,
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [{"name": REQUEST_VOLUME, "mountPath": REQUEST_FOLDER, "readOnly": True}],
    }
    if gpus and settings.gpu_resource is not None:
        trial["resources"] = {"limits": {settings.gpu_resource: str(gpus)}}
    request: JsonObject = {
        "path": REQUEST_FILE,
        "fieldRef": {"fieldPath": f"metadata.annotations['{REQUEST_ANNOTATION}']"},
    }
    kept: JsonObject = {
        "automountServiceAccountToken": False,
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": settings.grace_period_s,
        "securityContext": {"runAsNonRoot": True},
        "containers": [trial],
        "volumes": [{"name": REQUEST_VOLUME, "downwardAPI": {"items": [request]}}],
    }
    if before := _names(pod.get("initContainers")):
        kept["initContainers"] = [{"name": name, "securityContext": confined} for name in before]
    if settings.service_accounts.trial is not None:
        kept["serviceAccountName"] = settings.service_accounts.trial
    return kept


def _command(run_uri: str) -> list[JsonValue]:
    """The exec form, so that SIGTERM reaches Python; of `$(...)`, only our own is expanded by the kubelet."""
    literal = run_uri.replace("$", "$$")
    request = f"{REQUEST_FOLDER}/{REQUEST_FILE}"
    return ["python", "-m", "job", request, "--run-uri", literal, "--attempt", f"$({_ATTEMPT})"]


def _environment(settings: ClusterSettings, *, gpus: int) -> Iterator[JsonValue]:
    values = dict(_ENVIRONMENT)
    if settings.hub.cache_claim is not None:
        values["HF_HUB_CACHE"] = HUB_CACHE
    if settings.hub.cache_claim is not None or settings.hub.offline:
        values["HF_HUB_OFFLINE"] = "1"
    if settings.s3.endpoint is not None:
        values["AWS_ENDPOINT_URL_S3"] = settings.s3.endpoint
    if settings.s3.region is not None:
        values["AWS_DEFAULT_REGION"] = settings.s3.region
    if not gpus:
        # Images with CUDA ask NVIDIA's runtime for all devices; a pod that asked for none would see those of others.
        values["NVIDIA_VISIBLE_DEVICES"] = "void"
    for name, value in values.items():
        yield {"name": name, "value": value}
    if settings.s3.secret is not None:
        for key, required in _S3_KEYS.items():
            yield _from_secret(key, settings.s3.secret, required=required)
    if settings.hub.secret is not None:
        yield _from_secret("HF_TOKEN", settings.hub.secret, required=True)


def _from_secret(key: str, secret: str, *, required: bool) -> JsonValue:
    """By key: whatever else the Secret holds does not become a variable."""
    reference: JsonObject = {"name": secret, "key": key}
    return {"name": key, "valueFrom": {"secretKeyRef": reference if required else {**reference, "optional": True}}}


def _resources(settings: ClusterSettings) -> JsonObject:
    asked = settings.resources
    return {
        "requests": {"cpu": asked.cpu, "memory": asked.memory, "ephemeral-storage": asked.ephemeral_storage},
        "limits": {"memory": asked.memory},
    }


def _volumes(settings: ClusterSettings) -> Iterator[JsonValue]:
    shared = {"medium": "Memory", "sizeLimit": settings.resources.shared_memory}
    yield {"name": "scratch", "emptyDir": {}}
    yield {"name": "tmp", "emptyDir": {}}
    yield {"name": "shared-memory", "emptyDir": {**shared}}
    if settings.hub.cache_claim is not None:
        yield _claim("hub-cache", settings.hub.cache_claim)
    for volume in settings.volumes:
        yield _claim(_data_volume(volume.name), volume.claim)


def _claim(name: str, claim: str) -> JsonValue:
    return {"name": name, "persistentVolumeClaim": {"claimName": claim, "readOnly": True}}


def _mounts(settings: ClusterSettings) -> Iterator[JsonValue]:
    yield {"name": "scratch", "mountPath": SCRATCH}
    yield {"name": "tmp", "mountPath": "/tmp"}  # noqa: S108  (a path in the pod; torch will not import without it)
    yield {"name": "shared-memory", "mountPath": "/dev/shm"}  # noqa: S108  (a path in the pod)
    if settings.hub.cache_claim is not None:
        yield {"name": "hub-cache", "mountPath": HUB_CACHE, "readOnly": True}
    for volume in settings.volumes:
        mount: JsonObject = {"name": _data_volume(volume.name), "mountPath": volume.path, "readOnly": True}
        yield mount if volume.sub_path is None else {**mount, "subPath": volume.sub_path}


def _data_volume(name: str) -> str:
    """With a prefix, as people may call theirs `tmp`; together at most the 63 characters of a label."""
    return f"data-{name}"


def _names(containers: JsonValue) -> Sequence[str]:
    listed = containers if isinstance(containers, list) else []
    return [str(container["name"]) for container in listed if isinstance(container, dict)]
