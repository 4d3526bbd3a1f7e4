"""The temporary folder of one cluster: its state, its logs, and the lock that says whether it lives.

The folder's name is also the name of the cluster's cgroup. The first process of the cluster holds the lock for as long
as it lives, so that a folder whose lock is free was left by a harness that was killed, and may be removed.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from servers.go_tool import cache_root, locked

PREFIX = "lorasweep-cluster-"
STANDING = f"{PREFIX}standing"
CGROUPS = Path("/sys/fs/cgroup")
UNIFIED_CONTROLLERS = "+cpu +cpuset +memory +pids"


class ClusterStandsError(Exception):
    """A cluster that was left standing still lives; the message names the remedy."""


@dataclass(frozen=True)
class ClusterFolder:
    """Where the parts of one cluster lie."""

    path: Path

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def kubeconfig(self) -> Path:
        return self.path / "kubeconfig"

    @property
    def record(self) -> Path:
        """What another process needs to use the cluster."""
        return self.path / "cluster.json"

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    @property
    def certificates(self) -> Path:
        return self.path / "certificates"

    @property
    def settings(self) -> Path:
        """Configuration files of the programs."""
        return self.path / "settings"

    @property
    def shadows(self) -> Path:
        """What the cluster sees in place of the machine's folders that its programs write to."""
        return self.path / "shadows"

    @property
    def buckets(self) -> Path:
        return self.path / "buckets"

    @property
    def lock(self) -> Path:
        return self.path / "lock"

    def cgroups(self) -> tuple[Path, ...]:
        """The cluster's cgroup in each hierarchy: one on cgroup v2, one for each controller on v1."""
        if (CGROUPS / "cgroup.controllers").exists():
            return (CGROUPS / self.name,)
        hierarchies = (path for path in sorted(CGROUPS.iterdir()) if path.is_dir() and not path.is_symlink())
        return tuple(path / self.name for path in hierarchies if (path / "cgroup.procs").exists())


def new_folder(*, standing: bool) -> tuple[ClusterFolder, int]:
    """An empty folder and its held lock, after removal of what killed harnesses left. Raises ClusterStandsError."""
    cache_root(os.environ).mkdir(parents=True, exist_ok=True)
    with locked(cache_root(os.environ) / "cluster-folders.lock"):
        remove_leftovers()
        if standing and standing_folder().path.exists():
            raise ClusterStandsError(f"a cluster stands already, in {standing_folder().path}: make cluster-down")
        folder = _made(standing=standing)
        return folder, _taken(folder)


def standing_folder() -> ClusterFolder:
    return ClusterFolder(Path(tempfile.gettempdir()) / STANDING)


def remove_leftovers() -> None:
    """Remove the folders and cgroups of clusters that live no more."""
    for path in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        folder = ClusterFolder(path)
        if not lives(folder):
            remove(folder)


def lives(folder: ClusterFolder) -> bool:
    """True while a process holds the folder's lock."""
    try:
        handle = os.open(folder.lock, os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False


def remove(folder: ClusterFolder) -> None:
    """Remove what a cluster that lives no more left: its cgroups and its files. Its mounts went with its namespaces."""
    for cgroup in folder.cgroups():
        for path, _, _ in os.walk(cgroup, topdown=False):
            with suppress(FileNotFoundError):
                Path(path).rmdir()
    shutil.rmtree(folder.path, ignore_errors=True)


def _made(*, standing: bool) -> ClusterFolder:
    if standing:
        folder = standing_folder()
        folder.path.mkdir(mode=0o700)
    else:
        folder = ClusterFolder(Path(tempfile.mkdtemp(prefix=PREFIX)))
    for path in (folder.logs, folder.certificates, folder.settings, folder.shadows, folder.buckets):
        path.mkdir()
    return folder


def make_cgroups(folder: ClusterFolder) -> None:
    """The kubelet puts all pods below this cgroup, and wants it to be there."""
    if (CGROUPS / "cgroup.controllers").exists():
        (CGROUPS / "cgroup.subtree_control").write_text(UNIFIED_CONTROLLERS, encoding="utf-8")
    for cgroup in folder.cgroups():
        cgroup.mkdir()


def _taken(folder: ClusterFolder) -> int:
    handle = os.open(folder.lock, os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(handle, fcntl.LOCK_EX)
    return handle


__all__ = [
    "ClusterFolder",
    "ClusterStandsError",
    "lives",
    "make_cgroups",
    "new_folder",
    "remove",
    "remove_leftovers",
    "standing_folder",
]
