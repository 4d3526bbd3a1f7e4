"""An adapter under a prefix of a bucket; its configuration comes last, without which no library loads it."""

from __future__ import annotations

from pathlib import Path

from controller.promotion.place import Delivered, Place
from job.contract.errors import ConflictError
from job.store import open_store
from job.store.hashing import file_sha256

__all__ = ["BucketPrefix"]

_LAST = "adapter_config.json"


class BucketPrefix:
    """A prefix that holds nothing, or the same objects, or some of them from a promotion that was cut off."""

    def __init__(self, uri: str) -> None:
        self._uri = uri

    def take(self, folder: Path, names: tuple[str, ...]) -> Delivered:
        store = open_store(self._uri)
        there = {found.key for found in store.list("")}
        if strange := sorted(there - set(names)):
            raise ConflictError(f"{self._uri} holds {strange[0]!r}, which is not of this adapter; name an empty prefix")
        for name in sorted(there):
            if store.sha256(name) != file_sha256(folder / name):
                raise ConflictError(f"{self._uri}/{name} has other bytes than this adapter's; name an empty prefix")
        missing = tuple(sorted(set(names) - there, key=lambda name: (name == _LAST, name)))
        for name in missing:
            store.upload(name, folder / name)
        return Delivered(self._uri, missing)


_: type[Place] = BucketPrefix
