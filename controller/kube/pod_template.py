"""What an operator may set on trial pods: a closed part of PodTemplateSpec, by the API's own names.

Closed, so that the promises of a trial pod hold whatever is written here: the restricted Pod Security profile (as of
Kubernetes 1.37), our command, no token for the Kubernetes API, nothing of the node's. A field that is not listed is
refused by name. Images, volumes and schedulers are the operator's own choice, and are trusted.
"""
# ruff: noqa: N815  (the Kubernetes API's own field names)

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, JsonValue, StrictStr, field_validator, model_validator

from controller.kube.objects import JsonObject
from job.contract.base import Count, Flag, Frozen, Positive

__all__ = ["CONTAINER", "REFUSED", "REQUEST_FOLDER", "REQUEST_VOLUME", "PodTemplate"]

CONTAINER = "trial"
"""The container that works; failures of others are told apart by name."""
REQUEST_FOLDER = "/etc/lorasweep"
REQUEST_VOLUME = "request"
_OUR_LABELS = ("lorasweep.io/", "batch.kubernetes.io/", "app.kubernetes.io/")
_JOB_LABELS = frozenset({"controller-uid", "job-name"})  # the Job controller's own, from before they had a prefix
# An API server accepts tokens for its issuer's name, and for no audience at all: kubeadm, kind and EKS; GKE.
_API_AUDIENCES = ("https://kubernetes.default", "https://container.googleapis.com/")

REFUSED: Mapping[str, str] = {
    "activeDeadlineSeconds": "time in a queue would count; a sweep has execution.trial_timeout_s",
    "args": "trials run our command",
    "automountServiceAccountToken": "trial pods have no token for the Kubernetes API",
    "command": "trials run our command",
    "hostIPC": "trial pods share nothing with the node",
    "hostNetwork": "trial pods share nothing with the node",
    "hostPID": "trial pods share nothing with the node",
    "hostPath": "trial pods see no files of the node; use a claim (`volumes`, or persistentVolumeClaim here)",
    "image": "set `image`, beside pod_template",
    "imagePullPolicy": "set `image_pull_policy`, beside pod_template",
    "livenessProbe": "it would end trainings that are busy; the job watches its own progress",
    "nodeName": "it bypasses the scheduler, and with it GPUs that are taken; use nodeSelector",
    "ports": "a trial listens on no port",
    "restartPolicy": "a failed pod is replaced by the Job, or not at all",
    "serviceAccount": "set `service_accounts.trial`, beside pod_template",
    "serviceAccountName": "set `service_accounts.trial`, beside pod_template",
    "terminationGracePeriodSeconds": "set `grace_period_s`, beside pod_template",
}
"""Fields of a PodTemplateSpec that people will look for here, and why they cannot be set."""


def _no_reserved_label(labels: dict[str, str]) -> dict[str, str]:
    for key in labels:
        if key.startswith(_OUR_LABELS) or key in _JOB_LABELS:
            raise ValueError(f"{key!r} is set by the controller; choose another key")
    return labels


def _no_reserved_variable(name: str) -> str:
    if not name or "=" in name or "\x00" in name:
        raise ValueError("is no name of an environment variable")
    if name.startswith("LORASWEEP_"):
        raise ValueError("names that start with LORASWEEP_ are set by the controller")
    return name


def _not_our_mount(path: str) -> str:
    clean = posixpath.normpath("/" + path.lstrip("/"))
    if not path.startswith("/") or clean == "/":
        raise ValueError("must be an absolute path, and not / itself")
    if clean == REQUEST_FOLDER or clean.startswith(REQUEST_FOLDER + "/"):
        raise ValueError(f"{REQUEST_FOLDER} holds the trial's request; choose another path")
    return clean


def _not_our_volume(name: str) -> str:
    if name == REQUEST_VOLUME:
        raise ValueError(f"a volume named {REQUEST_VOLUME!r} holds the trial's request; choose another name")
    return name


Keys = Annotated[dict[str, StrictStr], AfterValidator(_no_reserved_label)]
MountPath = Annotated[StrictStr, AfterValidator(_not_our_mount)]
Id = Annotated[Count, Field(lt=2**31)]
UserId = Annotated[Positive, Field(lt=2**31)]
"""Not 0: that is root."""


