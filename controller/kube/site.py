"""A namespace of a cluster as the place of a run."""

from __future__ import annotations

import logging
import os
import secrets
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Literal, NamedTuple, NoReturn

from controller.backend import Submission
from controller.kube.api import KubeApi
from controller.kube.backend import KubeBackend
from controller.kube.connection import connect
from controller.kube.identity import Owner, RunPlace, selector
from controller.kube.lease import Lease
from controller.kube.manifest import gpus_of, job_manifest
from controller.kube.mirror import Mirror
from controller.kube.objects import JobObject, PodObject
from controller.kube.pacing import TokenBucket
from controller.kube.preflight import check_cluster, check_rights
from controller.kube.rights import JOBS, PODS
from controller.kube.run_object import RunObject, ensure_run_object, owner_reference
from controller.kube.run_status import counted, run_status
from controller.kube.settings import ApiLimits, ClusterSettings
from controller.kube.story import Story
from controller.leading import leading_so_far
from controller.names import Naming
from controller.reconcile import Conclusion, Watcher
from controller.site import Site
from controller.spec.model import Objective
from controller.states import Situation, TrialStatus
from job.contract.checks import Check, refused, warnings
from job.contract.errors import ExitCode

__all__ = ["ClusterAddress", "KubeSite", "cluster_checks", "open_api"]

logger = logging.getLogger(__name__)
_FOLLOWER_PAUSE_S = 5.0
_HASTY_S = 5.0  # a Lease has to be renewed several times in 20 s, and nobody should wait for the story to be told
_NOBODY = Owner("lorasweep-preflight", "00000000-0000-0000-0000-000000000000")  # of a Job that is never made


class ClusterAddress(NamedTuple):
    """Which cluster and namespace, as on the command line."""

    context: str | None = None
    namespace: str | None = None
    release: str | None = None
    """The ConfigMap of a Helm release, with which the run's objects go."""


def open_api(
    address: ClusterAddress,
    limits: ApiLimits,
    *,
    count: Callable[[str, str, int], None] = lambda verb, resource, status: None,
) -> KubeApi:
    """Requests to the cluster, within `limits`; `count` hears of each as in KubeApi.

    Raises PreflightError without usable credentials.
    """
    connection = connect(context=address.context, namespace=address.namespace)
    return KubeApi(
        connection,
        reconnect=lambda: connect(context=address.context, namespace=address.namespace),
        writes=TokenBucket(per_s=limits.writes_per_s, burst=limits.burst, monotonic=time.monotonic, sleep=time.sleep),
        sleep=time.sleep,
        count=count,
    )


class KubeSite:
    """Jobs in one namespace, under a Lease."""

    kind: Literal["kubernetes"] = "kubernetes"
    canary = True

    def __init__(
        self,
        naming: Naming,
        *,
        address: ClusterAddress,
        settings: ClusterSettings,
        now: Callable[[], datetime],
        sleep: Callable[[float], None],
        say: Callable[[str], None],
        count: Callable[[str, str, int], None],
    ) -> None:
        """`sleep` may be cut short by a signal; `say` is told why nothing happens, `count` of every API request."""
        self._naming = naming
        self._address = address
        self._settings = settings
        self._now = now
        self._sleep = sleep
        self._say = say
        self._count = count
        self._api: KubeApi | None = None
        self._run: RunObject | None = None
        self._lease: Lease | None = None
        self._followed = ""

    @contextmanager
    def led(self) -> Iterator[None]:
        api = self._api = open_api(self._address, self._settings.api, count=self._count)
        if (error := refused(check_rights(api))) is not None:
            raise error
        hasty = api.within(_HASTY_S)
        run = self._run = ensure_run_object(hasty, self._naming, release=self._address.release)
        lease = self._lease = Lease(
            hasty,
            run.owner.name,
            identity=f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}",
            owner=owner_reference(run.owner),
            labels=run.labels,
            now=self._now,
            monotonic=time.monotonic,
        )
        with lease.held(wait=self._follow, lost=_end):
            run.check()  # it may have gone with another release's, while this one waited for the Lease
            yield

    @contextmanager
    def opened(self, sample: Submission, *, gpus: int) -> Iterator[KubeBackend]:
        api, run, lease = self._ready()
        place = RunPlace(self._naming, api.namespace, run.owner)
        checks = list(_sample_checks(api, place, settings=self._settings, sample=sample, gpus=gpus, now=self._now))
        for warning in warnings(checks):
            self._say(f"warning: {warning}")
        if (error := refused(checks)) is not None:
            raise error
        labels = selector(self._naming)
        jobs = Mirror(api, JOBS, JobObject.read, labels=labels, monotonic=time.monotonic)
        pods = Mirror(api, PODS, PodObject.read, labels=labels, monotonic=time.monotonic)
        jobs.start()
        pods.start()
        try:
            yield KubeBackend(
                api,
                jobs=jobs,
                pods=pods,
                settings=self._settings,
                place=place,
                run=run,
                gpus=gpus,
                now=self._now,
                confirm=lease.confirm,
            )
        finally:
            jobs.stop()
            pods.stop()

    def watchers(self, objective: Objective) -> tuple[Watcher, ...]:
        run = self._ready()[1]
        return (_RunStory(run, run_uri=self._naming.run_uri, objective=objective, now=self._now),)

    def _ready(self) -> tuple[KubeApi, RunObject, Lease]:
        if self._api is None or self._run is None or self._lease is None:
            raise RuntimeError("the site is not led")
        return self._api, self._run, self._lease

    def _follow(self, why: str) -> None:
        if why != self._followed:
            self._followed = why
            self._say(why)
        self._sleep(_FOLLOWER_PAUSE_S)


