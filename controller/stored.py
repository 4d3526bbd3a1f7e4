"""Documents that decide over a run, read from its store. One that is damaged is named, with what to do about it.

A damaged result or failure is part of a trial's history, and its trial pays for it. These here are of the run: going on
without them could start what somebody has stopped, or plan anew what was planned.
"""

from __future__ import annotations

from typing import TypeVar

from job.contract.base import Frozen
from job.contract.documents import (
    DATA_LIMIT_BYTES,
    DOCUMENT_LIMIT_BYTES,
    Control,
    Plan,
    Retry,
    SubmissionEnd,
    parse,
)
from job.contract.errors import ConfigurationError, NotFoundError, ResultError
from job.store import Keys, Store
from job.store.keys import is_ours

__all__ = ["DamagedError", "newest_plan", "plan_keys", "read_control", "read_stored", "read_stored_plan"]

D = TypeVar("D", bound=Frozen)
_WITHOUT: dict[type[Frozen], str] = {
    Control: "the run goes on with every trial, and what was stopped has to be stopped again",
    Plan: "the spec is planned anew; trials keep their ids where model and data are the same",
    Retry: "what it took back counts again, until the next `lorasweep retry`",
    SubmissionEnd: "the run starts that submission once more, if its trial has no result",
}


class DamagedError(ConfigurationError):
    """A document of the run is not what it has to be; a person has to move it away."""


def read_stored(store: Store, document: type[D], key: str) -> D:
    """The document at `key`. Raises NotFoundError, and DamagedError with the remedy when it is damaged."""
    name = f"{store.uri}/{key}"
    limit_bytes = DATA_LIMIT_BYTES if document is Plan else DOCUMENT_LIMIT_BYTES
    try:
        return parse(document, store.read(key, limit_bytes=limit_bytes), name=name)
    except ResultError as err:
        raise DamagedError(
            f"{err}. If a newer lorasweep wrote {name}, use that one; else move it out of the run: {_WITHOUT[document]}"
        ) from err


def read_control(store: Store) -> Control:
    """What people asked for; running when nobody has. Raises DamagedError when the document is damaged."""
    try:
        return read_stored(store, Control, Keys.CONTROL)
    except NotFoundError:
        return Control()


def plan_keys(store: Store) -> list[str]:
    """The keys of the run's plans; what else may lie beside them is not ours."""
    return [found.key for found in store.list(Keys.PLANS) if is_ours(found.key)]


def newest_plan(store: Store) -> Plan:
    """The plan of the spec that ran last. Raises NotFoundError without any, and DamagedError when it is damaged."""
    keys = plan_keys(store)
    if not keys:
        raise NotFoundError(f"{store.uri}: no run there")
    current = read_control(store).spec_sha256
    if current is not None and Keys.plan(current) in keys:
        return read_stored(store, Plan, Keys.plan(current))
    return max((read_stored(store, Plan, key) for key in keys), key=lambda plan: plan.created_at)


def read_stored_plan(store: Store, spec_sha256: str) -> Plan | None:
    """The plan of a spec, or None. Raises DamagedError when it is damaged."""
    try:
        return read_stored(store, Plan, Keys.plan(spec_sha256))
    except NotFoundError:
        return None
