"""A Store in memory, for tests that look at thousands of states; tests/contract/test_store.py has the real ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from itertools import count
from pathlib import Path

from job.contract.base import sha256_hex
from job.contract.errors import NotFoundError, ResultError
from job.store import ObjectInfo, Store
from job.store.keys import check_key


class MemoryStore:
    """Objects in a dictionary; every write is a new tag."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.after_effect: Callable[[], None] = lambda: None
        self.reads: list[str] = []
        """Keys read and prefixes listed, for tests of how much is asked."""
        self._tags: dict[str, str] = {}
        self._numbers = count()

    @property
    def uri(self) -> str:
        return "/memory/demo/main"

    def read(self, key: str, *, limit_bytes: int) -> bytes:
        self.reads.append(key)
        body = self._body(key)
        if len(body) > limit_bytes:
            raise ResultError(f"{key} is {len(body):,} bytes, over the limit of {limit_bytes:,}")
        return body

    def put(self, key: str, body: bytes) -> None:
        self.objects[check_key(key)] = body
        self._tags[key] = f"tag-{next(self._numbers)}"
        self.after_effect()

    def put_once(self, key: str, body: bytes) -> bool:
        if key in self.objects:
            return self.objects[key] == body
        self.put(key, body)
        return True

    def upload(self, key: str, path: Path) -> None:
        self.put(key, path.read_bytes())

    def download(self, key: str, path: Path) -> None:
        path.write_bytes(self._body(key))

    def sha256(self, key: str) -> str:
        return sha256_hex(self._body(key))

    def stat(self, key: str) -> ObjectInfo | None:
        return ObjectInfo(key, len(self.objects[key]), self._tags[key]) if key in self.objects else None

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        self.reads.append(prefix)
        for key in sorted(self.objects):
            if key.startswith(prefix) and (found := self.stat(key)) is not None:
                yield found

    def delete(self, key: str, *, etag: str | None = None) -> bool:
        if key not in self.objects or (etag is not None and etag != self._tags[key]):
            return False
        del self.objects[key]
        self.after_effect()
        return True

    def discard_unfinished(self, prefix: str, *, before: datetime) -> int:
        del prefix, before
        return 0

    def _body(self, key: str) -> bytes:
        if key not in self.objects:
            raise NotFoundError(f"there is no {key!r} in this store")
        return self.objects[key]


_: type[Store] = MemoryStore
