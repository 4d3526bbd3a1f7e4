"""The narrowest interface that folder and S3 both keep; tests/contract/test_store.py is its meaning."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import NamedTuple, Protocol, runtime_checkable

__all__ = ["ObjectInfo", "ServerClock", "Store"]


class ObjectInfo(NamedTuple):
    """One stored object."""

    key: str
    size_bytes: int
    etag: str
    """Changes when the bytes change; opaque."""


class Store(Protocol):
    """Objects under one root, each visible whole or not at all.

    Every method raises TransientError when the store does not answer, ConfigurationError when it refuses
    (credentials, bucket, rights), and ResultError for a key that `check_key` does not allow.
    Objects may be read and written from many threads and processes at once.
    """

    @property
    def uri(self) -> str:
        """The root, as a person would write it; without credentials."""
        ...

    def read(self, key: str, *, limit_bytes: int) -> bytes:
        """The object's bytes. Raises NotFoundError, and ResultError when it is larger than `limit_bytes`."""
        ...

    def put(self, key: str, body: bytes) -> None:
        """Store `body`, replacing what was there."""
        ...

    def put_once(self, key: str, body: bytes) -> bool:
        """Store `body` unless the key is taken. True when the key now holds these bytes, False when it holds others.

        A retry after a lost reply is therefore True. Of many racing calls with differing bytes one gets True.
        """
        ...

    def upload(self, key: str, path: Path) -> None:
        """Store the file's bytes, replacing what was there; any size."""
        ...

    def download(self, key: str, path: Path) -> None:
        """Write the object to `path`, whole or not at all. Raises NotFoundError."""
        ...

    def sha256(self, key: str) -> str:
        """SHA-256 of the object's bytes as 64 hex digits, streamed. Raises NotFoundError."""
        ...

    def stat(self, key: str) -> ObjectInfo | None:
        """The object's size and tag, or None."""
        ...

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """Every object whose key starts with `prefix` (`""`, or a key that ends in a slash), sorted by key.

        Foreign objects whose key `check_key` would not allow are left out.
        """
        ...

    def delete(self, key: str, *, etag: str | None = None) -> bool:
        """Remove the object; with `etag` only if it still has that tag. False when there was nothing to remove."""
        ...

    def discard_unfinished(self, prefix: str, *, before: datetime) -> int:
        """Remove what killed writers left under `prefix` before that time; how many. Such rests are never listed."""
        ...


@runtime_checkable
class ServerClock(Protocol):
    """A store behind a server that says the time."""

    def server_time(self) -> datetime | None:
        """The server's clock, to the second; None when it did not say. Raises as every method of a store does."""
        ...
