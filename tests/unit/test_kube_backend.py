"""Submissions as Jobs, where a server answers as no healthy cluster can be made to."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, cast

import pytest
from fake_sweep import NOW
from kube_objects import JOB_UID, NAME, PLACE, condition, job, pod, running, scheduled, terminated
from kube_settings import PLAIN
from submissions import submission

from controller.backend import Observed
from controller.kube.api import KubeApi, Listing, Object, QuotaError, Resource
from controller.kube.backend import KubeBackend
from controller.kube.mirror import Mirror
from controller.kube.objects import JobObject, PodObject
from controller.kube.rights import JOBS
from controller.kube.run_object import RunObject
from job.contract.errors import ConfigurationError, ConflictError, NotFoundError, SweepError, TransientError

FAILED = condition("Failed", reason="PodFailurePolicy", message="it failed")
QUOTA = "exceeded quota: few, requested: count/jobs.batch=1, used: count/jobs.batch=2, limited: count/jobs.batch=2"


class Server(KubeApi):
    """Holds Jobs by name, and refuses what it is told to refuse."""

    def __init__(self) -> None:
        self.namespace = PLACE.namespace
        self.jobs: dict[str, Object] = {}
        self.creates = 0
        self.on_create: SweepError | None = None
        self.on_log: SweepError | None = None

    def get(self, resource: Resource, name: str) -> Object:
        if resource != JOBS:
            return {"metadata": {"name": name, "uid": PLACE.owner.uid}}
        if name not in self.jobs:
            raise NotFoundError(name)
        return self.jobs[name]

    def list(self, resource: Resource, *, labels: str = "", fields: str = "") -> Listing:
        return Listing((), "1")

    def create(self, resource: Resource, body: Object, *, dry_run: bool = False) -> Object:
        if resource != JOBS:
            raise ConflictError("the run's ConfigMap is there")
        self.creates += 1
        if self.on_create is not None:
            raise self.on_create
        name = body["metadata"]["name"]
        if name in self.jobs:
            raise ConflictError(name)
        self.jobs[name] = job() | {"metadata": job()["metadata"] | {"name": name}}
        return self.jobs[name]

    def patch(self, resource: Resource, name: str, changes: Object) -> Object:
        """As a real one: a UID in a patch has to be the object's."""
        found = self.get(resource, name)
        uid = changes["metadata"].get("uid", found["metadata"]["uid"])
        if uid != found["metadata"]["uid"]:
            raise ConfigurationError(f'Job.batch "{name}" is invalid: metadata.uid: Invalid value: field is immutable')
        found["metadata"].setdefault("annotations", {}).update(changes["metadata"].get("annotations", {}))
        return found

    def log(self, pod: str, *, container: str, limit_bytes: int) -> bytes:
        if self.on_log is not None:
            raise self.on_log
        return b"the end\n"


class Seen:
    """In the place of a mirror: what a test says that was seen."""

    def __init__(self, *found: JobObject | PodObject) -> None:
        self.found: dict[str, Any] = {one.metadata.name: one for one in found}
        self.gone: tuple[Any, ...] = ()

    def objects(self) -> dict[str, Any]:
        return dict(self.found)

    def departed(self) -> tuple[Any, ...]:
        found, self.gone = self.gone, ()
        return found

    def note(self, written: Object) -> None:
        read = JobObject.read(written)
        self.found[read.metadata.name] = read


class Place:
    """A backend with its server, and the time."""

    def __init__(self, *jobs: Object, pods: tuple[Object, ...] = ()) -> None:
        self.server = Server()
        self.server.jobs = {one["metadata"]["name"]: one for one in jobs}
        self.jobs = Seen(*(JobObject.read(one) for one in jobs))
        self.pods = Seen(*(PodObject.read(one) for one in pods))
        self.now = NOW
        self.backend = KubeBackend(
            self.server,
            jobs=cast("Mirror[JobObject]", self.jobs),
            pods=cast("Mirror[PodObject]", self.pods),
            settings=PLAIN,
            place=PLACE,
            run=RunObject(self.server, PLACE.owner, labels={}, shown={}),
            gpus=1,
            now=lambda: self.now,
        )

    def one(self) -> Observed:
        (found,) = self.backend.observe()
        return found


@pytest.mark.parametrize(
    "refusal",
    [
        ConfigurationError('container "trial" in pod "x" is terminated'),  # of one that the kubelet lost sight of
        TransientError("dial tcp 10.0.0.7:10250: connect: connection refused"),  # its node is gone
        NotFoundError("the pod is gone"),
    ],
)
def test_a_log_that_cannot_be_read_holds_nobody_up(refusal: SweepError) -> None:
    lost = terminated(137, "ContainerStatusUnknown", message="could not be located", began=None, ended=None)
    place = Place(job(FAILED), pods=(pod(scheduled(), phase="Failed", state=lost),))
    place.server.on_log = refusal
    assert place.one().cause == "lost"
    assert place.backend.logs(NAME, limit_bytes=100) is None


