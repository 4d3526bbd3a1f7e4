"""Whether a store can do what a run will ask of it, found out before anything expensive starts."""

from __future__ import annotations

from job.contract.errors import ConfigurationError
from job.store.keys import check_object
from job.store.protocol import Store

__all__ = ["check_store"]


def check_store(store: Store, *, nonce: str) -> None:
    """Write, read, list and delete one small object, `preflight/<nonce>`; nothing is left behind.

    `nonce` is a name that no other process uses. Raises ConfigurationError (credentials, bucket, rights, a server
    without conditional writes) and TransientError as the store does.
    """
    key, body = check_object(f"preflight/{nonce}"), nonce.encode()
    if not store.put_once(key, body) or store.put_once(key, body + b"."):
        raise ConfigurationError(f"store {store.uri}: {key} does not keep its first bytes; use another store")
    if store.read(key, limit_bytes=len(body)) != body:
        raise ConfigurationError(f"store {store.uri}: {key} reads as other bytes than were written; use another store")
    if key not in {found.key for found in store.list("preflight/")}:
        raise ConfigurationError(f"store {store.uri}: {key} was written and is not listed; use another store")
    if not store.delete(key):
        raise ConfigurationError(f"store {store.uri}: {key} was written and cannot be deleted; use another store")
