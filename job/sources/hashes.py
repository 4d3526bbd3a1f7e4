"""SHA-256 of files, remembered: a 5 GB model is hashed once, and a second `plan` answers at once.

Limits
- A file is taken as unchanged when its path, device, inode, size and both its times are. Whoever writes to it without
  moving its change time (by writing to the disk below the file system) is not seen.
"""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Callable
from pathlib import Path

from job.contract.base import canonical_json, sha256_hex
from job.contract.errors import ConfigurationError, TransientError
from job.store.hashing import file_sha256

__all__ = ["HashCache", "default_cache"]

logger = logging.getLogger(__name__)

_HEX = re.compile(rb"[0-9a-f]{64}")
# A file as young as its clock tick could change once more and look the same (as in git's "racy" index entries).
_RACY_NS = 2_000_000_000


def default_cache() -> Path:
    """`$XDG_CACHE_HOME/lorasweep`, or `~/.cache/lorasweep` where that is not an absolute path, as XDG asks.

    Raises ConfigurationError for a user without a home directory.
    """
    given = Path(os.environ.get("XDG_CACHE_HOME", ""))
    try:
        base = given if given.is_absolute() else Path.home() / ".cache"
    except RuntimeError as err:
        raise ConfigurationError(
            "no place for copies of models and data: this user has no home directory; set XDG_CACHE_HOME to the "
            "absolute path of a folder"
        ) from err
    return base / "lorasweep"


class HashCache:
    """Remembered hashes, one small file each; a cache that cannot be written only costs time."""

    def __init__(self, cache: Path) -> None:
        self._folder = cache / "sha256"

    def of_file(self, path: Path) -> str:
        """SHA-256 of the file's bytes, 64 hex digits.

        Raises ConfigurationError when it cannot be read, TransientError when it changes meanwhile.
        """
        try:
            real = path.resolve(strict=True)
            before = _identity(real)
            known = self._recall(before)
            if known is not None:
                return known
            digest = file_sha256(real)
            after = _identity(real)
        except OSError as err:
            raise ConfigurationError(f"{path} cannot be read: {err.strerror or err}") from err
        if after != before:
            raise TransientError(f"{path} changed while it was read; run this again when it is at rest")
        if time.time_ns() - max(before[-1], before[-2]) > _RACY_NS:
            self._remember(before, digest)
        return digest

    def of_object(self, identity: tuple[str, str, int, str], compute: Callable[[], str]) -> str:
        """What `compute` gave for an object of this URI, key, size and tag."""
        known = self._recall(identity)
        if known is None:
            known = compute()
            self._remember(identity, known)
        return known

    def _recall(self, identity: tuple[str | int, ...]) -> str | None:
        try:
            body = (self._folder / _name(identity)).read_bytes()
        except OSError:
            return None
        return body.decode() if _HEX.fullmatch(body) else None

    def _remember(self, identity: tuple[str | int, ...], digest: str) -> None:
        path = self._folder / _name(identity)
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_bytes(digest.encode())
            temporary.replace(path)
        except OSError as err:
            logger.debug("hash not remembered path=%s error=%s", path, err)


def _identity(path: Path) -> tuple[str, int, int, int, int, int]:
    found = path.stat()
    return (str(path), found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def _name(identity: tuple[str | int, ...]) -> str:
    return sha256_hex(canonical_json(list(identity)))
