"""What the API server last said about the objects of one kind: one list, then a watch, in a thread of its own.

A watch can end, go silent, lose events or be told that its version is too old. So everything is listed again after an
error and every few minutes besides; a missed event costs minutes, never a trial.

Who looks now and then would miss what came and went between two looks, a pod's last words among it. So objects that
are gone are kept as they were last, until they are asked for.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from typing import Generic, Protocol, TypeVar

from controller.kube.api import GoneError, KubeApi, Object, Resource
from controller.kube.objects import Metadata
from job.contract.errors import SweepError, TransientError

__all__ = ["Mirror"]

logger = logging.getLogger(__name__)

RELIST_S = 300.0
# A quiet watch is ended by the server after this time, and asked for again; it bounds how long a dead one is believed.
_WATCH_S = 60.0
_FIRST_PAUSE_S = 1.0
_PAUSE_LIMIT_S = 30.0
_FIRST_LIST_S = 60.0


class _Named(Protocol):
    @property
    def metadata(self) -> Metadata: ...


T = TypeVar("T", bound=_Named)


class Mirror(Generic[T]):
    """Objects by name. One thread writes what the server says; any may read, and note what it has written itself."""

    def __init__(
        self,
        api: KubeApi,
        resource: Resource,
        read: Callable[[object], T],
        *,
        labels: str,
        monotonic: Callable[[], float],
        relist_s: float = RELIST_S,
        watch_s: float = _WATCH_S,
    ) -> None:
        """`read` keeps of an object what is needed of it: an object may be 300 KB, and there may be thousands."""
        self._api = api
        self._resource = resource
        self._read = read
        self._labels = labels
        self._monotonic = monotonic
        self._relist_s = relist_s
        self._watch_s = watch_s
        self._lock = threading.Lock()
        self._objects: dict[str, T] = {}
        self._deleted: dict[str, str] = {}  # the UID of the last object of a name that went
        self._departed: list[T] = []
        self._trouble: SweepError | None = None
        self._listed = threading.Event()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._follow, name=f"mirror-{resource.plural}", daemon=True)

    def start(self) -> None:
        """Begin to follow; once."""
        self._thread.start()

    def stop(self) -> None:
        """Follow no longer. A thread that waits for the server ends with the process."""
        self._ending.set()

    def objects(self) -> Mapping[str, T]:
        """The objects now, each as the server last showed it.

        Raises what the server last answered, when it is not a list or a watch; TransientError before the first list;
        RuntimeError when nobody follows the server any more, as what was seen last would pass for the present.
        """
        if not self._listed.wait(_FIRST_LIST_S):
            raise TransientError(f"the API server has not listed {self._resource.plural} for {_FIRST_LIST_S:.0f} s")
        if not (self._thread.is_alive() or self._ending.is_set()):
            raise RuntimeError(f"the thread that follows {self._resource.plural} has ended; its traceback is above")
        with self._lock:
            if self._trouble is not None:
                raise self._trouble
            return dict(self._objects)

    def departed(self) -> tuple[T, ...]:
        """The objects that went since this was asked last, each as it was shown last; a DELETED event shows its end.

        To be asked after objects(): what goes in between is then in both, and missing from neither.
        """
        with self._lock:
            found, self._departed = tuple(self._departed), []
        return found

    def note(self, written: Object) -> None:
        """Take in what a write of ours was answered with; the watch will bring it too, but later.

        Or earlier: an object that was deleted at once is not there again because its creation is heard of last.
        """
        found = self._read(written)
        with self._lock:
            if self._deleted.get(found.metadata.name) != found.metadata.uid:
                self._put(found)

    def _follow(self) -> None:
        try:
            self._follow_on()
        finally:
            self._listed.set()  # nobody is to wait for a thread that is no more

    def _follow_on(self) -> None:
        pause_s = _FIRST_PAUSE_S
        while not self._ending.is_set():
            try:
                self._list_and_watch()
            except GoneError:
                logger.info("%s: the watch is too old, listing again", self._resource.plural)
                self._ending.wait(_FIRST_PAUSE_S)  # a server that says so every time must not be asked in a circle
            except SweepError as err:
                with self._lock:
                    self._trouble = err
                self._listed.set()
                self._ending.wait(pause_s)
                pause_s = min(pause_s * 2, _PAUSE_LIMIT_S)
            else:
                pause_s = _FIRST_PAUSE_S

    def _list_and_watch(self) -> None:
        """From a fresh list on, until it is time for the next one."""
        began = self._monotonic()
        objects, version = [], ""
        for page in self._api.pages(self._resource, labels=self._labels):
            objects += [self._read(found) for found in page.objects]
            version = page.resource_version
        with self._lock:
            # What was written while the list was on its way is in no list yet, and must not be taken for deleted.
            before = list(self._objects.values())
            self._objects = {found.metadata.name: found for found in objects}
            for known in before:
                if _is_later(known.metadata, than=version):
                    self._put(known)
            here = {found.metadata.uid for found in self._objects.values()}
            self._departed += [known for known in before if known.metadata.uid not in here]
            self._trouble = None
        self._listed.set()
        while not self._ending.is_set() and self._monotonic() - began < self._relist_s:
            asked_at = self._monotonic()
            changes = self._api.watch(self._resource, labels=self._labels, since=version, for_s=self._watch_s)
            for kind, found in changes:
                version = self._take(kind, found) or version
                if self._ending.is_set():
                    return
            if self._monotonic() - asked_at < _FIRST_PAUSE_S:
                self._ending.wait(_FIRST_PAUSE_S)  # a server that ends every watch must not be asked in a circle

    def _take(self, kind: str, found: Object) -> str:
        """Apply one event; its resource version."""
        seen = self._read(found) if kind in {"ADDED", "MODIFIED", "DELETED"} else None
        with self._lock:
            if seen is not None and kind != "DELETED":
                self._put(seen)
            elif seen is not None:
                self._deleted[seen.metadata.name] = seen.metadata.uid
                self._departed.append(seen)
                known = self._objects.get(seen.metadata.name)
                if known is not None and known.metadata.uid == seen.metadata.uid:
                    del self._objects[seen.metadata.name]
        return str((found.get("metadata") or {}).get("resourceVersion") or "")

    def _put(self, found: T) -> None:
        """Replace what is known of the object, unless it is known in a newer version."""
        name = found.metadata.name
        known = self._objects.get(name)
        if known is None or not _is_older(found.metadata, than=known.metadata):
            self._objects[name] = found


def _is_older(found: Metadata, *, than: Metadata) -> bool:
    """Whether it is the same object in an earlier version.

    Versions of one kind may be compared as integers (Kubernetes API concepts, "Resource versions", since 1.35).
    """
    return found.uid == than.uid and _is_later(than, than=found.resource_version)


def _is_later(found: Metadata, *, than: str) -> bool:
    """Whether the object is of a later version than this one; False where versions are no numbers."""
    versions = (found.resource_version, than)
    return all(map(str.isdecimal, versions)) and int(versions[0]) > int(versions[1])
