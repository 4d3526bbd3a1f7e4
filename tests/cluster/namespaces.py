"""Network, mount and process namespaces of one cluster, entered with nsenter.

All that a cluster changes on the machine happens in here: routes, iptables, mounts, files below /run, /var/lib and
/var/log. When the first process ends the kernel ends all the others and drops all of that, so that nothing has to be
undone step by step, not even after a harness was killed. (`ip netns exec` would not do: it mounts /sys anew, and the
kubelet then finds no cgroups.)
"""

from __future__ import annotations

import ipaddress
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cluster.folder import ClusterFolder

PID_1 = Path(__file__).resolve().parent / "pid_1.py"
SHADOWED = ("/run", "/var/lib", "/var/log")
LINKS = ipaddress.ip_network("10.203.0.0/16")  # a /30 of it joins the machine and one cluster
LINK_TRIES = 64
START_AFTER_S = 10.0


class NamespacesError(Exception):
    """The namespaces could not be made; the message says what failed."""


@dataclass(frozen=True)
class Namespaces:
    """The namespaces of a cluster that lives, and the address of its node in them."""

    first_pid: int
    """The first process, as the machine counts."""
    node_address: str
    """Reached from the machine and from pods."""

    @property
    def machine_address(self) -> str:
        """The machine's own end of the link, for what a test lets pods reach."""
        return str(ipaddress.ip_address(self.node_address) - 1)

    def command(self, *command: str) -> list[str]:
        """The command as it runs inside."""
        return ["nsenter", "--target", str(self.first_pid), "--net", "--mount", "--pid", "--", *command]

    def enter(self, *command: str, timeout_s: float = 60.0) -> str:
        """What the command printed inside. Raises NamespacesError."""
        return _ran(self.command(*command), timeout_s=timeout_s)


@dataclass
class FirstProcess:
    """The process that the namespaces live and end with."""

    pid: int
    process: subprocess.Popen[bytes]

    def end(self) -> None:
        """Returns when no process of the namespaces is left."""
        self.process.kill()  # unshare takes its child along
        self.process.communicate()
        end_first_process(self.pid)


def start_namespaces(folder: ClusterFolder, *, lock: int, stay: bool) -> tuple[FirstProcess, Namespaces]:
    """New namespaces with loopback, a link to the machine, and shadows over the folders that programs write to.

    They end with this process, unless they are to stay. Raises NamespacesError.
    """
    first = _first_process(lock=lock, stay=stay)
    try:
        network = _link(first.pid)
        inside = Namespaces(first_pid=first.pid, node_address=str(network[2]))
        _set_up(inside, network=network, folder=folder)
    except BaseException:
        first.end()
        raise
    return first, inside


def end_first_process(pid: int) -> None:
    """End the process, and with it all of its namespaces; returns when it is gone."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    while Path(f"/proc/{pid}/ns/pid").exists() and not _is_zombie(pid):
        time.sleep(0.02)


def _first_process(*, lock: int, stay: bool) -> FirstProcess:
    process = subprocess.Popen(
        [
            *("unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"),
            *(sys.executable, "-I", str(PID_1), *(["--stay"] if stay else [])),
        ],
        stdin=subprocess.DEVNULL if stay else subprocess.PIPE,
        pass_fds=[lock],
        start_new_session=True,
    )
    deadline = time.monotonic() + START_AFTER_S
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    while time.monotonic() < deadline and process.poll() is None:
        pids = children.read_text(encoding="utf-8").split()
        # Until it runs its own program it has no /proc of its own namespace yet.
        if pids and str(PID_1) in Path(f"/proc/{pids[0]}/cmdline").read_text(encoding="utf-8"):
            return FirstProcess(pid=int(pids[0]), process=process)
        time.sleep(0.01)
    process.kill()
    raise NamespacesError("unshare made no namespaces: this needs the rights to make them (CAP_SYS_ADMIN)")


def _link(pid: int) -> ipaddress.IPv4Network:
    """A veth pair from the machine to the namespaces, on the first network that is free."""
    for name, network in _free_links():
        if _succeeds(["ip", "link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", str(pid)]):
            _ran(["ip", "address", "add", f"{network[1]}/{network.prefixlen}", "dev", name])
            _ran(["ip", "link", "set", name, "up"])
            return network
    raise NamespacesError(f"no free network in {LINKS} for the link to the cluster: see `ip route` and `ip link`")


def _free_links() -> Iterator[tuple[str, ipaddress.IPv4Network]]:
    routes = json.loads(_ran(["ip", "-json", "-4", "route"]))
    taken = [ipaddress.ip_network(route["dst"]) for route in routes if route["dst"] != "default"]
    networks = (network for network, _ in zip(LINKS.subnets(new_prefix=30), range(LINK_TRIES), strict=False))
    for number, network in enumerate(networks):
        if isinstance(network, ipaddress.IPv4Network) and not any(network.overlaps(route) for route in taken):
            yield f"lorasweep{number}", network


def _set_up(inside: Namespaces, *, network: ipaddress.IPv4Network, folder: ClusterFolder) -> None:
    lines = [
        "set -e",
        "ip link set lo up",
        f"ip address add {network[2]}/{network.prefixlen} dev eth0",
        "ip link set eth0 up",
        f"ip route add default via {network[1]}",
        "echo 1 > /proc/sys/net/ipv4/ip_forward",
    ]
    for place in SHADOWED:
        shadow = folder.shadows / place.strip("/").replace("/", "-")
        shadow.mkdir()
        lines.append(f"mount --bind '{shadow}' {place}")
    inside.enter("sh", "-c", "\n".join(lines))


def _is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def _succeeds(command: Sequence[str]) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def _ran(command: Sequence[str], *, timeout_s: float = 60.0) -> str:
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=timeout_s)
    if ended.returncode != 0:
        raise NamespacesError(f"{' '.join(command)} exited with {ended.returncode}: {ended.stdout}{ended.stderr}")
    return ended.stdout


__all__ = ["FirstProcess", "Namespaces", "NamespacesError", "end_first_process", "start_namespaces"]