def test_the_last_lines_that_cannot_be_read_are_left_out() -> None:
    place = Place(job(FAILED), pods=(pod(scheduled(), phase="Failed", state=terminated(1)),))
    place.server.on_log = ConfigurationError("not available")
    assert place.one().exit_code == 1
    assert place.one().log_tail == ""


def test_a_pod_that_began_and_went_between_two_looks_is_a_disruption_or_an_end() -> None:
    place = Place(job(), pods=(pod(scheduled()),))
    assert place.one().disruptions == 0
    place.pods.found = {}
    place.pods.gone = (PodObject.read(pod(scheduled(), phase="Failed", state=terminated(85))),)
    seen = place.one()
    assert (seen.state, seen.disruptions, place.one().disruptions) == ("waiting", 1, 1)

    place = Place(job(), pods=(pod(scheduled()),))
    assert place.one().attempt is None
    place.jobs.gone = tuple(place.jobs.found.values())
    place.jobs.found, place.pods.found = {}, {}
    place.pods.gone = (PodObject.read(pod(scheduled(), phase="Failed", state=terminated(85))),)
    seen = place.one()
    assert (seen.state, seen.cause, seen.attempt) == ("ended", "deleted", "pod-1")


def test_another_object_of_the_name_is_neither_stopped_nor_marked() -> None:
    place = Place(job(), pods=(pod(scheduled(), phase="Running", state=running()),))
    stranger = job(uid="somebody-else")
    stranger["metadata"]["annotations"] = {}
    place.server.jobs[NAME] = stranger
    place.backend.stop(NAME)
    assert stranger["metadata"]["annotations"] == {}

    place = Place(job(FAILED), pods=(pod(scheduled(), phase="Failed", state=terminated(1)),))
    place.server.jobs[NAME] = stranger
    place.backend.forget(NAME)
    assert stranger["metadata"]["annotations"] == {}


def test_a_patch_that_the_server_does_not_take_of_the_right_object_is_an_error() -> None:
    place = Place(job())
    place.server.patch = refusing(ConfigurationError("no such field"))  # type: ignore[method-assign]  # as a server of another age
    with pytest.raises(ConfigurationError):
        place.backend.stop(NAME)
    assert place.server.jobs[NAME]["metadata"]["uid"] == JOB_UID


def refusing(error: SweepError) -> Any:
    def refuse(*_: object, **__: object) -> Object:
        raise error

    return refuse


def test_a_job_that_a_quota_on_jobs_refuses_waits_with_its_words_and_is_made_when_there_is_room() -> None:
    place = Place()
    place.server.on_create = QuotaError(QUOTA)
    asked = submission()
    place.backend.submit(asked)
    seen = place.one()
    assert (seen.name, seen.state, seen.wait_reason) == (asked.name, "waiting", "quota")
    assert "exceeded quota: few" in seen.text
    assert seen.submitted_at == NOW
    place.now += timedelta(seconds=1)
    assert place.one().live
    assert place.server.creates == 1, "asked again too soon"
    place.now += timedelta(seconds=60)
    assert place.one().wait_reason == "quota"
    assert place.one().submitted_at == NOW
    assert place.server.creates == 2
    place.server.on_create = None
    place.now += timedelta(seconds=60)
    assert (place.one().wait_reason, place.server.creates) == ("queued", 3)
    assert list(place.server.jobs) == [asked.name]


def test_a_refused_job_that_is_stopped_has_ended_and_is_never_made() -> None:
    place = Place()
    place.server.on_create = QuotaError(QUOTA)
    place.backend.submit(submission())
    place.backend.stop(submission().name)
    place.server.on_create = None
    place.now += timedelta(seconds=60)
    seen = place.one()
    assert (seen.state, seen.cause, seen.stopping) == ("ended", "deleted", True)
    place.backend.forget(seen.name)
    assert place.backend.observe() == ()
    assert place.server.jobs == {}


def test_a_name_that_was_taken_while_a_quota_refused_it_is_looked_at_like_any_other() -> None:
    place = Place()
    place.server.on_create = QuotaError(QUOTA)
    place.backend.submit(submission())
    place.server.on_create = ConflictError("it is there")
    place.now += timedelta(seconds=60)
    assert place.backend.observe() == ()
    stranger = job() | {"metadata": {"name": submission().name, "uid": "somebody-else"}}
    place.server.jobs[submission().name] = stranger
    with pytest.raises(ConflictError, match="left alone"):
        place.backend.submit(submission())