class TemplateMetadata(Frozen):
    """Labels and annotations besides ours."""

    labels: Keys | None = None
    annotations: Keys | None = None


class EnvVar(Frozen):
    """A variable; one of ours with the same name, such as HOME, is replaced."""

    name: Annotated[StrictStr, AfterValidator(_no_reserved_variable)]
    value: StrictStr | None = None
    valueFrom: JsonObject | None = None


class VolumeMount(Frozen):
    """Where a volume appears; one of ours at the same path, such as /tmp, is replaced."""

    name: StrictStr
    mountPath: MountPath
    readOnly: Flag | None = None
    recursiveReadOnly: Literal["Disabled", "IfPossible", "Enabled"] | None = None
    subPath: StrictStr | None = None
    subPathExpr: StrictStr | None = None


class Volume(Frozen):
    """A volume of a type that the restricted profile allows; one of ours with the same name is replaced."""

    name: Annotated[StrictStr, AfterValidator(_not_our_volume)]
    configMap: JsonObject | None = None
    csi: JsonObject | None = None
    downwardAPI: JsonObject | None = None
    emptyDir: JsonObject | None = None
    ephemeral: JsonObject | None = None
    image: JsonObject | None = None
    persistentVolumeClaim: JsonObject | None = None
    projected: JsonObject | None = None
    secret: JsonObject | None = None

    @model_validator(mode="after")
    def _has_one_source(self) -> Volume:
        given = sorted(self.model_dump(exclude_none=True).keys() - {"name"})
        if len(given) != 1:
            raise ValueError(f"volume {self.name!r} must have one source, not {' and '.join(given) or 'none'}")
        return self

    @field_validator("projected")
    @classmethod
    def _projects_no_api_token(cls, projected: JsonObject | None) -> JsonObject | None:
        sources = (projected or {}).get("sources")
        for source in sources if isinstance(sources, list) else ():
            token = source.get("serviceAccountToken") if isinstance(source, dict) else None
            if token is None:
                continue
            audience = token.get("audience") if isinstance(token, dict) else None
            if not isinstance(audience, str) or not audience or audience.startswith(_API_AUDIENCES):
                raise ValueError(
                    "a projected service account token needs the audience of another service, such as "
                    "sts.amazonaws.com; trial pods have no token for the Kubernetes API"
                )
        return projected


class Capabilities(Frozen):
    """All are dropped; nothing can be added."""

    drop: tuple[StrictStr, ...] = ()


class SeccompProfile(Frozen):
    """RuntimeDefault unless set."""

    type: Literal["RuntimeDefault", "Localhost"]
    localhostProfile: StrictStr | None = None


class AppArmorProfile(Frozen):
    """The runtime's own unless set."""

    type: Literal["RuntimeDefault", "Localhost"]
    localhostProfile: StrictStr | None = None


class SELinuxOptions(Frozen):
    """What the baseline profile allows."""

    type: Literal["container_t", "container_init_t", "container_kvm_t", "container_engine_t"] | None = None
    level: StrictStr | None = None


class ContainerSecurity(Frozen):
    """A container's securityContext within the restricted profile."""

    allowPrivilegeEscalation: Literal[False] | None = None
    appArmorProfile: AppArmorProfile | None = None
    capabilities: Capabilities | None = None
    privileged: Literal[False] | None = None
    readOnlyRootFilesystem: Flag | None = None
    runAsGroup: Id | None = None
    runAsNonRoot: Literal[True] | None = None
    runAsUser: UserId | None = None
    seLinuxOptions: SELinuxOptions | None = None
    seccompProfile: SeccompProfile | None = None


class PodSecurity(Frozen):
    """The pod's securityContext within the restricted profile."""

    appArmorProfile: AppArmorProfile | None = None
    fsGroup: Id | None = None
    fsGroupChangePolicy: Literal["Always", "OnRootMismatch"] | None = None
    runAsGroup: Id | None = None
    runAsNonRoot: Literal[True] | None = None
    runAsUser: UserId | None = None
    seLinuxOptions: SELinuxOptions | None = None
    seccompProfile: SeccompProfile | None = None
    supplementalGroups: tuple[Id, ...] | None = None
    supplementalGroupsPolicy: Literal["Merge", "Strict"] | None = None


