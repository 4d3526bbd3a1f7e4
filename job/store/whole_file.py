"""Local files that appear whole or not at all, and what a failing file system means to a person.

Whole means: after a crash a reader sees the old bytes or the new ones. A killed writer leaves a dot file behind.
"""

from __future__ import annotations

import errno
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from job.contract.errors import ConfigurationError, ResultError, SweepError, TransientError

__all__ = ["TEMPORARY", "explained", "flush", "flush_folder", "make_folder", "new_temporary", "write_whole"]

TEMPORARY = ".tmp-"
"""How the name of an unfinished file starts; no store key has a segment that starts with a dot."""

_NO_SPACE = {errno.ENOSPC, errno.EDQUOT}
_NO_RIGHTS = {errno.EACCES, errno.EPERM, errno.EROFS}
_NO_PLACE = {errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENOTEMPTY}
_NO_SUPPORT = {errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOLCK}
_ROUNDS = 10


@contextmanager
def write_whole(path: Path) -> Iterator[Path]:
    """A temporary path to fill; at the end of the block its bytes are at `path`, after an error nothing changed.

    Makes the folder. Raises TransientError when the disk is full, ConfigurationError without the rights.
    """
    with explained(path), new_temporary(path.parent) as temporary:
        yield temporary
        flush(temporary)
        temporary.replace(path)
        flush_folder(path.parent)


@contextmanager
def new_temporary(folder: Path) -> Iterator[Path]:
    """An empty file in `folder`, which is made as well; gone after the block unless it was renamed. Raises OSError."""
    temporary = _create(folder)
    try:
        yield temporary
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()


def flush(path: Path) -> None:
    """Bring the file's bytes onto the disk, stamped with the present nanosecond. Raises OSError."""
    # The kernel's own stamp moves every 4 ms: with the inode used again, two versions could look the same.
    now = time.time_ns()
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        os.utime(descriptor, ns=(now, now))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def flush_folder(folder: Path) -> None:
    """Bring the folder's list of names onto the disk. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as err:
        if err.errno != errno.EINVAL:  # some network file systems flush no folders, having written the name already
            raise
    finally:
        os.close(descriptor)


def make_folder(folder: Path) -> None:
    """Make `folder` and those above it, with their names on the disk. Raises OSError."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    try:
        folder.mkdir()
    except FileExistsError:
        if not folder.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder)) from None
    else:
        flush_folder(folder.parent)


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """A block in which an OSError about `path` becomes an error that says what to do."""
    try:
        yield
    except OSError as err:
        raise _as_ours(err, path) from err


def _create(folder: Path) -> Path:
    for left in reversed(range(_ROUNDS)):
        temporary = folder / f"{TEMPORARY}{os.getpid()}-{secrets.token_hex(8)}"
        try:
            make_folder(folder)
            # 0o666 less the umask, not mkstemp's 0o600: colleagues may read what a run wrote.
            os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o666))
        except FileNotFoundError:
            # A process that deletes may take the still empty folder away before our file is in it.
            if left:
                continue
            raise
        return temporary
    raise AssertionError("unreachable: the last round returns or raises")


def _as_ours(err: OSError, path: Path) -> SweepError:
    why = os.strerror(err.errno) if err.errno else str(err)
    if err.errno in _NO_SPACE:
        free = _free_bytes(path)
        return TransientError(f"{path}: {why}; {free} bytes are free without it. Make room, then run it again")
    if err.errno in _NO_RIGHTS:
        return ConfigurationError(f"{path}: {why}. Give user {os.getuid()} the rights, or choose another place")
    if err.errno in _NO_PLACE:
        return ConfigurationError(
            f"{path}: {why}. A file stands where a folder is needed, or the reverse; move it away"
        )
    if err.errno in _NO_SUPPORT:
        return ConfigurationError(
            f"{path}: {why}. A store needs a file system with locks and hard links; choose another"
        )
    if err.errno == errno.ENAMETOOLONG:
        return ResultError(f"{path}: {why}. Choose shorter names")
    return TransientError(f"{path}: {why}. Check the disk or the mount, then run it again")


def _free_bytes(path: Path) -> int:
    for folder in path.parents:
        with suppress(OSError):
            found = os.statvfs(folder)
            return found.f_bavail * found.f_frsize
    return 0
