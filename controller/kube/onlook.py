"""A run on a cluster for those who look on: they write nothing, need no settings, and rights to read alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import NamedTuple

from pydantic import TypeAdapter, ValidationError

from controller.backend import Observed
from controller.kube.api import KubeApi, Object
from controller.kube.identity import selector
from controller.kube.objects import JobObject, PodObject
from controller.kube.observed import observed
from controller.kube.pod_template import CONTAINER
from controller.kube.rights import CONFIG_MAPS, JOBS, LEASES, PODS
from controller.kube.run_object import run_object_name
from controller.kube.sighting import Sighting, sightings
from controller.kube.told import Told
from controller.names import Naming
from job.contract.errors import ConfigurationError, NotFoundError, PreflightError

__all__ = ["Onlook", "PodLog"]

_TIME = TypeAdapter(datetime)
# A holder renews every 5 s. Its clock and this one may differ, and to be told too late costs less than a false alarm.
_SILENCE_S = 120.0


class PodLog(NamedTuple):
    """What a trial's process wrote."""

    pod: str
    attempt: str
    body: bytes


class Onlook:
    """One run in one namespace."""

    def __init__(self, api: KubeApi, naming: Naming, *, now: Callable[[], datetime]) -> None:
        self._api = api
        self._naming = naming
        self._now = now
        self._told = Told(api, now)

    @property
    def namespace(self) -> str:
        return self._api.namespace

    def is_there(self) -> bool:
        """Whether the run has its ConfigMap in this namespace; a run of another place has none."""
        try:
            self._api.get(CONFIG_MAPS, run_object_name(self._naming))
        except NotFoundError:
            return False
        return True

    def observed(self) -> tuple[Observed, ...]:
        """Every submission as its Job and pods show it. Raises PreflightError where they may not be listed."""
        found = self._sightings()
        events = self._told.about(found)
        return tuple(observed(replace(one, events=events.get(one.identity.name, ()))) for one in found)

    def is_led(self) -> bool | None:
        """Whether a controller holds the run's Lease; None where that may not be read."""
        try:
            spec: Object = self._api.get(LEASES, run_object_name(self._naming))["spec"]
        except NotFoundError:
            return False
        except PreflightError:
            return None
        try:
            renewed_at = _TIME.validate_python(spec.get("renewTime"))
        except ValidationError:
            return None
        return bool(spec.get("holderIdentity")) and (self._now() - renewed_at).total_seconds() < _SILENCE_S

    def log(self, trial_id: str, *, limit_bytes: int) -> PodLog | None:
        """What the trial's newest process wrote, as long as its pod is there; None without one.

        Raises PreflightError where logs may not be read.
        """
        holding = [one for one in self._sightings() if trial_id in one.identity.trial_ids]
        for sighting in sorted(holding, key=lambda one: one.identity.number, reverse=True):
            pod = sighting.newest_begun
            if pod is None:
                continue
            try:
                body = self._api.log(pod.metadata.name, container=CONTAINER, limit_bytes=limit_bytes)
            except (NotFoundError, ConfigurationError):  # the pod is gone, or its kubelet has lost the container
                continue
            return PodLog(pod.metadata.name, pod.uid, body)
        return None

    def _sightings(self) -> tuple[Sighting, ...]:
        labels = selector(self._naming)
        # Pods last: what a Job has made before it was listed is then among them.
        jobs = [JobObject.read(found) for found in self._api.list(JOBS, labels=labels).objects]
        pods = [PodObject.read(found) for found in self._api.list(PODS, labels=labels).objects]
        return sightings(jobs, pods)
