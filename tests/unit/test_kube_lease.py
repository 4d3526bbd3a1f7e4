"""A Lease under an API server that hangs, refuses or forgets."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest

from controller.backend import PlaceEndingError
from controller.kube.api import KubeApi, Object, Resource
from controller.kube.lease import Lease
from job.contract.errors import ConflictError, NotFoundError, PreflightError, SweepError, TransientError

PATIENCE_S = 10.0


@dataclass
class Server(KubeApi):
    """Holds one Lease."""

    namespace: str = "sweeps"
    held: Object | None = None
    version: int = 0
    on_replace: Callable[[], None] = lambda: None
    lock: threading.Lock = field(default_factory=threading.Lock)

    def get(self, resource: Resource, name: str) -> Object:
        if self.held is None:
            raise NotFoundError(name)
        return self.held

    def create(self, resource: Resource, body: Object, *, dry_run: bool = False) -> Object:
        with self.lock:
            if self.held is not None:
                raise ConflictError("it is there")
            return self._kept(body)

    def replace(self, resource: Resource, body: Object) -> Object:
        self.on_replace()
        with self.lock:
            if self.held is None:
                raise NotFoundError("it is gone")
            if body["metadata"].get("resourceVersion") != self.held["metadata"]["resourceVersion"]:
                raise ConflictError("it has changed")
            return self._kept(body)

    def _kept(self, body: Object) -> Object:
        self.version += 1
        self.held = body | {"metadata": body["metadata"] | {"resourceVersion": str(self.version)}}
        return self.held


class Lost:
    """What was said at the loss, which in a controller is its last word."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.heard = threading.Event()

    def __call__(self, why: str) -> None:
        self.said.append(why)
        self.heard.set()


def lease(server: Server, identity: str = "first", *, duration_s: float = 1.5) -> Lease:
    return Lease(
        server,
        "demo-run-0",
        identity=identity,
        owner=None,
        labels={},
        now=lambda: datetime.now(UTC),
        monotonic=time.monotonic,
        duration_s=duration_s,
        every_s=0.05,
    )


def never(why: str) -> None:
    raise AssertionError(why)


def test_a_holder_whose_renewal_hangs_does_nothing_before_another_may_lead_and_goes_on_when_none_does() -> None:
    server, lost, over = Server(), Lost(), threading.Event()
    held = lease(server)
    with held.held(wait=never, lost=lost):
        held.confirm()
        server.on_replace = lambda: hang(over)
        began = time.monotonic()
        until_unsure(held)
        assert time.monotonic() - began < 1.5, "another controller may lead by now"
        over.set()
        until_sure(held)
    assert lost.said == []


def test_a_holder_that_is_answered_with_trouble_for_long_does_nothing_and_then_goes_on() -> None:
    def refuse() -> None:
        raise TransientError("connection refused")

    server, lost = Server(), Lost()
    held = lease(server)
    with held.held(wait=never, lost=lost):
        server.on_replace = refuse
        until_unsure(held)
        with pytest.raises(TransientError, match="could not be renewed: connection refused"):
            held.confirm()
        server.on_replace = lambda: None
        until_sure(held)
    assert lost.said == []


@pytest.mark.parametrize("answer", [PreflightError("may not update leases"), PlaceEndingError("the namespace goes")])
def test_what_will_not_pass_by_itself_is_said_as_it_was_answered(answer: SweepError) -> None:
    def refuse() -> None:
        if not in_main_thread():
            raise answer

    server = Server()
    held = lease(server)
    with held.held(wait=never, lost=never):
        server.on_replace = refuse
        with pytest.raises(type(answer), match=str(answer)):
            until_unsure(held)


