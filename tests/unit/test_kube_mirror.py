"""A mirror of one kind of objects, over a script of what the API server says."""

from __future__ import annotations

import queue
import time
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import cast

import pytest

from controller.kube.api import GoneError, KubeApi, Listing, Object, Resource
from controller.kube.mirror import Mirror
from controller.kube.objects import JobObject
from job.contract.errors import TransientError

JOBS = Resource("apis/batch/v1", "jobs")
_PATIENCE_S = 10.0

Event = tuple[str, Object] | Exception | None
"""A change, an error in the stream, or the stream's end."""


def made(name: str, version: int, *, uid: str = "", suspend: bool = False) -> Object:
    return {
        "metadata": {"name": name, "uid": uid or f"uid-{name}", "resourceVersion": str(version)},
        "spec": {"suspend": suspend},
    }


@dataclass
class ScriptedApi:
    """Lists and watches as a test says them, one by one; a watch waits for the next event."""

    listings: queue.Queue[Listing | Exception] = field(default_factory=queue.Queue)
    events: queue.Queue[Event] = field(default_factory=queue.Queue)
    watched_since: list[str] = field(default_factory=list)

    def pages(self, resource: Resource, *, labels: str) -> Iterator[Listing]:
        listing = self.listings.get()
        if isinstance(listing, Exception):
            raise listing
        yield listing

    def watch(self, resource: Resource, *, labels: str, since: str, for_s: float) -> Iterator[tuple[str, Object]]:
        self.watched_since.append(since)
        while (event := self.events.get()) is not None:
            if isinstance(event, Exception):
                raise event
            yield event


@pytest.fixture
def api() -> ScriptedApi:
    return ScriptedApi()


@pytest.fixture
def mirror(api: ScriptedApi) -> Iterator[Mirror[JobObject]]:
    following = Mirror(cast("KubeApi", api), JOBS, JobObject.read, labels="a=b", monotonic=time.monotonic)
    following.start()
    yield following
    following.stop()
    api.events.put(None)
    api.listings.put(Listing((), "0"))


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "it did not come to be"
        time.sleep(0.005)


def suspended(mirror: Mirror[JobObject]) -> dict[str, bool]:
    return {name: found.spec.suspend for name, found in mirror.objects().items()}


def test_objects_are_those_of_the_list_and_then_of_the_events(api: ScriptedApi, mirror: Mirror[JobObject]) -> None:
    api.listings.put(Listing((made("a", 1), made("b", 2)), "2"))
    assert suspended(mirror) == {"a": False, "b": False}
    api.events.put(("MODIFIED", made("a", 3, suspend=True)))
    api.events.put(("DELETED", made("b", 4)))
    api.events.put(("ADDED", made("c", 5)))
    eventually(lambda: suspended(mirror) == {"a": True, "c": False})


def test_what_has_gone_is_told_once_and_as_it_was_last(api: ScriptedApi, mirror: Mirror[JobObject]) -> None:
    api.listings.put(Listing((made("a", 1), made("b", 2)), "2"))
    assert suspended(mirror) == {"a": False, "b": False}
    assert mirror.departed() == ()
    api.events.put(("ADDED", made("brief", 3)))
    api.events.put(("DELETED", made("brief", 4, suspend=True)))
    api.events.put(("DELETED", made("a", 5, suspend=True)))
    eventually(lambda: suspended(mirror) == {"b": False})
    assert [(one.metadata.name, one.spec.suspend) for one in mirror.departed()] == [("brief", True), ("a", True)]
    assert mirror.departed() == ()


def test_what_goes_while_no_watch_runs_is_told_too(api: ScriptedApi, mirror: Mirror[JobObject]) -> None:
    api.listings.put(Listing((made("a", 1), made("b", 2)), "2"))
    assert suspended(mirror) == {"a": False, "b": False}
    api.listings.put(Listing((made("a", 9, uid="its-successor"),), "10"))
    api.events.put(TransientError("the stream broke"))
    eventually(lambda: api.watched_since == ["2", "10"])
    assert [one.metadata.uid for one in mirror.departed()] == ["uid-a", "uid-b"]


def test_a_watch_that_ends_goes_on_from_the_last_version_that_was_seen(
    api: ScriptedApi, mirror: Mirror[JobObject]
) -> None:
    api.listings.put(Listing((made("a", 1),), "7"))
    api.events.put(("MODIFIED", made("a", 9)))
    api.events.put(("BOOKMARK", {"metadata": {"resourceVersion": "12"}}))
    api.events.put(None)
    eventually(lambda: api.watched_since == ["7", "12"])


@pytest.mark.parametrize("error", [GoneError("410"), TransientError("the stream broke")])
def test_a_broken_watch_is_followed_by_a_fresh_list(
    api: ScriptedApi, mirror: Mirror[JobObject], error: Exception
) -> None:
    api.listings.put(Listing((made("a", 1),), "1"))
    assert suspended(mirror) == {"a": False}
    api.listings.put(Listing((made("b", 5),), "5"))
    api.events.put(error)
    eventually(lambda: not api.listings.qsize() and api.watched_since == ["1", "5"])
    assert suspended(mirror) == {"b": False}


