"""The run's ConfigMap: owner of its Jobs and its Lease, and what `kubectl get configmap` shows of the run.

Deleting it deletes the run's Jobs (the store keeps every result), so an owner that vanished means: stop.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import datetime, timedelta

from controller.kube.api import KubeApi, Object
from controller.kube.identity import Owner, run_labels
from controller.kube.rights import CONFIG_MAPS
from controller.names import Naming
from controller.states import Situation, TrialStatus
from job.contract.base import sha256_hex
from job.contract.errors import (
    ConflictError,
    NotFoundError,
    PreflightError,
    StoppedError,
    TransientError,
    TrialState,
)

__all__ = ["RunObject", "ensure_run_object", "owner_reference", "run_object_name"]

_EVERY = timedelta(seconds=10)  # a status for people; one write for many changes
_COMMON = {"app.kubernetes.io/name": "lorasweep", "app.kubernetes.io/managed-by": "lorasweep"}
_ORDER: tuple[TrialState, ...] = ("succeeded", "failed", "stopped", "running", "waiting", "pending")


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
        metadata["ownerReferences"] = [owner_reference(_release_of(api, release))]
    body: Object = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"run": naming.run_uri}}
    try:
        found = api.create(CONFIG_MAPS, body)
    except ConflictError:
        found = api.get(CONFIG_MAPS, name)
        if (found.get("data") or {}).get("run") != naming.run_uri:
            raise ConflictError(
                f"ConfigMap {name!r} in namespace {api.namespace!r} is not this run's; delete it, or "
                "choose another --run"
            ) from None
    if found["metadata"].get("deletionTimestamp"):
        raise TransientError(f"ConfigMap {name!r} of this run is being deleted; wait for that and run this again")
    return RunObject(api, Owner(name, found["metadata"]["uid"]), labels=run_labels(naming))


def owner_reference(owner: Owner) -> Object:
    """What an object says about the ConfigMap that it goes with."""
    return {"apiVersion": "v1", "kind": "ConfigMap", "name": owner.name, "uid": owner.uid}


class RunObject:
    """The run's ConfigMap, as this process knows it."""

    def __init__(self, api: KubeApi, owner: Owner, *, labels: Mapping[str, str]) -> None:
        self._api = api
        self.owner = owner
        self.labels = dict(labels)
        self._shown: dict[str, str] = {}
        self._shown_at: datetime | None = None

    def check(self) -> None:
        """Raises StoppedError when the ConfigMap is gone: somebody wants the run's Jobs gone, too."""
        try:
            found = self._api.get(CONFIG_MAPS, self.owner.name)
        except NotFoundError:
            found = {"metadata": {}}
        if found["metadata"].get("uid") != self.owner.uid or found["metadata"].get("deletionTimestamp"):
            raise StoppedError(
                f"the run's ConfigMap {self.owner.name!r} was deleted, and its Jobs with it; results stay in the "
                "store, and `lorasweep run` goes on"
            )

    def show(self, situation: Situation, statuses: Mapping[str, TrialStatus], *, final: bool) -> None:
        """Write how the run stands, when that changed and not too often; trouble with it is left for the next time."""
        shown = summary(situation, statuses)
        due = self._shown_at is None or situation.now - self._shown_at >= _EVERY
        if shown == self._shown or not (due or final):
            return
        over = dict.fromkeys(self._shown.keys() - shown.keys())  # null removes a key
        try:
            self._api.patch(CONFIG_MAPS, self.owner.name, {"data": shown | over})
        except (TransientError, PreflightError, NotFoundError):
            return
        self._shown, self._shown_at = shown, situation.now


def summary(situation: Situation, statuses: Mapping[str, TrialStatus]) -> dict[str, str]:
    """A run in a few lines of text: the counts of states, and why the first of each kind waits or failed."""
    counts = Counter(status.state for status in statuses.values())
    lines = {"trials": ", ".join(f"{counts[state]} {state}" for state in _ORDER if counts[state]) or "none"}
    reasons: dict[str, str] = {}
    for trial in situation.plan.trials:
        status = statuses[trial.trial_id]
        if status.reason is not None and status.state in {"waiting", "failed"}:
            reasons.setdefault(f"{status.state}.{status.reason}", f"{trial.letter}: {status.text}"[:500])
    return lines | reasons


def _release_of(api: KubeApi, name: str) -> Owner:
    try:
        return Owner(name, api.get(CONFIG_MAPS, name)["metadata"]["uid"])
    except NotFoundError as err:
        raise PreflightError(f"--owner names ConfigMap {name!r}, which is not there: {err}") from err
