"""Submissions as Jobs of one namespace.

What is known about a submission is in its Job and the Job's pods; this process adds only the memory of objects that
it has seen and that are gone. Losing that memory costs a reason in words, never a trial: a Job that nobody remembers
is made again under the same name.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from typing import Generic, TypeVar

from controller.backend import Backend, Observed, Submission
from controller.kube.api import KubeApi, QuotaError
from controller.kube.identity import RunPlace, same_submission
from controller.kube.manifest import job_manifest, settings_mark
from controller.kube.merge import merged
from controller.kube.mirror import Mirror
from controller.kube.objects import JobObject, JsonObject, PodObject
from controller.kube.observed import observed
from controller.kube.outdated import is_outdated
from controller.kube.patches import disrupted_patch, recorded_patch, stop_patch
from controller.kube.pod_template import CONTAINER
from controller.kube.refusals import Refusals
from controller.kube.rights import JOBS
from controller.kube.run_object import RunObject
from controller.kube.settings import ClusterSettings
from controller.kube.sighting import Sighting, sightings
from controller.kube.told import Told
from job.contract.errors import (
    ConfigurationError,
    ConflictError,
    ExitCode,
    NotFoundError,
    PreflightError,
    TransientError,
)

__all__ = ["KubeBackend"]

logger = logging.getLogger(__name__)

_CAPACITY = 100_000  # the cluster's quota and scheduler say no in time
_TAIL_BYTES = 8192
_NO_TAIL = frozenset({None, int(ExitCode.DONE), int(ExitCode.STOPPED)})

Seen = TypeVar("Seen", JobObject, PodObject)


class KubeBackend:
    """Jobs, one per submission."""

    def __init__(
        self,
        api: KubeApi,
        *,
        jobs: Mirror[JobObject],
        pods: Mirror[PodObject],
        settings: ClusterSettings,
        place: RunPlace,
        run: RunObject,
        gpus: int,
        now: Callable[[], datetime],
        confirm: Callable[[], None] = lambda: None,
    ) -> None:
        """`jobs` and `pods` follow the run's objects and are started; `gpus` is what the sweep's Jobs ask for.

        `confirm` raises TransientError while another controller may lead; nothing is looked at then, nor done.
        """
        self._api = api
        self._jobs = jobs
        self._pods = pods
        self._settings = settings
        self._place = place
        self._run = run
        self._gpus = gpus
        self._mark = settings_mark(settings, run_uri=place.naming.run_uri, gpus=gpus)
        self._now = now
        self._confirm = confirm
        self._known_jobs: _Memory[JobObject] = _Memory()
        self._known_pods: _Memory[PodObject] = _Memory()
        self._forgotten: set[str] = set()
        self._told = Told(api, now)
        self._refusals = Refusals(self._create, now)
        self._tails: dict[str, str] = {}

    @property
    def capacity(self) -> int:
        return _CAPACITY

    @property
    def outlives_controller(self) -> bool:
        return True

    def observe(self) -> tuple[Observed, ...]:
        """As the contract says. Raises StoppedError when the run's ConfigMap was deleted, and its Jobs with it."""
        self._confirm()
        self._refusals.ask_again()
        found = self._look()
        if any(one.job_gone for one in found):
            self._run.check()
        for one in found:
            if one.job is not None and (patch := disrupted_patch(one)) is not None:
                self._patch(one.job, patch)
            if one.job is not None and is_outdated(one, mark=self._mark):
                self._discard(one.job)
        return (*(self._with_tail(one, observed(one)) for one in found), *self._refusals.observed())

    def submit(self, submission: Submission) -> None:
        try:
            self._create(submission)
        except ConflictError:
            self._adopt(submission)
        except QuotaError as err:
            self._refusals.add(submission, err)

    def stop(self, name: str) -> None:
        self._refusals.stop(name)
        job = self._job(name)
        if job is not None:
            self._patch(job, stop_patch(now=self._now()))

    def kill(self, name: str) -> None:
        job = self._job(name)
        if job is not None:
            self._delete(job)

    def forget(self, name: str) -> None:
        self._refusals.forget(name)
        found = next((one for one in self._look() if one.identity.name == name), None)
        if found is not None and observed(found).live:
            return
        job = self._job(name)
        if job is not None and job.end is not None:
            self._patch(job, recorded_patch(now=self._now(), ttl_s=self._settings.finished_ttl_s))
        elif job is not None:
            self._delete(job)
        self._forgotten |= set() if found is None else _uids(found)
        self._tails.pop(name, None)

    def logs(self, name: str, *, limit_bytes: int) -> bytes | None:
        found = next((one for one in self._look() if one.identity.name == name), None)
        return None if found is None else self._log(found, limit_bytes=limit_bytes) or None

    def _look(self) -> tuple[Sighting, ...]:
        jobs = self._known_jobs.with_those_of(self._jobs, without=self._forgotten)
        pods = self._known_pods.with_those_of(self._pods, without=self._forgotten)
        found = sightings(jobs, pods, gone=self._known_jobs.gone | self._known_pods.gone)
        kept = {uid for one in found for uid in _uids(one)}
        self._known_jobs.keep(kept)
        self._known_pods.keep(kept)
        events = self._told.about(found)
        return tuple(replace(one, events=events.get(one.identity.name, ())) for one in found)

    def _job(self, name: str) -> JobObject | None:
        return self._jobs.objects().get(name)

    def _create(self, submission: Submission) -> None:
        manifest = job_manifest(submission, settings=self._settings, place=self._place, gpus=self._gpus)
        self._jobs.note(self._api.create(JOBS, manifest))

    def _patch(self, job: JobObject, changes: JsonObject) -> None:
        """Change this Job; one that is gone, or whose name another has by now, is left alone."""
        name, uid = job.metadata.name, job.metadata.uid
        try:
            self._jobs.note(self._api.patch(JOBS, name, merged(changes, {"metadata": {"uid": uid}})))
        except NotFoundError:
            return
        except ConfigurationError:  # "metadata.uid: field is immutable" is what the server says to another's UID
            if self._is_there(name, uid=uid):
                raise

    def _is_there(self, name: str, *, uid: str) -> bool:
        try:
            return bool(self._api.get(JOBS, name)["metadata"]["uid"] == uid)
        except NotFoundError:
            return False

    def _delete(self, job: JobObject) -> None:
        with suppress(ConflictError):  # it is gone, and another has its name
            self._api.delete(JOBS, job.metadata.name, uid=job.metadata.uid)

    def _discard(self, job: JobObject) -> None:
        """Let a Job go that waits and was made with other settings; the decision table then submits it again.

        It counts for nothing once it is marked, also for a controller that comes between the mark and the deletion.
        """
        logger.info("made with other settings, and made anew submission=%s", job.metadata.name)
        self._patch(job, recorded_patch(now=self._now(), ttl_s=0))
        # With the mark: once it is gone, it would be remembered as one that somebody deleted.
        self._known_jobs.with_those_of(self._jobs, without=self._forgotten)
        self._delete(job)

    def _adopt(self, submission: Submission) -> None:
        """The name is taken: by this submission, by what an earlier run left of it, or by somebody else."""
        try:
            found = self._api.get(JOBS, submission.name)
        except NotFoundError as err:
            raise TransientError(f"Job {submission.name!r} was deleted a moment ago; trying again") from err
        job = JobObject.read(found)
        match same_submission(job, submission, self._place):
            case "foreign":
                raise ConflictError(
                    f"Job {submission.name!r} in namespace {self._api.namespace!r} is not of this run and was left "
                    "alone; delete it if it is nobody's, or choose another --run, then retry"
                )
            case "recorded":
                self._delete(job)
            case "adopted" | "finished" | "terminating":
                self._jobs.note(found)

    def _with_tail(self, sighting: Sighting, seen: Observed) -> Observed:
        """With the last lines of a process that ended badly; asked for once."""
        if seen.live or seen.exit_code in _NO_TAIL:
            return seen
        if seen.name not in self._tails:
            body = self._log(sighting, limit_bytes=_TAIL_BYTES)
            self._tails[seen.name] = body.decode(errors="replace").replace("\x00", "")
        return replace(seen, log_tail=self._tails[seen.name])

    def _log(self, sighting: Sighting, *, limit_bytes: int) -> bytes:
        """The end of what the newest process wrote; nothing where it cannot be had.

        Its node may be gone for good (TransientError), its kubelet may have lost the container (ConfigurationError, as
        of a wrong request), the right may be missing: an end is recorded without its log rather than not at all.
        """
        pod = sighting.newest_begun
        if pod is None or pod.uid in sighting.gone:
            return b""
        try:
            return self._api.log(pod.metadata.name, container=CONTAINER, limit_bytes=limit_bytes)
        except (NotFoundError, PreflightError, ConfigurationError, TransientError) as err:
            logger.info("no log of pod %s: %s", pod.metadata.name, err)
            return b""


class _Memory(Generic[Seen]):
    """Objects of one kind by UID, those among them that are gone included."""

    def __init__(self) -> None:
        self._known: dict[str, Seen] = {}
        self.gone: frozenset[str] = frozenset()

    def with_those_of(self, mirror: Mirror[Seen], *, without: AbstractSet[str]) -> Collection[Seen]:
        """Everything known, after a look at what is here and what has gone since the last look."""
        present = {found.metadata.uid: found for found in mirror.objects().values()}
        departed = {found.metadata.uid: found for found in mirror.departed()}
        self._known |= present | departed
        self.keep(self._known.keys() - without)
        self.gone = frozenset(self._known.keys() - present.keys())
        return self._known.values()

    def keep(self, uids: AbstractSet[str]) -> None:
        """Forget all others."""
        self._known = {uid: found for uid, found in self._known.items() if uid in uids}


def _uids(sighting: Sighting) -> frozenset[str]:
    job = frozenset[str]() if sighting.job is None else frozenset({sighting.job.metadata.uid})
    return job | {pod.uid for pod in sighting.pods}


_: type[Backend] = KubeBackend
