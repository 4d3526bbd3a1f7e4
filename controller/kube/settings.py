"""What the operator of a cluster decides, and a sweep cannot: image, placement, volumes, Secrets, queue, write rate.

The same fields are the chart's values and the file of `--cluster FILE`. A sweep says what is learned and how many GPUs
a Job asks for; nothing here is part of a trial's identity.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, StrictStr, model_validator
from pydantic_core import PydanticCustomError

from controller.kube.pod_template import REQUEST_FOLDER, PodTemplate
from job.contract.base import Count, Flag, Frozen, Number, Positive

__all__ = [
    "HUB_CACHE",
    "S3",
    "SCRATCH",
    "ApiLimits",
    "ClusterSettings",
    "DataVolume",
    "Hub",
    "Kueue",
    "Resources",
    "ServiceAccounts",
    "Toleration",
]

SCRATCH = "/scratch"
"""HOME and all caches of a trial."""
HUB_CACHE = "/var/cache/huggingface"
_TAKEN = ("/dev", "/proc", "/sys", "/tmp", SCRATCH, HUB_CACHE, REQUEST_FOLDER)  # noqa: S108  (a path in the pod)
_SUBDOMAIN = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*"
_LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
# apimachinery's quantity: a decimal number with a binary or decimal suffix, or an exponent.
_QUANTITY = r"([0-9]+(\.[0-9]*)?|\.[0-9]+)(m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei|[eE][+-]?[0-9]+)?"


def _ruled(pattern: str, rule: str, *, limit: int = 253) -> tuple[AfterValidator, Any]:
    """A validator whose message is the rule in words, and the same pattern for the JSON Schema."""

    def check(text: str) -> str:
        if len(text) > limit or not re.fullmatch(pattern, text):
            raise ValueError(f"must be {rule}")
        return text

    return AfterValidator(check), Field(json_schema_extra={"pattern": f"^{pattern}$", "maxLength": limit})


def _checked(rule: Callable[[str], str | None], *, pattern: str) -> tuple[AfterValidator, Any]:
    """A validator that says what is wrong, and for the JSON Schema a pattern that takes all that the rule takes."""

    def check(text: str) -> str:
        if broken := rule(text):
            raise ValueError(broken)
        return text

    return AfterValidator(check), Field(json_schema_extra={"pattern": f"^({pattern})$"})


def _other_than(word: str, letter: str) -> str:
    """A pattern for one or more of `letter`, but not the word. Helm's expressions (RE2) cannot look ahead."""
    rest = f"{letter}+"
    for place in range(len(word) - 1, -1, -1):
        another = f"{letter[:-1]}{word[place]}]"  # `letter` is a negated class
        ended = "" if place == 0 else "?"
        rest = f"({another}{letter}*|{word[place]}{rest}){ended}"
    return rest


_TAGGED = _other_than("latest", r"[^\s/@:]")
_HOST = r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?"
# After distribution/reference: capitals may stand in a registry's host and in a tag, and nowhere else.
_REPOSITORY = rf"({_HOST}/)?[a-z0-9._-]+(/[a-z0-9._-]+)*"
_TAG = r":[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}"
_DIGEST = r"@[A-Za-z0-9+._-]+:[0-9a-fA-F]+"
_REFERENCE = rf"{_REPOSITORY}({_TAG})?({_DIGEST})?"
_IMAGE = rf"{_REPOSITORY}({_TAG})?{_DIGEST}|{_REPOSITORY}:{_TAGGED}"
# Also with `@`: Helm would show what its schema refuses, so a template does it.
_ENDPOINT = rf"https?://([^\s/?#]*@)?{_HOST}/?"
_PATH = r"(/[A-Za-z0-9_][A-Za-z0-9._-]*)+"


def _image_rule(image: str) -> str | None:
    name, _, digest = image.partition("@")
    tag = name.rsplit("/", 1)[-1].partition(":")[2]
    if digest or (tag and tag != "latest"):
        if re.fullmatch(_REFERENCE, image):
            return None
        return "must be the name of an image, such as registry.example.org/lorasweep-job:0.1.0: a-z, 0-9 and . _ - /"
    return "must have a tag other than `latest`, or a digest: the trials of one sweep have to run the same code"


def _endpoint_rule(endpoint: str) -> str | None:
    if "@" in endpoint:  # never shown: what stands before it may be a secret
        raise PydanticCustomError(
            "withheld", "an address with `@` holds credentials; write it without, and name a Secret in `s3.secret`"
        )
    if not re.fullmatch(_ENDPOINT, endpoint):
        return "must be http:// or https:// and a host, such as https://s3.example.org"
    return None


def _path_rule(path: str) -> str | None:
    if not re.fullmatch(_PATH, path):
        return "must be an absolute path of A-Z a-z 0-9 . _ -, without a slash at its end"
    taken = next((folder for folder in _TAKEN if (path + "/").startswith(folder + "/")), None)
    return f"{taken} is in use in every trial; choose another path, such as /data" if taken else None


ObjectName = Annotated[StrictStr, *_ruled(_SUBDOMAIN, "the name of an object: a-z, 0-9, - and dots, not at either end")]
VolumeName = Annotated[StrictStr, *_ruled(_LABEL, "a DNS-1123 label: a-z, 0-9 and -, not at either end", limit=58)]
Quantity = Annotated[StrictStr, *_ruled(_QUANTITY, 'a quantity such as "500m", "2" or "8Gi"', limit=32)]
ResourceName = Annotated[
    StrictStr, *_ruled(rf"{_SUBDOMAIN}/[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?", "a resource such as nvidia.com/gpu")
]
Image = Annotated[StrictStr, *_checked(_image_rule, pattern=_IMAGE)]


