"""One controller per run: a lock that the operating system takes back when its holder dies.

A folder store is locked in the folder, so that two machines which share it see each other (where the file system has
flock over the network). Another store is locked on this machine only; its names and conditional writes keep two
controllers from doing harm, the lock only keeps them from doing everything twice.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from controller.state_home import state_home
from job.contract.base import sha256_hex
from job.contract.errors import ConfigurationError, TransientError
from job.store.whole_file import explained

__all__ = ["control_lock", "has_controller", "lock_path", "run_lock"]

_NAME = ".controller.lock"
# Who looks whether there is a controller holds the lock for an instant, and must not be taken for one.
_GLANCE_S = 1.0
_PAUSE_S = 0.05


def lock_path(run_uri: str, *, environ: Mapping[str, str]) -> Path:
    """Where the lock of a run is."""
    if "://" not in run_uri:
        return Path(run_uri) / _NAME
    return state_home(environ) / "locks" / f"{sha256_hex(run_uri.encode())[:16]}.lock"


@contextmanager
def run_lock(path: Path, *, run_uri: str, now: datetime) -> Iterator[None]:
    """Hold the run. Raises TransientError saying who holds it when somebody else does."""
    descriptor = _opened(path, run_uri=run_uri)
    try:
        if not _taken(descriptor, within_s=_GLANCE_S):
            raise TransientError(
                f"run {run_uri} already has a controller: {_holder(descriptor)}; watch it with `lorasweep status "
                f"{run_uri} --watch`, or end it with Ctrl-C or `kill` and run this again"
            )
        with explained(path):
            _sign(descriptor, now)
        yield
    finally:
        os.close(descriptor)


def has_controller(path: Path) -> bool:
    """Whether somebody holds the run, as far as this lock tells."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


@contextmanager
def control_lock(run_uri: str, *, environ: Mapping[str, str]) -> Iterator[None]:
    """Hold control.json for the instant of a change, waiting for others; so that two people's wishes both stay.

    Machines that share a run in S3 do not see each other here: of two wishes in the same instant one may be lost.
    """
    path = lock_path(run_uri, environ=environ).with_suffix(".control")
    descriptor = _opened(path, run_uri=run_uri)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _opened(path: Path, *, run_uri: str) -> int:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
    except OSError as err:
        if err.errno in {errno.ENOSPC, errno.EDQUOT}:
            with explained(path):
                raise
        remedy = "set XDG_STATE_HOME to another place" if "://" in run_uri else "choose another --store"
        raise ConfigurationError(f"cannot lock run {run_uri}: {path}: {err.strerror}; {remedy}") from err


def _taken(descriptor: int, *, within_s: float) -> bool:
    deadline = time.monotonic() + within_s
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(_PAUSE_S)
        else:
            return True


def _sign(descriptor: int, now: datetime) -> None:
    holder = {"pid": os.getpid(), "host": socket.gethostname(), "since": now.isoformat(timespec="seconds")}
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, json.dumps(holder).encode(), 0)


def _holder(descriptor: int) -> str:
    try:
        holder = json.loads(os.pread(descriptor, 4096, 0))
        return f"process {holder['pid']} on {holder['host']} since {holder['since']}"
    except (ValueError, KeyError, TypeError):
        return "a process that has just started"
