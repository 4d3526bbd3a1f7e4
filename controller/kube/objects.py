"""What the API server says about Jobs, pods and events, as far as decisions need it; values, read from its JSON.

A pod of ours carries a request of up to 128 KiB in an annotation. Only annotations that are read again are kept, so
that a thousand Jobs and their pods fit into a few MB.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, field_validator, model_validator
from pydantic.alias_generators import to_camel

from job.contract.errors import TransientError

__all__ = [
    "REQUEST_ANNOTATION",
    "Condition",
    "ContainerStatus",
    "EventObject",
    "JobObject",
    "JsonObject",
    "Metadata",
    "OwnerReference",
    "PodObject",
    "Terminated",
]

JsonObject = dict[str, JsonValue]
"""An object of the API, or a part of one, in the form that is sent: camelCase, quantities as text."""

REQUEST_ANNOTATION = "lorasweep.io/request"
"""Of a pod template: the job's request.json, mounted as a file by the downward API."""
_KEPT_PREFIX = "lorasweep.io/"


class _Seen(BaseModel):
    """Part of an object: fields that are not read are passed over, null is absent."""

    model_config = ConfigDict(
        frozen=True, extra="ignore", alias_generator=to_camel, validate_by_name=True, defer_build=True
    )

    @model_validator(mode="before")
    @classmethod
    def _null_is_absent(cls, value: object) -> object:
        return {key: part for key, part in value.items() if part is not None} if isinstance(value, dict) else value

    @classmethod
    def read(cls, value: object) -> Self:
        """The object in the API's JSON. Raises TransientError for anything else: looking again is the remedy."""
        try:
            return cls.model_validate(value)
        except ValidationError as err:
            first = err.errors(include_url=False, include_context=False, include_input=False)[0]
            where = ".".join(str(part) for part in first["loc"]) or "object"
            kind = cls.__name__.removesuffix("Object")
            raise TransientError(f"the API server sent a {kind} that cannot be read: {where}: {first['msg']}") from err


class Condition(_Seen):
    """One of an object's conditions."""

    type: str
    status: str
    reason: str = ""
    message: str = ""
    last_transition_time: datetime | None = None

    @property
    def holds(self) -> bool:
        return self.status == "True"


class OwnerReference(_Seen):
    """Whose deletion deletes the object."""

    kind: str
    name: str
    uid: str


class Metadata(_Seen):
    """Names and times of an object."""

    name: str = ""
    uid: str = ""
    resource_version: str = ""
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)
    """Our own, without the request."""
    owner_references: tuple[OwnerReference, ...] = ()
    creation_timestamp: datetime | None = None
    deletion_timestamp: datetime | None = None

    @field_validator("annotations", mode="before")
    @classmethod
    def _ours(cls, value: object) -> object:
        if not isinstance(value, dict):
            return value
        kept = (key for key in value if str(key).startswith(_KEPT_PREFIX) and key != REQUEST_ANNOTATION)
        return {key: value[key] for key in kept}


class _JobSpec(_Seen):
    suspend: bool = False


class _JobStatus(_Seen):
    conditions: tuple[Condition, ...] = ()


class JobObject(_Seen):
    """A batch/v1 Job."""

    metadata: Metadata
    spec: _JobSpec = _JobSpec()
    status: _JobStatus = _JobStatus()

    def condition(self, kind: Literal["Complete", "Failed", "Suspended"]) -> Condition | None:
        """The condition of this type, if it holds."""
        return next((one for one in self.status.conditions if one.type == kind and one.holds), None)

    @property
    def end(self) -> Condition | None:
        """Complete or Failed: the Job controller is done with it, and none of its pods lives (Kubernetes 1.31)."""
        return self.condition("Complete") or self.condition("Failed")

    @property
    def closing(self) -> bool:
        """Whether its end is decided and waits for pods to terminate."""
        return any(one.type in {"FailureTarget", "SuccessCriteriaMet"} and one.holds for one in self.status.conditions)


class _Waiting(_Seen):
    reason: str = ""
    message: str = ""


class _Running(_Seen):
    started_at: datetime | None = None


class Terminated(_Seen):
    """How a container ended."""

    exit_code: int
    reason: str = ""
    message: str = ""
    """The termination message, or the log's last lines where the process left none."""
    started_at: datetime | None = None
    finished_at: datetime | None = None


class _ContainerState(_Seen):
    waiting: _Waiting | None = None
    running: _Running | None = None
    terminated: Terminated | None = None


class ContainerStatus(_Seen):
    """One container of a pod."""

    name: str
    state: _ContainerState = _ContainerState()


class _Resources(_Seen):
    limits: dict[str, str | int | float] = Field(default_factory=dict)


class _Container(_Seen):
    name: str
    resources: _Resources = _Resources()


class _PodSpec(_Seen):
    node_name: str = ""
    containers: tuple[_Container, ...] = ()


class _PodStatus(_Seen):
    phase: str = "Pending"
    reason: str = ""
    message: str = ""
    conditions: tuple[Condition, ...] = ()
    init_container_statuses: tuple[ContainerStatus, ...] = ()
    container_statuses: tuple[ContainerStatus, ...] = ()


class PodObject(_Seen):
    """A pod of a Job."""

    metadata: Metadata
    spec: _PodSpec = _PodSpec()
    status: _PodStatus = _PodStatus()

    @property
    def uid(self) -> str:
        return self.metadata.uid

    @property
    def over(self) -> bool:
        """Whether its phase is final."""
        return self.status.phase in {"Succeeded", "Failed"}

    def condition(self, kind: str) -> Condition | None:
        """The condition of this type, whatever its status."""
        return next((one for one in self.status.conditions if one.type == kind), None)

    @property
    def disruption(self) -> Condition | None:
        """Why the cluster ends it: evicted, preempted, drained, or its node is gone; None when it does not."""
        found = self.condition("DisruptionTarget")
        return found if found is not None and found.holds else None

    def limits(self, container: str) -> dict[str, str]:
        """Resource limits of a container, as text."""
        found = next((one.resources.limits for one in self.spec.containers if one.name == container), {})
        return {name: str(amount) for name, amount in found.items()}


class _Series(_Seen):
    last_observed_time: datetime | None = None


class _Involved(_Seen):
    uid: str = ""


class EventObject(_Seen):
    """Something that a controller, the scheduler or a kubelet said about an object."""

    metadata: Metadata = Metadata()
    involved_object: _Involved = _Involved()
    type: str = "Normal"
    reason: str = ""
    message: str = ""
    event_time: datetime | None = None
    first_timestamp: datetime | None = None
    last_timestamp: datetime | None = None
    series: _Series = _Series()

    @property
    def about(self) -> str:
        """UID of the object."""
        return self.involved_object.uid

    @property
    def at(self) -> datetime | None:
        """When it happened last; reporters fill different fields."""
        times = (self.series.last_observed_time, self.last_timestamp, self.event_time, self.first_timestamp)
        return next((time for time in times if time is not None), self.metadata.creation_timestamp)

    @property
    def began_at(self) -> datetime | None:
        """When it happened first."""
        return self.first_timestamp or self.event_time or self.at