def test_trouble_is_told_to_who_asks_until_a_list_succeeds(api: ScriptedApi, mirror: Mirror[JobObject]) -> None:
    api.listings.put(TransientError("no route to the API server"))
    with pytest.raises(TransientError, match="no route"):
        mirror.objects()
    api.listings.put(Listing((made("a", 1),), "1"))

    def answers() -> bool:
        try:
            return set(mirror.objects()) == {"a"}
        except TransientError:
            return False

    eventually(answers)


def test_what_we_wrote_is_seen_at_once_and_an_older_event_does_not_undo_it(
    api: ScriptedApi, mirror: Mirror[JobObject]
) -> None:
    api.listings.put(Listing((made("a", 1),), "1"))
    assert suspended(mirror) == {"a": False}
    mirror.note(made("a", 8, suspend=True))
    api.events.put(("MODIFIED", made("a", 5)))
    api.events.put(("ADDED", made("mark", 9)))
    eventually(lambda: "mark" in mirror.objects())
    assert suspended(mirror)["a"]


def test_the_end_of_an_earlier_object_does_not_remove_its_successor_of_the_same_name(
    api: ScriptedApi, mirror: Mirror[JobObject]
) -> None:
    api.listings.put(Listing((made("a", 1, uid="first"),), "1"))
    assert suspended(mirror) == {"a": False}
    mirror.note(made("a", 8, uid="second", suspend=True))
    api.events.put(("DELETED", made("a", 7, uid="first")))
    api.events.put(("ADDED", made("mark", 9)))
    eventually(lambda: "mark" in mirror.objects())
    assert suspended(mirror)["a"]


def test_an_object_that_is_gone_before_its_creation_is_answered_stays_gone(
    api: ScriptedApi, mirror: Mirror[JobObject]
) -> None:
    api.listings.put(Listing((), "1"))
    api.events.put(("ADDED", made("a", 2, uid="first")))
    api.events.put(("DELETED", made("a", 3, uid="first")))
    api.events.put(("ADDED", made("mark", 4)))
    eventually(lambda: "mark" in mirror.objects())
    mirror.note(made("a", 2, uid="first"))
    assert set(mirror.objects()) == {"mark"}
    mirror.note(made("a", 5, uid="second"))
    assert set(mirror.objects()) == {"a", "mark"}


def test_a_list_that_was_read_before_our_write_does_not_undo_it(api: ScriptedApi, mirror: Mirror[JobObject]) -> None:
    api.listings.put(Listing((made("a", 1), made("b", 2)), "2"))
    assert suspended(mirror) == {"a": False, "b": False}
    mirror.note(made("a", 12, suspend=True))
    mirror.note(made("new", 11))
    api.listings.put(Listing((made("a", 1), made("b", 2)), "10"))
    api.events.put(TransientError("the stream broke"))
    eventually(lambda: api.watched_since == ["2", "10"])
    assert suspended(mirror) == {"a": True, "b": False, "new": False}
    api.listings.put(Listing((made("b", 2),), "13"))
    api.events.put(TransientError("the stream broke again"))
    eventually(lambda: api.watched_since == ["2", "10", "13"])
    assert suspended(mirror) == {"b": False}


def test_a_server_that_ends_every_watch_at_once_is_not_asked_in_a_circle(
    api: ScriptedApi, mirror: Mirror[JobObject]
) -> None:
    for _ in range(1000):
        api.events.put(None)
    api.listings.put(Listing((made("a", 1),), "1"))
    assert suspended(mirror) == {"a": False}
    time.sleep(0.2)  # long enough for thousands
    assert len(api.watched_since) < 5


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")  # it is what is tested
def test_a_mirror_that_ended_by_a_bug_does_not_pass_off_what_it_last_saw_as_the_present(api: ScriptedApi) -> None:
    def read(found: object) -> JobObject:
        if len(api.watched_since):
            raise KeyError("a bug")
        return JobObject.read(found)

    following = Mirror(cast("KubeApi", api), JOBS, read, labels="a=b", monotonic=time.monotonic)
    following.start()
    api.listings.put(Listing((made("a", 1),), "1"))
    assert set(following.objects()) == {"a"}
    api.events.put(("ADDED", made("b", 2)))

    def is_told() -> bool:
        try:
            following.objects()
        except RuntimeError:
            return True
        return False

    eventually(is_told)


def test_of_a_long_list_no_more_than_two_pages_are_held_at_once() -> None:
    class Raw(dict[str, object]):
        """An object that tells when it is gone."""

    held: list[weakref.ref[Raw]] = []
    most = 0

    class Long(ScriptedApi):
        def pages(self, resource: Resource, *, labels: str) -> Iterator[Listing]:
            nonlocal most
            for number in range(20):
                found = Raw(made(f"job-{number}", 1))
                held.append(weakref.ref(found))
                most = max(most, sum(one() is not None for one in held))
                yield Listing((found,), "1")

    api = Long()
    following = Mirror(cast("KubeApi", api), JOBS, JobObject.read, labels="a=b", monotonic=time.monotonic)
    following.start()
    assert len(following.objects()) == 20
    following.stop()
    api.events.put(None)
    assert most <= 3  # the one that is being made, and the two that its predecessors' loops still name
