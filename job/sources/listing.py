"""The files of a source, the same whether they lie in a folder or under an s3:// prefix."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Protocol

from job.contract.base import canonical_json, sha256_hex
from job.contract.errors import ConfigurationError
from job.sources.hashes import HashCache
from job.store import Store, open_store
from job.store.protocol import ObjectInfo

__all__ = ["FolderListing", "Listing", "StoreListing", "digest_of", "is_inside"]


class Listing(Protocol):
    """Files by their relative names, with `/` between folders."""

    @property
    def place(self) -> str:
        """What messages call it."""
        ...

    def names(self) -> list[str]:
        """Files at the top and one folder below, sorted."""
        ...

    def has(self, name: str) -> bool:
        """Whether there is a file of that name."""
        ...

    def read(self, name: str, *, limit_bytes: int) -> bytes:
        """The file's bytes. Raises ConfigurationError when it is larger, or cannot be read."""
        ...

    def size_bytes(self, name: str) -> int:
        """How large a file is that is there."""
        ...

    def sha256(self, name: str) -> str:
        """SHA-256 of the file's bytes, 64 hex digits."""
        ...


def digest_of(hashes: Mapping[str, str]) -> str:
    """The digest of files by relative name and SHA-256: equal for a folder and a prefix that hold the same bytes."""
    return "sha256:" + sha256_hex(canonical_json(sorted(hashes.items())))


class FolderListing:
    """A local folder."""

    def __init__(self, folder: Path, *, hashes: HashCache) -> None:
        self._folder = folder
        self._hashes = hashes

    @property
    def place(self) -> str:
        return str(self._folder)

    def names(self) -> list[str]:
        try:
            found = [path for pattern in ("*", "*/*") for path in self._folder.glob(pattern) if path.is_file()]
        except OSError as err:
            raise ConfigurationError(f"{self._folder} cannot be listed: {err.strerror or err}") from err
        return sorted(path.relative_to(self._folder).as_posix() for path in found)

    def has(self, name: str) -> bool:
        return is_inside(name) and (self._folder / name).is_file()

    def read(self, name: str, *, limit_bytes: int) -> bytes:
        path = self._folder / name
        try:
            with path.open("rb") as reader:
                body = reader.read(limit_bytes + 1)
        except OSError as err:
            raise ConfigurationError(f"{path} cannot be read: {err.strerror or err}") from err
        if len(body) > limit_bytes:
            raise ConfigurationError(f"{path} is over {limit_bytes:,} bytes, which no file of its kind is")
        return body

    def size_bytes(self, name: str) -> int:
        path = self._folder / name
        try:
            return path.stat().st_size
        except OSError as err:
            raise ConfigurationError(f"{path} cannot be read: {err.strerror or err}") from err

    def sha256(self, name: str) -> str:
        return self._hashes.of_file(self._folder / name)


class StoreListing:
    """Objects under an s3:// prefix."""

    def __init__(self, uri: str, *, hashes: HashCache) -> None:
        self._store: Store = open_store(uri)
        self._hashes = hashes
        self._found: dict[str, ObjectInfo] | None = None

    @property
    def place(self) -> str:
        return self._store.uri

    def names(self) -> list[str]:
        return sorted(name for name in self._objects() if name.count("/") <= 1)

    def has(self, name: str) -> bool:
        return name in self._objects()

    def read(self, name: str, *, limit_bytes: int) -> bytes:
        if self._objects()[name].size_bytes > limit_bytes:
            raise ConfigurationError(f"{self.place}/{name} is over {limit_bytes:,} bytes, which no file of its kind is")
        return self._store.read(name, limit_bytes=limit_bytes)

    def size_bytes(self, name: str) -> int:
        return self._objects()[name].size_bytes

    def sha256(self, name: str) -> str:
        found = self._objects()[name]
        identity = (self.place, name, found.size_bytes, found.etag)
        return self._hashes.of_object(identity, lambda: self._store.sha256(name))

    def download(self, names: Iterable[str], *, folder: Path) -> None:
        """Write these objects below `folder`. Raises NotFoundError, TransientError, ConfigurationError."""
        for name in names:
            self._store.download(name, folder / name)

    def _objects(self) -> dict[str, ObjectInfo]:
        if self._found is None:
            self._found = {found.key: found for found in self._store.list("")}
        return self._found


def is_inside(name: str) -> bool:
    """Whether a relative name stays below its folder."""
    path = PurePosixPath(name)
    return bool(path.parts) and not path.is_absolute() and ".." not in path.parts and "\\" not in name
