"""One Job in the shape of the largest trial that looks instead of training; gone when its findings are read."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime

from controller.backend import Observed, Submission
from controller.canary import canary_checks
from controller.kube.api import KubeApi, Object
from controller.kube.identity import CANARY, Identity
from controller.kube.objects import JobObject, PodObject
from controller.kube.observed import observed
from controller.kube.pod_template import CONTAINER
from controller.kube.rights import JOBS, PODS
from controller.kube.sighting import Sighting
from controller.kube.told import Told
from job.contract.checks import Check, failure
from job.contract.errors import ConflictError, NotFoundError, PreflightError, SweepError, TransientError

__all__ = ["Canary"]

_POLL_S = 2.0
_LOG_BYTES = 64 * 2**10
# Waits that nobody but a person ends. They may be there for a moment, as while a Secret is being made.
_HOPELESS = frozenset({"image", "configuration", "admission"})
_HOPELESS_S = 60.0


@dataclass(frozen=True)
class Canary:
    """One look at a namespace from inside a pod."""

    api: KubeApi
    sample: Submission
    now: Callable[[], datetime]
    sleep: Callable[[float], None]
    say: Callable[[str], None]
    """Is told why it waits, in the words of who makes it wait."""

    def checks(self, manifest: Object) -> tuple[Check, ...]:
        """What the pod of `manifest` found. Whatever happens here, its Job is deleted before this returns."""
        try:
            made = self.api.create(JOBS, manifest)
        except ConflictError:
            name = manifest["metadata"]["name"]
            text = (
                f"Job {name!r} is there already: another canary of this run looks, or its predecessor is being "
                f"deleted; try again in a minute, or kubectl delete job {name}"
            )
            return (Check("canary", "failed", text, passing=True),)
        except SweepError as err:
            return (failure("canary", err),)
        name, uid = made["metadata"]["name"], made["metadata"]["uid"]
        try:
            return self._watched(name, uid)
        finally:
            self._remove(name, uid)

    def _watched(self, name: str, uid: str) -> tuple[Check, ...]:
        told = Told(self.api, self.now)
        said, since = "", self.now()
        while True:
            sighting = self._look(name, uid)
            sighting = replace(sighting, events=told.about([sighting]).get(name, ()))
            seen = observed(sighting)
            if seen.state == "ended":
                return canary_checks(self._log(sighting), exit_code=seen.exit_code, ended=_words(seen))
            if (words := _words(seen)) != said:
                said, since = words, self.now()
                self.say(f"canary {name}: {words}")
            if seen.wait_reason in _HOPELESS and (self.now() - since).total_seconds() > _HOPELESS_S:
                return (Check("canary", "failed", words),)
            self.sleep(_POLL_S)

    def _look(self, name: str, uid: str) -> Sighting:
        try:
            job = JobObject.read(self.api.get(JOBS, name))
        except NotFoundError:
            job = None
        if job is not None and job.metadata.uid != uid:
            job = None
        pods = [PodObject.read(pod) for pod in self.api.list(PODS, labels=f"{CANARY}={name}").objects]
        own = [pod for pod in pods if any(owner.uid == uid for owner in pod.metadata.owner_references)]
        own.sort(key=lambda pod: str(pod.metadata.creation_timestamp))
        trials = self.sample.trial_ids
        return Sighting(Identity(name, 1, self.sample.group_id, trials), job, tuple(own), (), frozenset())

    def _log(self, sighting: Sighting) -> bytes:
        pod = sighting.newest_begun
        if pod is None:
            return b""
        try:
            return self.api.log(pod.metadata.name, container=CONTAINER, limit_bytes=_LOG_BYTES)
        except (NotFoundError, PreflightError) as err:
            self.say(f"its log cannot be read: {err}")
            return b""

    def _remove(self, name: str, uid: str) -> None:
        with suppress(ConflictError):  # it is gone, and another has its name
            try:
                self.api.delete(JOBS, name, uid=uid)
            except (TransientError, PreflightError) as err:
                self.say(f"Job {name!r} could not be deleted ({err}); it goes by itself some minutes after its end")


def _words(seen: Observed) -> str:
    if seen.state == "waiting":
        return f"waiting ({seen.wait_reason})" + (f": {seen.text}" if seen.text else "")
    if seen.state == "running":
        return "running" + (f": {seen.text}" if seen.text else "")
    return f"{seen.cause}: {seen.text}" if seen.text else str(seen.cause)
