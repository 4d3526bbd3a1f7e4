"""What people write into a run: control.json, and retries. The controller reads it before every decision."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import datetime
from typing import Literal

from controller.ledger import Ledger
from controller.lock import control_lock
from controller.stored import read_control
from job.contract.documents import to_json
from job.contract.errors import TransientError
from job.store import Keys, Store

__all__ = ["renew_control", "void_failures", "want_running"]

_ROUNDS = 20


def renew_control(
    store: Store,
    *,
    now: datetime,
    state: Literal["running", "paused", "stopped"] | None = None,
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
        update = {"state": state or control.state, "trials": wishes, "updated_at": now}
        store.put(Keys.CONTROL, to_json(control.model_copy(update=update)))


def want_running(store: Store, *, spec_sha256: str, now: datetime) -> None:
    """Write control.json with the wish to run this spec, unless it says so already; stopped trials stay stopped."""
    with control_lock(store.uri, environ=os.environ):
        control = read_control(store)
        if (control.state, control.spec_sha256) != ("running", spec_sha256):
            update = {"state": "running", "spec_sha256": spec_sha256, "updated_at": now}
            store.put(Keys.CONTROL, to_json(control.model_copy(update=update)))


def void_failures(store: Store, trial_id: str, ledger: Ledger, *, now: datetime) -> None:
    """Put the trial's next retry; it voids every failure and disruption that is in the store."""
    body = to_json(ledger.retry(trial_id, at=now))
    first = len(ledger.record(trial_id).retries) + 1
    for number in range(first, first + _ROUNDS):
        if store.put_once(Keys.retry(trial_id, number), body):
            return
    raise TransientError(f"trial {trial_id}: others retry it at the same time; look with `lorasweep status`")