class ServiceAccounts(Frozen):
    """Identities towards the cluster and, with workload identity, towards the cloud."""

    trial: ObjectName | None = None
    """Of trial pods; they get no token for the Kubernetes API. Null: the namespace's default."""
    controller: ObjectName | None = None
    """Of the controller, which needs the rights of the chart's Role."""


class Resources(Frozen):
    """What every trial pod asks for, besides GPUs."""

    cpu: Quantity = "2"
    """Requested; there is no limit, so that idle cores are used."""
    memory: Quantity = "8Gi"
    """Request and limit: a trial that needs more is killed (out of memory) and takes nothing from others."""
    ephemeral_storage: Quantity = "20Gi"
    """Requested: base model, data, checkpoints and adapter while the trial runs."""
    shared_memory: Quantity = "1Gi"
    """Size of /dev/shm, which is part of the memory: data loader workers pass batches through it."""


class Toleration(Frozen):
    """Of a taint, in the API's words."""

    key: StrictStr | None = None
    operator: Literal["Exists", "Equal"] = "Exists"
    value: StrictStr | None = None
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None


class Kueue(Frozen):
    """Admission by Kueue; without a queue Jobs start as soon as the scheduler finds a node."""

    queue: ObjectName | None = None
    """The LocalQueue."""
    priority_class: ObjectName | None = None
    """A WorkloadPriorityClass."""

    @model_validator(mode="after")
    def _priority_is_in_a_queue(self) -> Kueue:
        if self.priority_class is not None and self.queue is None:
            raise ValueError("`kueue.priority_class` orders a queue; name it in `kueue.queue`")
        return self


class S3(Frozen):
    """How pods reach the store; nothing here with workload identity, which the service account brings."""

    secret: ObjectName | None = None
    """An existing Secret with the keys AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, and AWS_SESSION_TOKEN if needed."""
    endpoint: Annotated[StrictStr, *_checked(_endpoint_rule, pattern=_ENDPOINT)] | None = None
    """Null: AWS."""
    region: Annotated[StrictStr, *_ruled(r"[A-Za-z0-9-]+", "a region such as eu-central-1", limit=63)] | None = None


class Hub(Frozen):
    """How trials reach the model hub."""

    secret: ObjectName | None = None
    """An existing Secret with the key HF_TOKEN, for gated models."""
    cache_claim: ObjectName | None = None
    """A PersistentVolumeClaim that holds a filled hub cache; mounted read-only, and the network is not asked."""
    offline: Flag = False
    """Never ask the network; model and data are then in the bucket, a volume or the cache."""


class DataVolume(Frozen):
    """A claim with models or data; a sweep may name paths in it, together with their digests."""

    name: VolumeName
    claim: ObjectName
    path: Annotated[StrictStr, *_checked(_path_rule, pattern=_PATH)]
    """Where it is mounted, read-only, in every trial."""
    sub_path: StrictStr | None = None
    """A folder of the volume instead of all of it."""


class ApiLimits(Frozen):
    """How hard the controller may press the API server."""

    writes_per_s: Annotated[Number, Field(ge=0.1)] = 20.0
    burst: Positive = 40
    """Writes at once after a pause."""


class ClusterSettings(Frozen):
    """Everything about the place where trials run."""

    image: Image
    """Of trials, with a tag or a digest."""
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] = "IfNotPresent"
    image_pull_secrets: tuple[ObjectName, ...] = ()
    """Existing Secrets of the namespace."""
    service_accounts: ServiceAccounts = ServiceAccounts()
    resources: Resources = Resources()
    gpu_resource: ResourceName | None = "nvidia.com/gpu"
    """What a node calls a GPU. Null: none is asked for, as with resource claims in pod_template."""
    tolerations: tuple[Toleration, ...] = (Toleration(key="nvidia.com/gpu", operator="Exists", effect="NoSchedule"),)
    """Of pods that ask for a GPU: GPU nodes are often tainted, so that nothing else runs there."""
    kueue: Kueue = Kueue()
    s3: S3 = S3()
    hub: Hub = Hub()
    volumes: tuple[DataVolume, ...] = ()
    grace_period_s: Positive = 120
    """From SIGTERM to SIGKILL: time for a checkpoint and its upload."""
    finished_ttl_s: Count = 3600
    """How long a Job stays for kubectl after its end was stored."""
    api: ApiLimits = ApiLimits()
    pod_template: PodTemplate = PodTemplate()
    """A partial PodTemplateSpec, merged by name with ours: node selectors, affinity, sidecars, more volumes."""

    @model_validator(mode="after")
    def _parts_fit(self) -> ClusterSettings:
        names = [volume.name for volume in self.volumes]
        paths = [volume.path + "/" for volume in self.volumes]
        if len(set(names)) < len(names):
            raise ValueError("`volumes`: two have the same name")
        if any(one is not other and one.startswith(other) for one in paths for other in paths) or len(set(paths)) < len(
            paths
        ):
            raise ValueError("`volumes`: one is mounted inside another; give each a path of its own")
        spec = self.pod_template.spec
        for container in (spec.containers if spec else None) or ():
            amounts = container.resources
            asked = {**(amounts.limits or {}), **(amounts.requests or {})} if amounts else {}
            if self.gpu_resource in asked:
                raise ValueError(
                    f"`pod_template`: how many {self.gpu_resource} a trial asks for is the sweep's `execution.gpus`"
                )
        return self
