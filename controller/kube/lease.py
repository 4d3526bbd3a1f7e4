"""One leading controller per run: a Lease that its holder renews, and that another takes when it no longer is.

A Lease only keeps two controllers from doing everything twice. It cannot fence: a holder that was paused for long may
act once more before it learns of its loss. Names of Jobs and conditional writes to the store keep that harmless.

Time is measured on this machine's monotonic clock alone, from when a change of the Lease was seen, so that clocks that
differ or jump neither take a Lease away nor keep it. (The elector of the `kubernetes` package 37 reads the wall clock.)
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime

from controller.kube.api import KubeApi, Object
from controller.kube.rights import LEASES
from job.contract.errors import ConflictError, NotFoundError, SweepError

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

    @contextmanager
    def held(self, *, wait: Callable[[str], None], lost: Callable[[str], None]) -> Iterator[None]:
        """Lead. `wait` is called with a sentence, and should sleep a while, as long as another holds the Lease.

        `lost` is called in another thread when it could not be renewed; it should end the process.
        """
        held = self._acquire(wait)
        renewing = threading.Thread(target=self._renew, args=(held, lost), name="lease", daemon=True)
        renewing.start()
        try:
            yield
        finally:
            self._ending.set()
            renewing.join(timeout=self._every_s)
            self._release()

    def _acquire(self, wait: Callable[[str], None]) -> Object:
        seen_version, seen_at = "", self._monotonic()
        while True:
            found = self._find()
            if found is None:
                try:
                    return self._api.create(LEASES, self._new())
                except ConflictError:
                    continue
            version = found["metadata"]["resourceVersion"]
            if version != seen_version:
                seen_version, seen_at = version, self._monotonic()
            holder = found["spec"].get("holderIdentity") or ""
            if not holder or holder == self._identity or self._monotonic() - seen_at > _duration_of(found):
                try:
                    return self._api.replace(LEASES, self._taken(found))
                except ConflictError:
                    continue
            wait(f"another controller leads this run: {holder}, since {found['spec'].get('acquireTime')}")

    def _renew(self, held: Object, lost: Callable[[str], None]) -> None:
        renewed_at = self._monotonic()
        while not self._ending.wait(self._every_s):
            try:
                renewed = self._renew_once(held)
            except SweepError as err:
                logger.warning("the Lease could not be renewed: %s", err)
            else:
                if renewed is None:
                    lost(f"the Lease {self._name!r} was taken by another controller")
                    return
                held, renewed_at = renewed, self._monotonic()
            if self._monotonic() - renewed_at > self._duration_s * _RENEW_RATIO:
                lost(f"the Lease {self._name!r} could not be renewed for {self._monotonic() - renewed_at:.0f} s")
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