class ContainerResources(Frozen):
    """Requests and limits in the API's own form."""

    claims: tuple[JsonObject, ...] | None = None
    limits: dict[str, StrictStr] | None = None
    requests: dict[str, StrictStr] | None = None


class TrialResources(ContainerResources):
    """What is added to `resources`, such as a CPU limit or another device."""

    @field_validator("limits", "requests")
    @classmethod
    def _memory_is_set_elsewhere(cls, amounts: dict[str, str] | None) -> dict[str, str] | None:
        if "memory" in (amounts or {}):
            raise ValueError("memory is request and limit at once; set `resources.memory`, beside pod_template")
        return amounts


class TrialContainer(Frozen):
    """The container `trial`."""

    name: StrictStr
    env: tuple[EnvVar, ...] | None = None
    envFrom: tuple[JsonObject, ...] | None = None
    resources: TrialResources | None = None
    securityContext: ContainerSecurity | None = None
    volumeMounts: tuple[VolumeMount, ...] | None = None

    @field_validator("name")
    @classmethod
    def _is_the_trial(cls, name: str) -> str:
        if name != CONTAINER:
            raise ValueError(
                f"only {CONTAINER!r} stands here, as a Job ends when all its containers have; what runs beside it goes "
                "into initContainers with restartPolicy: Always"
            )
        return name


class InitContainer(Frozen):
    """What runs before the trial or, with restartPolicy Always, beside it."""

    name: StrictStr
    image: StrictStr
    args: tuple[StrictStr, ...] | None = None
    command: tuple[StrictStr, ...] | None = None
    env: tuple[EnvVar, ...] | None = None
    envFrom: tuple[JsonObject, ...] | None = None
    imagePullPolicy: Literal["Always", "IfNotPresent", "Never"] | None = None
    resources: ContainerResources | None = None
    restartPolicy: Literal["Always"] | None = None
    securityContext: ContainerSecurity | None = None
    volumeMounts: tuple[VolumeMount, ...] | None = None
    workingDir: StrictStr | None = None

    @field_validator("name")
    @classmethod
    def _is_not_the_trial(cls, name: str) -> str:
        if name == CONTAINER:
            raise ValueError(f"{CONTAINER!r} is the container that works; choose another name")
        return name


class PodPart(Frozen):
    """Of a PodSpec; lists are merged with ours by name (mounts by path), tolerations are added."""

    affinity: JsonObject | None = None
    containers: tuple[TrialContainer, ...] | None = None
    dnsConfig: JsonObject | None = None
    dnsPolicy: Literal["ClusterFirst", "Default", "None"] | None = None
    enableServiceLinks: Flag | None = None
    hostAliases: tuple[JsonObject, ...] | None = None
    hostUsers: Flag | None = None
    imagePullSecrets: tuple[JsonObject, ...] | None = None
    initContainers: tuple[InitContainer, ...] | None = None
    nodeSelector: dict[str, StrictStr] | None = None
    preemptionPolicy: Literal["Never", "PreemptLowerPriority"] | None = None
    priorityClassName: StrictStr | None = None
    resourceClaims: tuple[JsonObject, ...] | None = None
    runtimeClassName: StrictStr | None = None
    schedulerName: StrictStr | None = None
    schedulingGates: tuple[JsonObject, ...] | None = None
    securityContext: PodSecurity | None = None
    tolerations: tuple[JsonObject, ...] | None = None
    topologySpreadConstraints: tuple[JsonObject, ...] | None = None
    volumes: tuple[Volume, ...] | None = None

    @field_validator("containers", "initContainers", "volumes")
    @classmethod
    def _names_are_unique(
        cls, parts: tuple[TrialContainer | InitContainer | Volume, ...] | None
    ) -> tuple[TrialContainer | InitContainer | Volume, ...] | None:
        names = [part.name for part in parts or ()]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise ValueError(f"{twice!r} is listed twice")
        return parts


class PodTemplate(Frozen):
    """A partial PodTemplateSpec."""

    metadata: TemplateMetadata | None = None
    spec: PodPart | None = None

    def overlay(self) -> dict[str, JsonValue]:
        """What was set, as the API takes it."""
        return self.model_dump(mode="json", exclude_none=True)
