"""What is written into the run's ConfigMap and about it, and how often."""

from __future__ import annotations

from datetime import timedelta

import pytest
from fake_sweep import NOW

from controller.kube.api import KubeApi, Object, Resource
from controller.kube.identity import Owner
from controller.kube.run_object import RunObject
from controller.kube.story import Happening
from job.contract.errors import (
    ConfigurationError,
    ConflictError,
    NotFoundError,
    PreflightError,
    SweepError,
    TransientError,
)


class Server(KubeApi):
    """Takes every write, unless it is told to refuse."""

    def __init__(self) -> None:
        self.namespace = "sweeps"
        self.refusal: SweepError | None = None
        self.writes: list[Object] = []

    def create(self, resource: Resource, body: Object, *, dry_run: bool = False) -> Object:
        return self._written(body)

    def patch(self, resource: Resource, name: str, changes: Object) -> Object:
        return self._written(changes)

    def _written(self, body: Object) -> Object:
        self.writes.append(body)
        if self.refusal is not None:
            raise self.refusal
        return body


def run_object(server: Server, **shown: str) -> RunObject:
    return RunObject(server, Owner("demo-run-1", "u1"), labels={}, shown=shown)


def test_a_status_that_says_the_same_is_not_written_again() -> None:
    server = Server()
    run = run_object(server)
    run.show({"state": "running"}, at=NOW)
    run.show({"state": "running"}, at=NOW + timedelta(hours=1))
    assert [write["data"] for write in server.writes] == [{"state": "running", "updated": "2026-01-02T03:04:05+00:00"}]
    assert not run.is_due(NOW + timedelta(seconds=9))
    assert run.is_due(NOW + timedelta(seconds=10))


@pytest.mark.parametrize(
    "refusal",
    [
        ConfigurationError('ConfigMap "demo-run-1" is invalid: data: Forbidden: field is immutable when set'),
        ConflictError("the object has been modified"),
        NotFoundError("it is gone"),
        PreflightError("may not patch"),
        TransientError("no answer"),
    ],
)
def test_a_status_that_cannot_be_written_stops_nothing(refusal: SweepError) -> None:
    server = Server()
    server.refusal = refusal
    run = run_object(server)
    run.show({"state": "running"}, at=NOW)
    server.refusal = None
    run.show({"state": "running"}, at=NOW + timedelta(hours=1))
    assert len(server.writes) == 2


def test_a_wait_that_an_earlier_controller_wrote_is_taken_away_when_it_is_over() -> None:
    server = Server()
    run = run_object(
        server, **{"run": "s3://b/demo/main", "state": "waiting", "waiting.no_gpu": "A", "updated": "then"}
    )
    run.show({"state": "running"}, at=NOW)
    assert server.writes[0]["data"]["waiting.no_gpu"] is None
    assert set(server.writes[0]["data"]) == {"state", "updated", "waiting.no_gpu"}


def test_nobody_waits_for_a_server_that_has_just_left_a_word_without_an_answer() -> None:
    server = Server()
    run = run_object(server)
    server.refusal = TransientError("read timed out")
    run.show({"state": "running"}, at=NOW)
    assert not run.is_due(NOW + timedelta(seconds=9))
    run.tell(Happening("Began", "so it goes"), at=NOW + timedelta(seconds=9))
    assert len(server.writes) == 1
    assert run.is_due(NOW + timedelta(seconds=10))
    run.tell(Happening("Began", "so it goes"), at=NOW + timedelta(seconds=10))
    run.tell(Happening("Began", "and on"), at=NOW + timedelta(seconds=11))
    assert len(server.writes) == 2


def test_a_status_that_did_not_arrive_is_written_with_the_next_look() -> None:
    server = Server()
    run = run_object(server)
    server.refusal = TransientError("no route")
    run.show({"state": "running"}, at=NOW)
    server.refusal = None
    run.show({"state": "running"}, at=NOW)
    assert len(server.writes) == 2
    assert not run.is_due(NOW)


@pytest.mark.parametrize(
    ("refusal", "asked"), [(PreflightError("may not create events"), 1), (TransientError("429"), 3)]
)
def test_events_that_may_not_be_written_are_not_asked_for_again(refusal: SweepError, asked: int) -> None:
    server = Server()
    run = run_object(server)
    server.refusal = refusal
    for number in range(3):
        run.tell(Happening("Began", "3 trials"), at=NOW + number * timedelta(seconds=10))
    assert len(server.writes) == asked
