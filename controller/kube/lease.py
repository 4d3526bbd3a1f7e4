"""One leading controller per run: a Lease that its holder renews, and that another takes when it no longer is.

A Lease only keeps two controllers from doing everything twice. It cannot fence: a holder that was paused for long may
act once more before it learns of its loss. Names of Jobs and conditional writes to the store keep that harmless.

A holder that cannot renew it does nothing until it can: for as long as the API server does not answer, nobody else can
take the Lease either, and what runs needs no controller. Only a holder that finds another in its place has lost.

Time is measured on this machine's monotonic clock alone, from when a change of the Lease was seen, so that clocks that
differ or jump neither take a Lease away nor keep it. (The elector of the `kubernetes` package 37 reads the wall clock.)
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime

from controller.backend import PlaceEndingError
from controller.kube.api import KubeApi, Object
from controller.kube.rights import LEASES
from job.contract.errors import (
    ConfigurationError,
    ConflictError,
    NotFoundError,
    PreflightError,
    SweepError,
    TransientError,
)

__all__ = ["Lease"]

logger = logging.getLogger(__name__)


# Twice client-go's defaults of 15, 10 and 2 s, which are for controllers that must fail over fast; ours need not.
DURATION_S = 30.0
_RENEW_RATIO = 2 / 3
_EVERY_S = 5.0


class Lease:
    """The Lease of one run, as one process sees it."""

    def __init__(
        self,
        api: KubeApi,
        name: str,
        *,
        identity: str,
        owner: Object | None,
        labels: dict[str, str],
        now: Callable[[], datetime],
        monotonic: Callable[[], float],
        duration_s: float = DURATION_S,
        every_s: float = _EVERY_S,
    ) -> None:
        """`identity` must be this process's alone; `owner` is an owner reference."""
        self._api = api
        self._name = name
        self._identity = identity
        self._owner = owner
        self._labels = labels
        self._now = now
        self._monotonic = monotonic
        self._duration_s = duration_s
        self._every_s = every_s
        self._ending = threading.Event()
        self._renewed_at = monotonic()
        self._renewing: threading.Thread | None = None
        self._trouble: SweepError | None = None
        """Of the newest renewal; None when it succeeded."""

    @contextmanager
    def held(self, *, wait: Callable[[str], None], lost: Callable[[str], None]) -> Iterator[None]:
        """Lead. `wait` is called with a sentence, and should sleep a while, as long as another holds the Lease.

        `lost` is called in another thread when another controller has taken it; it should end the process.
        """
        self._renewed_at = self._monotonic()
        held = self._acquire(wait)
        renewing = self._renewing = threading.Thread(target=self._renew, args=(held, lost), name="lease", daemon=True)
        renewing.start()
        try:
            yield
        finally:
            self._ending.set()
            renewing.join(timeout=self._every_s)
            self._release()

    def confirm(self) -> None:
        """Nothing, while no other controller may lead.

        Raises TransientError when that is not known, as the API server has not answered for long; what it answered,
        where that will not pass by itself; RuntimeError when nobody renews the Lease any more.
        """
        if self._renewing is None or not self._renewing.is_alive():
            raise RuntimeError(f"nobody renews the Lease {self._name!r}; a traceback of its thread is above")
        if self._monotonic() - self._renewed_at <= self._duration_s * _RENEW_RATIO:
            return
        trouble = self._trouble
        if isinstance(trouble, PlaceEndingError | PreflightError | ConfigurationError):
            raise trouble
        said = "" if trouble is None else f": {trouble}"
        raise TransientError(f"the Lease {self._name!r} could not be renewed{said}")

    def _acquire(self, wait: Callable[[str], None]) -> Object:
        seen_version, seen_at = "", self._monotonic()
        while True:
            asked_at = self._monotonic()
            try:
                found = self._find()
                if found is None:
                    return self._held_since(asked_at, self._api.create(LEASES, self._new()))
                version = found["metadata"]["resourceVersion"]
                if version != seen_version:
                    seen_version, seen_at = version, asked_at
                holder = found["spec"].get("holderIdentity") or ""
                if not holder or holder == self._identity or asked_at - seen_at > _duration_of(found):
                    return self._held_since(asked_at, self._api.replace(LEASES, self._taken(found)))
                why = f"another controller leads this run: {holder}, since {found['spec'].get('acquireTime')}"
            except ConflictError:
                continue
            except TransientError as err:
                if not seen_version:
                    raise
                why = str(err)  # who has waited for hours need not begin anew
            wait(why)

    def _held_since(self, asked_at: float, held: Object) -> Object:
        """`held`; another may count its duration from when we asked for it, and no earlier."""
        self._renewed_at = asked_at
        return held

    def _renew(self, held: Object, lost: Callable[[str], None]) -> None:
        while not self._ending.wait(self._every_s):
            asked_at = self._monotonic()
            try:
                renewed = self._renew_once(held)
            except SweepError as err:
                if self._trouble is None:
                    logger.warning("the Lease could not be renewed: %s", err)
                self._trouble = err
                continue
            if renewed is not None:
                held, self._trouble = self._held_since(asked_at, renewed), None
            elif not self._ending.is_set():  # then it was let go meanwhile
                lost(f"the Lease {self._name!r} was taken by another controller")
                return

    def _renew_once(self, held: Object) -> Object | None:
        """The Lease, renewed; None when another holds it. One that somebody wrote to or deleted is taken up again."""
        try:
            return self._api.replace(LEASES, self._renewed(held))
        except (ConflictError, NotFoundError):
            found = self._find()
        if found is None:
            return self._api.create(LEASES, self._new())
        if found["spec"].get("holderIdentity") != self._identity:
            return None
        return self._api.replace(LEASES, self._renewed(found))

    def _release(self) -> None:
        """Let the next controller begin at once."""
        try:
            found = self._find()
            if found is not None and found["spec"].get("holderIdentity") == self._identity:
                self._api.replace(LEASES, found | {"spec": found["spec"] | {"holderIdentity": ""}})
        except SweepError as err:
            logger.info("the Lease was not given back, and ends by itself: %s", err)

    def _find(self) -> Object | None:
        try:
            return self._api.get(LEASES, self._name)
        except NotFoundError:
            return None

    def _new(self) -> Object:
        metadata: Object = {"name": self._name, "labels": self._labels}
        if self._owner is not None:
            metadata["ownerReferences"] = [self._owner]
        stamp = _micro_time(self._now())
        return {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": metadata,
            "spec": self._spec(acquired=stamp, renewed=stamp, transitions=0),
        }

    def _taken(self, found: Object) -> Object:
        stamp = _micro_time(self._now())
        transitions = int(found["spec"].get("leaseTransitions") or 0) + 1
        return found | {"spec": self._spec(acquired=stamp, renewed=stamp, transitions=transitions)}

    def _renewed(self, held: Object) -> Object:
        return held | {"spec": held["spec"] | {"renewTime": _micro_time(self._now())}}

    def _spec(self, *, acquired: str, renewed: str, transitions: int) -> Object:
        return {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": max(1, int(self._duration_s)),
            "acquireTime": acquired,
            "renewTime": renewed,
            "leaseTransitions": transitions,
        }


def _duration_of(found: Object) -> float:
    return float(found["spec"].get("leaseDurationSeconds") or DURATION_S)


def _micro_time(moment: datetime) -> str:
    """As the API wants a MicroTime."""
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
