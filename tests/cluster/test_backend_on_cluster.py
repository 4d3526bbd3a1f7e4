"""Jobs of a real cluster keep the contract of a Backend; and what a cluster does that a machine does not."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from backend_contract import BackendContract, Place
from submissions import one, over, runs, submission

from cluster.sweep import ClusterSweep
from cluster.waiting import wait_for
from controller.kube.backend import KubeBackend
from controller.kube.settings import ClusterSettings
from controller.kube.site import ClusterAddress, KubeSite
from controller.names import Naming

POD_DEADLINE_S = 120.0  # a pod takes 2 to 5 s to its first line on an idle machine
WORDS = "words"


class TestKubeBackend(BackendContract):
    """As KubeSite opens it: rights and preflight, Lease and ConfigMap, both mirrors."""

    @pytest.fixture
    def place(self, sweep: ClusterSweep, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
        monkeypatch.setenv("KUBECONFIG", str(sweep.kubeconfig))
        kubectl = sweep.namespace.kubectl
        kubectl("create", "configmap", WORDS)
        with ExitStack() as opened:

            def restart() -> KubeBackend:
                opened.close()
                return opened.enter_context(_backend(sweep))

            def behave(word: str) -> None:
                # The first process of a pod cannot kill itself.
                spoken = json.dumps({letter: ["137" if word == "kill" else word] for letter in "ABC"})
                kubectl("patch", "configmap", WORDS, f"--patch={json.dumps({'data': {'words': spoken}})}")

            yield Place(restart(), behave, restart, deadline_s=POD_DEADLINE_S, killed="deleted")

    def test_another_controller_sees_what_runs_and_what_it_is_called(self, place: Place) -> None:
        place.behave("slow")
        place.backend.submit(submission())
        first = place.until(runs)
        other = place.restart()
        other.submit(submission())
        assert [(seen.name, seen.attempt) for seen in other.observe()] == [(first.name, first.attempt)]

    def test_a_pod_that_ends_with_85_is_replaced_and_counts_as_a_disruption(self, place: Place) -> None:
        place.behave("85")
        place.backend.submit(submission())
        place.until(lambda seen: seen.disruptions > 0)
        place.behave("slow")
        seen = place.until(lambda seen: seen.state == "running" and seen.disruptions > 0)
        assert seen.attempt
        assert seen.exit_code is None

    def test_what_is_forgotten_stays_for_people_until_its_time_is_over(self, place: Place, sweep: ClusterSweep) -> None:
        place.behave("ok")
        place.backend.submit(submission())
        place.until(over)
        place.backend.forget(submission().name)
        assert list(place.backend.observe()) == []
        (job,) = sweep.jobs()
        assert job["spec"]["ttlSecondsAfterFinished"] == _settings(sweep).finished_ttl_s
        assert job["metadata"]["annotations"]["lorasweep.io/recorded"]

    def test_a_stopped_submission_that_waits_for_a_place_is_over_and_then_forgotten(
        self, place: Place, sweep: ClusterSweep
    ) -> None:
        place.behave("slow")
        place.backend.submit(submission())
        sweep.namespace.kubectl("patch", "job", submission().name, '--patch={"spec": {"suspend": true}}')
        place.until(lambda seen: seen.wait_reason == "suspended")
        place.backend.stop(submission().name)
        place.until(over)
        place.backend.forget(submission().name)
        wait_for("the Job to go", lambda: not sweep.jobs())
        assert one(place.backend, submission().name) is None


@contextmanager
def _backend(sweep: ClusterSweep) -> Iterator[KubeBackend]:
    """The sweep's, as a controller that has just begun to lead has it."""
    site = KubeSite(
        Naming(f"{sweep.bucket.uri}/sweeps", "demo", "main"),
        address=ClusterAddress(namespace=sweep.namespace.name),
        settings=_settings(sweep),
        now=lambda: datetime.now(UTC),
        sleep=time.sleep,
        say=lambda text: None,
        count=lambda verb, resource, status: None,
    )
    sample = replace(submission(), name="demo-0123abcd0-0")
    with site.led(), site.opened(sample, gpus=0) as backend:
        yield backend


def _settings(sweep: ClusterSweep) -> ClusterSettings:
    """Pods do what a ConfigMap says when they start."""
    words = {"configMapKeyRef": {"name": WORDS, "key": "words"}}
    number = {"fieldRef": {"fieldPath": "metadata.annotations['lorasweep.io/number']"}}
    sources = {"FAKE_JOB": words, "FAKE_JOB_NUMBER": number}
    trial = {"name": "trial", "env": [{"name": name, "valueFrom": source} for name, source in sources.items()]}
    template = {"spec": {"containers": [trial]}}
    return ClusterSettings.model_validate({**sweep.settings, "pod_template": template})
