"""Whether a store can do what a run will ask of it, found out before anything expensive starts.

Limits
- Without the right to delete one object stays, `preflight/kept`, and is used again by every check. Where a process that
  may delete checks the same run in the same moment, one that may not can find that its first bytes were not kept.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from job.contract.checks import Check, failure
from job.contract.errors import ConfigurationError, SweepError
from job.store.keys import check_object
from job.store.protocol import ServerClock, Store

__all__ = ["check_store"]

_KEPT = "preflight/kept"
_BODY = b"lorasweep asks what this store can do\n"
_SKEW_LIMIT_S = 300.0  # S3 refuses signatures that are 15 minutes off; a third of that deserves a word


def check_store(store: Store, *, nonce: str, now: Callable[[], datetime]) -> tuple[Check, ...]:
    """What the store does with one small object: written once, read, listed and deleted; and what its clock says.

    Nothing is left behind where deleting is allowed. `nonce` is a name in hex that no other process uses.
    """
    try:
        refusal = _refusal_to_delete(store)
        key = check_object(_KEPT if refusal else f"preflight/{nonce}")
        _check_kept(store, key)
        refusal = refusal or _deleted(store, key)
        clock = _clock(store, now=now)
    except SweepError as err:
        return (failure("store", err),)
    works = Check("store", "ok", f"{store.uri} keeps and lists what is written, and writes once only")
    return (works, _deletion(refusal), clock)


def _refusal_to_delete(store: Store) -> ConfigurationError | None:
    """Asked with an object of a fixed name: if it cannot go, it is the only one that ever stays."""
    if not store.put_once(_KEPT, _BODY):
        store.put(_KEPT, _BODY)
    store.stat(_KEPT)  # a delete looks first; a listing that is refused is no refusal to delete
    return _deleted(store, _KEPT)


def _deleted(store: Store, key: str) -> ConfigurationError | None:
    try:
        store.delete(key)
    except ConfigurationError as err:
        return err
    return None


def _check_kept(store: Store, key: str) -> None:
    """Raises ConfigurationError where the store loses, replaces or hides what it took."""
    if not store.put_once(key, _BODY) or store.put_once(key, _BODY + b"."):
        raise ConfigurationError(f"store {store.uri}: {key} does not keep its first bytes; use another store")
    if store.read(key, limit_bytes=len(_BODY)) != _BODY:
        raise ConfigurationError(f"store {store.uri}: {key} reads as other bytes than were written; use another store")
    if key not in {found.key for found in store.list("preflight/")}:
        raise ConfigurationError(f"store {store.uri}: {key} was written and is not listed; use another store")


def _deletion(refusal: ConfigurationError | None) -> Check:
    name = "right to delete"
    if refusal is None:
        return Check(name, "ok", "what is done with is removed")
    return Check(
        name,
        "warning",
        f"{refusal}. A run goes on without; then {_KEPT} and every checkpoint stay, `clean` can remove none of them, "
        "and `retry` cannot replace a damaged result. Allow DeleteObject, or remove these with other credentials",
    )


def _clock(store: Store, *, now: Callable[[], datetime]) -> Check:
    there = store.server_time() if isinstance(store, ServerClock) else None
    if there is None:
        return Check("store's clock", "not checked", "the store does not say the time")
    ahead_s = (now() - there).total_seconds()
    if abs(ahead_s) > _SKEW_LIMIT_S:
        side = "ahead of" if ahead_s > 0 else "behind"
        return Check(
            "store's clock",
            "warning",
            f"this machine is {abs(ahead_s):.0f} s {side} the S3 server, which refuses all requests from 900 s on; "
            "set its clock (NTP)",
        )
    return Check("store's clock", "ok", f"{abs(ahead_s):.0f} s from the S3 server's")
