"""What preflight makes of answers that a cluster of the tests does not give."""

from __future__ import annotations

from fake_sweep import NOW
from kube_objects import PLACE
from kube_settings import PLAIN
from submissions import submission

from controller.kube.api import KubeApi, Listing, Object, QuotaError, Resource
from controller.kube.manifest import job_manifest
from controller.kube.preflight import check_cluster
from controller.kube.rights import JOBS
from job.contract.checks import Check, refused
from job.contract.errors import NotFoundError

LARGEST = job_manifest(submission(), settings=PLAIN, place=PLACE, gpus=1)


class Server(KubeApi):
    """Takes the Job with what `changes` takes away, or refuses it."""

    def __init__(self, *, without: str = "", full: bool = False) -> None:
        self.namespace = PLACE.namespace
        self._without = without
        self._full = full

    def server_date(self) -> str | None:
        return None

    def get(self, resource: Resource, name: str) -> Object:
        raise NotFoundError(name)

    def list(self, resource: Resource, *, labels: str = "", fields: str = "") -> Listing:
        return Listing((), "1")

    def create(self, resource: Resource, body: Object, *, dry_run: bool = False) -> Object:
        assert (resource, dry_run) == (JOBS, True)
        if self._full:
            raise QuotaError("exceeded quota: few, used: count/jobs.batch=2")
        return {**body, "spec": {key: value for key, value in body["spec"].items() if key != self._without}}


def checks(server: Server) -> dict[str, Check]:
    found = check_cluster(server, largest=LARGEST, gpus=1, gpu_resource="nvidia.com/gpu", now=lambda: NOW)
    return {check.name: check for check in found}


def test_a_server_too_old_for_what_the_design_rests_on_is_refused() -> None:
    for field in ("podFailurePolicy", "podReplacementPolicy", "backoffLimit"):
        said = checks(Server(without=field))["dry run of the largest trial"]
        assert said.outcome == "failed"
        assert field in said.text
    assert checks(Server())["dry run of the largest trial"].outcome == "ok"


def test_a_quota_on_jobs_that_is_full_today_is_a_warning_as_trials_wait_for_it() -> None:
    found = checks(Server(full=True))
    assert refused(found.values()) is None
    assert found["dry run of the largest trial"].outcome == "warning"
    assert "finished_ttl_s" in found["dry run of the largest trial"].text