def cluster_checks(
    naming: Naming,
    *,
    address: ClusterAddress,
    settings: ClusterSettings,
    sample: Submission,
    gpus: int,
    now: Callable[[], datetime],
) -> Iterator[Check]:
    """Whether the cluster takes `sample`, the largest submission of a run, from this account; nothing is made there.

    Raises PreflightError without usable credentials, TransientError when the API server does not answer.
    """
    api = open_api(address, settings.api)
    rights = list(check_rights(api))
    yield from rights
    if refused(rights) is None:
        place = RunPlace(naming, api.namespace, _NOBODY)
        yield from _sample_checks(api, place, settings=settings, sample=sample, gpus=gpus, now=now)


def _sample_checks(
    api: KubeApi,
    place: RunPlace,
    *,
    settings: ClusterSettings,
    sample: Submission,
    gpus: int,
    now: Callable[[], datetime],
) -> Iterator[Check]:
    largest = job_manifest(sample, settings=settings, place=place, gpus=gpus)
    asked = gpus_of(sample.request, gpus=gpus) if settings.gpu_resource else 0
    yield from check_cluster(api, largest=largest, gpus=asked, gpu_resource=settings.gpu_resource or "", now=now)


class _RunStory(Watcher):
    """The run's ConfigMap tells how it stands, and events about it what happened."""

    def __init__(self, run: RunObject, *, run_uri: str, objective: Objective, now: Callable[[], datetime]) -> None:
        self._run = run
        self._run_uri = run_uri
        self._objective = objective
        self._now = now
        self._story = Story(run_uri)
        self._said: dict[str, str] = {}

    def update(self, situation: Situation, statuses: Mapping[str, TrialStatus]) -> None:
        if self._run.is_due(situation.now) or all(status.final for status in statuses.values()):
            leading = leading_so_far(situation, self._objective)
            self._said = run_status(situation, statuses, run=self._run_uri, leading=leading)
            self._run.show(self._said, at=situation.now)
        for happening in self._story.news(situation, statuses):
            self._run.tell(happening, at=situation.now)

    def concluded(self, conclusion: Conclusion) -> None:
        now = self._now()
        leading = {"leading": conclusion.leading} if conclusion.leading else {}
        found = {"trials": counted(conclusion.statuses), "report": conclusion.report, **leading}
        self._run.show(self._said | found, at=now)
        self._run.tell(self._story.end(conclusion), at=now)


def _end(why: str) -> NoReturn:
    """Another controller leads, or may: whatever this one was about to do, it must not. Its restart converges."""
    logger.error("%s; this controller ends, another goes on", why)
    logging.shutdown()
    sys.stderr.flush()
    os._exit(ExitCode.STOPPED)


_: type[Site] = KubeSite
