"""What people write into a run: control.json, and retries. The controller reads it before every decision."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import datetime
from typing import Literal

from controller.ledger import Ledger
from controller.lock import control_lock
from controller.stored import read_control
from job.contract.documents import Control, RunState, to_json
from job.contract.errors import TransientError
from job.store import Keys, Store

__all__ = ["change_state", "renew_control", "void_failures", "want_more", "want_running"]

_ROUNDS = 20


def renew_control(
    store: Store,
    *,
    now: datetime,
    state: RunState | None = None,
    trials: Mapping[str, Literal["stop"] | None] | None = None,
) -> None:
    """Write control.json with these wishes and all earlier ones; None for a trial takes its wish away.

    It is written even when nothing in it changes: its new tag tells a controller to read everything again.
    """
    with control_lock(store.uri, environ=os.environ):
        control = read_control(store)
        wishes = dict(control.trials)
        for trial_id, wish in (trials or {}).items():
            if wish is None:
                wishes.pop(trial_id, None)
            else:
                wishes[trial_id] = wish
        renewed = _in_state(control, state or control.state, now=now)
        store.put(Keys.CONTROL, to_json(renewed.model_copy(update={"trials": wishes})))


def change_state(store: Store, *, now: datetime, given: RunState, to: RunState) -> RunState:
    """What people wanted of the run until now; where that was `given`, they want `to` from now on."""
    with control_lock(store.uri, environ=os.environ):
        control = read_control(store)
        if control.state == given:
            store.put(Keys.CONTROL, to_json(_in_state(control, to, now=now)))
        return control.state


def want_more(store: Store, *, spec_sha256: str) -> None:
    """Write control.json with a spec that the run goes on with by itself; whoever paused or stopped it is heard."""
    with control_lock(store.uri, environ=os.environ):
        store.put(Keys.CONTROL, to_json(read_control(store).model_copy(update={"spec_sha256": spec_sha256})))


def want_running(store: Store, *, spec_sha256: str, now: datetime, begun_by: str | None = None) -> bool:
    """Write control.json with the wish to run this spec, unless it says so already; gives whether that ends a pause.

    Stopped trials stay stopped. `begun_by` is the Kubernetes Job that this process is a pod of: another pod of it
    wishes nothing new, and who paused or stopped the run meanwhile has said more than an eviction does.
    """
    with control_lock(store.uri, environ=os.environ):
        control = read_control(store)
        ours = (spec_sha256, begun_by) == (control.spec_sha256, control.begun_by)
        if ours and (control.state == "running" or begun_by is not None):
            return False
        wished = _in_state(control, "running", now=now)
        update = {"spec_sha256": spec_sha256, "begun_by": begun_by}
        store.put(Keys.CONTROL, to_json(wished.model_copy(update=update)))
        return control.state == "paused"


def _in_state(control: Control, state: RunState, *, now: datetime) -> Control:
    resumed = control.state == "paused" and state == "running"
    update = {"state": state, "updated_at": now, "resumed_at": now if resumed else control.resumed_at}
    return control.model_copy(update=update)


def void_failures(store: Store, trial_id: str, ledger: Ledger, *, now: datetime) -> None:
    """Put the trial's next retry; it voids every failure and disruption that is in the store."""
    body = to_json(ledger.retry(trial_id, at=now))
    first = len(ledger.record(trial_id).retries) + 1
    for number in range(first, first + _ROUNDS):
        if store.put_once(Keys.retry(trial_id, number), body):
            return
    raise TransientError(f"trial {trial_id}: others retry it at the same time; look with `lorasweep status`")
