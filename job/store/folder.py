"""A store in a local or shared folder.

An object is a file: written beside its place, brought to the disk, then renamed. Writers hold the root's lock
shared while they rename, and a delete holds it alone: the tag that it compared is the tag of what it removes, and no
folder that it takes away as empty is in use.

Limits
- Needs hard links and flock, as ext4, XFS, Btrfs, APFS, tmpfs and NFSv4 have them.
- Where names differ by case only (macOS, SMB), so must no two keys; ours are lower case but for attempt names.
- On a file system whose time stamps are coarse, two versions of the same size within a stamp can share a tag.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from io import BufferedReader
from pathlib import Path

from job.contract.errors import ConfigurationError, NotFoundError, ResultError, TransientError
from job.store.keys import check_object, check_prefix, is_key
from job.store.protocol import ObjectInfo, Store
from job.store.whole_file import TEMPORARY, explained, flush, flush_folder, new_temporary, write_whole

__all__ = ["FolderStore"]

_LOCK = ".store.lock"
_ROUNDS = 10


class FolderStore:
    """Objects as files under one folder, which is made by the first write."""

    def __init__(self, root: str | Path) -> None:
        self._root = Path(root).expanduser().resolve()

    @property
    def uri(self) -> str:
        return str(self._root)

    def read(self, key: str, *, limit_bytes: int) -> bytes:
        path = self._path(key)
        with explained(path), _opened(path, key) as file:
            size = os.fstat(file.fileno()).st_size
            if size > limit_bytes:
                raise ResultError(f"{path} is {size:,} bytes, over the limit of {limit_bytes:,}; it is not ours")
            return file.read(limit_bytes)

    def put(self, key: str, body: bytes) -> None:
        self._replace(self._path(key), lambda temporary: _fill(temporary, body))

    def put_once(self, key: str, body: bytes) -> bool:
        path = self._path(key)
        with explained(path), new_temporary(path.parent) as temporary:
            temporary.write_bytes(body)
            flush(temporary)
            for _ in range(_ROUNDS):
                if self._link(temporary, path):
                    return True
                with suppress(NotFoundError):  # deleted since: the key is free again
                    return _holds(path, key, body)
        raise TransientError(f"{path} came and went {_ROUNDS} times while it was written; run it again")

    def upload(self, key: str, path: Path) -> None:
        target = self._path(key)
        with explained(path), path.open("rb") as reader:
            self._replace(target, lambda temporary: _copy(reader, temporary))

    def download(self, key: str, path: Path) -> None:
        source = self._path(key)
        with explained(source), _opened(source, key) as reader, write_whole(path) as temporary:
            _copy(reader, temporary)

    def sha256(self, key: str) -> str:
        path = self._path(key)
        with explained(path), _opened(path, key) as reader:
            return hashlib.file_digest(reader, "sha256").hexdigest()

    def stat(self, key: str) -> ObjectInfo | None:
        path = self._path(key)
        with explained(path):
            return _info(path, key)

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        folder = self._inside(check_prefix(prefix).rstrip("/"))
        return self._walk(folder, prefix)

    def delete(self, key: str, *, etag: str | None = None) -> bool:
        path = self._path(key)
        with explained(path):
            if _info(path, key) is None:
                return False
            with self._locked(fcntl.LOCK_EX):
                found = _info(path, key)
                if found is None or (etag is not None and found.etag != etag):
                    return False
                path.unlink()
                flush_folder(path.parent)
                self._remove_empty(path.parent)
        return True

    def discard_unfinished(self, prefix: str, *, before: datetime) -> int:
        folder = self._inside(check_prefix(prefix).rstrip("/"))
        count = 0
        for path in folder.rglob(f"{TEMPORARY}*"):
            with explained(path), suppress(FileNotFoundError):
                if path.lstat().st_mtime < before.timestamp():
                    path.unlink()
                    count += 1
        return count

    def _path(self, key: str) -> Path:
        return self._inside(check_object(key))

    def _inside(self, key: str) -> Path:
        path = self._root / key
        if Path(os.path.realpath(path)) != path or path.is_symlink():  # the second: a link to itself
            raise ResultError(f"{path} passes through a symbolic link; a store holds plain files only. Remove the link")
        return path

    def _replace(self, path: Path, fill: Callable[[Path], None]) -> None:
        with explained(path), new_temporary(path.parent) as temporary:
            fill(temporary)
            flush(temporary)
            with self._locked(fcntl.LOCK_SH):
                temporary.replace(path)
                flush_folder(path.parent)

    def _link(self, temporary: Path, path: Path) -> bool:
        """True when `path` is new and now holds the temporary's bytes, False when it was taken."""
        try:
            with self._locked(fcntl.LOCK_SH):
                os.link(temporary, path)
                flush_folder(path.parent)
        except FileExistsError:
            return False
        except OSError as err:
            if err.errno not in {errno.EPERM, errno.EMLINK}:  # how Linux says that the file system has none
                raise
            raise ConfigurationError(f"{path}: no hard links here; choose another file system") from err
        return True

    @contextmanager
    def _locked(self, kind: int) -> Iterator[None]:
        descriptor = os.open(self._root / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
        try:
            fcntl.flock(descriptor, kind)
            yield
        finally:
            os.close(descriptor)

    def _remove_empty(self, folder: Path) -> None:
        while folder != self._root:
            try:
                folder.rmdir()
            except OSError:  # in use again, or already gone: tidiness only
                return
            folder = folder.parent

    def _walk(self, folder: Path, prefix: str) -> Iterator[ObjectInfo]:
        with explained(folder):
            for name in _sorted_names(folder):
                if name.endswith("/"):
                    yield from self._walk(folder / name, prefix + name)
                elif is_key(prefix + name) and (found := _info(folder / name, prefix + name)) is not None:
                    yield found


@contextmanager
def _opened(path: Path, key: str) -> Iterator[BufferedReader]:
    missing = NotFoundError(f"there is no {key!r} in this store: {path}")
    try:
        # Neither follow a link nor wait for the other end of a pipe.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except (FileNotFoundError, NotADirectoryError):
        raise missing from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise missing
    with os.fdopen(descriptor, "rb") as file:
        yield file


def _info(path: Path, key: str) -> ObjectInfo | None:
    try:
        found = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    if not stat.S_ISREG(found.st_mode):
        return None
    return ObjectInfo(key, found.st_size, f"{found.st_mtime_ns:x}-{found.st_size:x}-{found.st_ino:x}")


def _sorted_names(folder: Path) -> list[str]:
    """The names to list, folders with a slash, in the order of whole keys (`a-b` before `a/b`, as S3 has it)."""
    try:
        with os.scandir(folder) as entries:
            return sorted(
                entry.name + "/" if entry.is_dir(follow_symlinks=False) else entry.name
                for entry in entries
                if not entry.name.startswith(".")
            )
    except (FileNotFoundError, NotADirectoryError):
        return []


def _holds(path: Path, key: str, body: bytes) -> bool:
    with _opened(path, key) as file:
        return file.read(len(body) + 1) == body


def _fill(temporary: Path, body: bytes) -> None:
    temporary.write_bytes(body)


def _copy(reader: BufferedReader, temporary: Path) -> None:
    with temporary.open("wb") as writer:
        shutil.copyfileobj(reader, writer, 2**20)


_: type[Store] = FolderStore
