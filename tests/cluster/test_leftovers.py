"""A cluster leaves nothing behind, and one whose harness was killed does not stop the next."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from cluster.cluster import Cluster, boot
from cluster.folder import ClusterFolder, lives, new_folder, remove
from cluster.waiting import wait_for

TESTS = Path(__file__).resolve().parent.parent
BOOT_AND_WAIT = """
import os, signal
from cluster.cluster import boot
print(boot(os.environ).folder.path, flush=True)
signal.pause()
"""


def traces(folder: ClusterFolder) -> list[str]:
    """What of a cluster is on the machine: its folder, its cgroups, and processes that name it."""
    found = [str(path) for path in (folder.path, *folder.cgroups()) if path.exists()]
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_text(encoding="utf-8", errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if folder.name in command and process.name != str(os.getpid()):
            found.append(f"{process.name}: {command[:200]!r}")
    return found


def links() -> set[str]:
    return {path.name for path in Path("/sys/class/net").iterdir() if path.name.startswith("lorasweep")}


def test_a_cluster_beside_another_leaves_nothing_when_it_is_taken_down(cluster: Cluster) -> None:
    before = links()
    other = boot(os.environ)
    try:
        assert other.inside.node_address != cluster.inside.node_address
        assert links() > before
    finally:
        other.down()
    assert traces(other.folder) == []
    assert links() == before
    cluster.wait_until_ready()


def test_what_a_killed_harness_left_is_gone_after_the_next_start() -> None:
    before = links()
    with subprocess.Popen(
        [sys.executable, "-c", BOOT_AND_WAIT],
        env={**os.environ, "PYTHONPATH": str(TESTS)},
        stdout=subprocess.PIPE,
        text=True,
    ) as harness:
        assert harness.stdout is not None
        killed = ClusterFolder(Path(harness.stdout.readline().strip()))
        assert lives(killed)
        harness.send_signal(signal.SIGKILL)
    wait_for("the killed harness's cluster to end", lambda: not lives(killed))
    assert killed.path.exists()
    wait_for("its link to go", lambda: links() == before)

    folder, lock = new_folder(standing=False)
    os.close(lock)
    remove(folder)
    assert traces(killed) == []