def test_a_holder_that_was_away_for_too_long_is_told_who_leads() -> None:
    server, lost, over = Server(), Lost(), threading.Event()
    first = lease(server)
    with first.held(wait=never, lost=lost):
        server.on_replace = lambda: hang(over)
        until_unsure(first)
        server.on_replace = lambda: None if in_main_thread() else hang(over)
        with lease(server, "second", duration_s=30).held(wait=lambda why: time.sleep(0.02), lost=never):
            over.set()
            assert lost.heard.wait(PATIENCE_S)
    assert lost.said == ["the Lease 'demo-run-0' was taken by another controller"]


def hang(over: threading.Event) -> None:
    over.wait(PATIENCE_S)


def in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def until_unsure(held: Lease) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        try:
            held.confirm()
        except TransientError as err:
            if isinstance(err, PlaceEndingError):
                raise
            assert "could not be renewed" in str(err)
            return
        time.sleep(0.005)
    raise AssertionError("it is still sure")


def until_sure(held: Lease) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        try:
            held.confirm()
        except TransientError:
            time.sleep(0.005)
        else:
            return
    raise AssertionError("it is still not sure")


def test_trouble_that_passes_in_time_is_no_loss() -> None:
    server, lost, renewed = Server(), Lost(), threading.Event()
    troubles = [TransientError("connection refused")] * 3

    def sometimes() -> None:
        if troubles:
            raise troubles.pop()
        renewed.set()

    with lease(server, duration_s=30).held(wait=never, lost=lost):
        server.on_replace = sometimes
        assert renewed.wait(PATIENCE_S)
    assert lost.said == []


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")  # it is what is tested
def test_a_bug_in_the_renewal_is_not_taken_for_silence() -> None:
    def broken() -> None:
        raise KeyError("a bug")

    server = Server()
    held = lease(server, duration_s=30)
    with held.held(wait=never, lost=never):
        held.confirm()
        server.on_replace = broken
        (thread,) = (one for one in threading.enumerate() if one.name == "lease")
        thread.join(PATIENCE_S)
        with pytest.raises(RuntimeError, match="nobody renews"):
            held.confirm()
        server.on_replace = lambda: None


def test_a_lease_that_somebody_deletes_is_taken_up_again() -> None:
    server, lost = Server(), Lost()
    with lease(server).held(wait=never, lost=lost):
        server.held = None
        deadline = time.monotonic() + PATIENCE_S
        while server.held is None:
            assert time.monotonic() < deadline
            time.sleep(0.01)
    assert lost.said == []


def test_who_lets_go_while_a_renewal_is_on_its_way_has_not_lost() -> None:
    server, lost, reached, go_on = Server(), Lost(), threading.Event(), threading.Event()

    def hold() -> None:
        if threading.current_thread().name == "lease":
            reached.set()
            go_on.wait(PATIENCE_S)

    with lease(server, duration_s=30).held(wait=never, lost=lost):
        server.on_replace = hold
        assert reached.wait(PATIENCE_S)
    assert server.held is not None
    assert server.held["spec"]["holderIdentity"] == ""
    go_on.set()
    for thread in threading.enumerate():
        if thread.name == "lease":
            thread.join(PATIENCE_S)
    assert lost.said == []


def test_who_waits_bears_a_server_that_does_not_answer_for_a_while() -> None:
    server = Server()
    waited: list[str] = []
    with lease(server, "first", duration_s=30).held(wait=never, lost=never):
        troubled = server.get

        def get(resource: Resource, name: str) -> Object:
            if len(waited) == 1:
                raise TransientError("connection refused")
            return troubled(resource, name)

        server.get = get  # type: ignore[method-assign]  # trouble for the one who waits alone

        class Enough(Exception):  # noqa: N818  (it is none)
            pass

        def wait(why: str) -> None:
            waited.append(why)
            if len(waited) == 3:
                raise Enough

        with pytest.raises(Enough), lease(server, "second", duration_s=30).held(wait=wait, lost=never):
            pass
    assert "another controller leads" in waited[0]
    assert "connection refused" in waited[1]
    assert "another controller leads" in waited[2]
