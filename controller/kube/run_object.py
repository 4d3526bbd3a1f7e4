"""The run's ConfigMap: owner of its Jobs and its Lease, and what `kubectl get configmap` shows of the run.

Deleting it deletes the run's Jobs (the store keeps every result), so an owner that vanished means: stop.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime, timedelta

from controller.backend import PlaceEndingError
from controller.kube.api import KubeApi, Object
from controller.kube.identity import Owner, run_labels
from controller.kube.rights import CONFIG_MAPS, EVENTS
from controller.kube.run_status import UPDATED
from controller.kube.story import Happening, event_manifest
from controller.names import Naming
from job.contract.base import sha256_hex
from job.contract.errors import (
    ConfigurationError,
    ConflictError,
    NotFoundError,
    PreflightError,
    StoppedError,
    TransientError,
)

__all__ = ["RunObject", "ensure_run_object", "owner_reference", "release_owner", "run_object_name"]

_EVERY = timedelta(seconds=10)  # a status for people; one write for many changes
_RUN = "run"  # the key whose run it is
_HOST = socket.gethostname()
logger = logging.getLogger(__name__)
_COMMON = {"app.kubernetes.io/name": "lorasweep", "app.kubernetes.io/managed-by": "lorasweep"}


def run_object_name(naming: Naming) -> str:
    """`<sweep>-run-<h8>`: of the run's ConfigMap and Lease."""
    return f"{naming.sweep}-run-{sha256_hex(naming.run_uri.encode())[:8]}"


def ensure_run_object(api: KubeApi, naming: Naming, *, release: str | None) -> RunObject:
    """The run's ConfigMap, made now or found; owned by the ConfigMap `release`, if there is one.

    Raises ConflictError when the name is another's, TransientError while an earlier one is being deleted.
    """
    name = run_object_name(naming)
    metadata: Object = {"name": name, "labels": {**_COMMON, **run_labels(naming)}}
    if release is not None:
        metadata["ownerReferences"] = [owner_reference(release_owner(api, release))]
    body: Object = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {_RUN: naming.run_uri}}
    try:
        found = api.create(CONFIG_MAPS, body)
    except ConflictError:
        found = api.get(CONFIG_MAPS, name)
        if (found.get("data") or {}).get(_RUN) != naming.run_uri:
            raise ConflictError(
                f"ConfigMap {name!r} in namespace {api.namespace!r} is not this run's; delete it, or "
                "choose another --run"
            ) from None
    if found["metadata"].get("deletionTimestamp"):
        raise TransientError(f"ConfigMap {name!r} of this run is being deleted; wait for that and run this again")
    owner = Owner(name, found["metadata"]["uid"])
    return RunObject(api, owner, labels=run_labels(naming), shown=found.get("data") or {})


def owner_reference(owner: Owner) -> Object:
    """What an object says about the ConfigMap that it goes with."""
    return {"apiVersion": "v1", "kind": "ConfigMap", "name": owner.name, "uid": owner.uid}


class RunObject:
    """The run's ConfigMap, as this process knows it."""

    def __init__(self, api: KubeApi, owner: Owner, *, labels: Mapping[str, str], shown: Mapping[str, str]) -> None:
        """`shown` is the data that it has."""
        self._api = api
        self.owner = owner
        self.labels = dict(labels)
        self._shown = {key: text for key, text in shown.items() if key not in {_RUN, UPDATED}}
        self._shown_at: datetime | None = None
        self._mute = False
        self._unheard_at: datetime | None = None

    def check(self) -> None:
        """Raises StoppedError when the ConfigMap is gone: somebody wants the run's Jobs gone, too.

        PlaceEndingError when all of the namespace goes: a create, if only a dry one, is the first to be refused then.
        """
        probe: Object = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": self.owner.name}}
        try:
            self._api.create(CONFIG_MAPS, probe, dry_run=True)
        except ConflictError:
            with suppress(NotFoundError):
                metadata = self._api.get(CONFIG_MAPS, self.owner.name)["metadata"]
                if metadata["uid"] == self.owner.uid and not metadata.get("deletionTimestamp"):
                    return
        except NotFoundError as err:
            raise PlaceEndingError(f"namespace {self._api.namespace!r} was removed: {err}") from err
        raise StoppedError(
            f"the run's ConfigMap {self.owner.name!r} was deleted, and its Jobs with it; results stay in the "
            "store, and `lorasweep run` goes on"
        )

    def is_due(self, at: datetime) -> bool:
        """Whether so much time has passed since the last status that another may be shown."""
        return self._shown_at is None or at - self._shown_at >= _EVERY

    def show(self, said: Mapping[str, str], *, at: datetime) -> None:
        """Write how the run stands, when that changed; trouble with it is left for the next time."""
        if said == self._shown:
            return
        over = dict.fromkeys(self._shown.keys() - said.keys())  # null removes a key
        written = {**said, UPDATED: at.isoformat(timespec="seconds")}
        try:
            self._api.patch(CONFIG_MAPS, self.owner.name, {"data": written | over})
        except TransientError:
            self._shown_at = self._unheard_at = at
        except (PreflightError, NotFoundError, ConflictError, ConfigurationError):
            return
        else:
            self._shown, self._shown_at = dict(said), at

    def tell(self, happening: Happening, *, at: datetime) -> None:
        """Make an Event about it. Where that is not allowed or does not succeed, the run goes on without."""
        if self._mute or self._is_unheard(at):
            return
        about, namespace = self.owner, self._api.namespace
        try:
            self._api.create(EVENTS, event_manifest(happening, about=about, namespace=namespace, at=at, reporter=_HOST))
        except PreflightError as err:
            self._mute = True
            logger.info("no events are written: %s", err)
        except TransientError as err:
            self._unheard_at = at
            logger.info("event lost: %s: %s", happening.reason, err)
        except (ConflictError, ConfigurationError, NotFoundError) as err:
            logger.info("event lost: %s: %s", happening.reason, err)

    def _is_unheard(self, at: datetime) -> bool:
        """Whether the API server has just left a word without an answer; nobody should wait for the next one, too."""
        return self._unheard_at is not None and timedelta(0) <= at - self._unheard_at < _EVERY


def release_owner(api: KubeApi, name: str) -> Owner:
    """The ConfigMap of a Helm release. Raises PreflightError when it is not there."""
    try:
        return Owner(name, api.get(CONFIG_MAPS, name)["metadata"]["uid"])
    except NotFoundError as err:
        raise PreflightError(f"--owner names ConfigMap {name!r}, which is not there: {err}") from err
