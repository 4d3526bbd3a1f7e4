"""The long-running programs of a cluster: started in its namespaces, stopped and started again by name."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cluster.folder import ClusterFolder
from cluster.namespaces import Namespaces

TAIL_LINES = 15
STOP_AFTER_S = 20


@dataclass(frozen=True)
class Program:
    """How a program is run."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)


class ProgramEndedError(Exception):
    """A program ended by itself; the message ends with its log."""


@dataclass
class Programs:
    """The programs of one cluster. Their ids lie in its folder, so that another process can stop them too."""

    inside: Namespaces
    folder: ClusterFolder
    by_name: Mapping[str, Program]
    _started: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self, name: str) -> None:
        program = self.by_name[name]
        # The shell leaves its id, as counted inside, and becomes the program.
        shell = f"echo $$ > '{self._id_file(name)}'; exec \"$@\""
        with self.log(name).open("ab") as log:
            self._started[name] = subprocess.Popen(
                self.inside.command("sh", "-c", shell, "sh", *program.command),
                env={"PATH": os.defpath + ":/usr/sbin:/sbin", "HOME": "/root", **program.environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C in a terminal reaches the harness alone
            )

    def stop(self, name: str, *, signal_name: str = "TERM") -> None:
        """Returns when the program is gone; one that does not go is killed."""
        pid = self._id_file(name).read_text(encoding="utf-8").strip()
        waiting = f"timeout {STOP_AFTER_S} tail --pid={pid} -f /dev/null"
        self.inside.enter("sh", "-c", f"kill -{signal_name} {pid} && {{ {waiting} || kill -KILL {pid}; }}")
        if process := self._started.pop(name, None):
            process.wait()

    def require_running(self) -> None:
        """Raises ProgramEndedError if one that was started here has ended."""
        for name, process in self._started.items():
            if process.poll() is not None:
                raise ProgramEndedError(f"{name} ended with {process.returncode}\n{self.tail(name)}")

    def log(self, name: str) -> Path:
        return self.folder.logs / f"{name}.log"

    def tail(self, name: str) -> str:
        if not self.log(name).exists():
            return f"--- {name}: never started"
        lines = self.log(name).read_text(encoding="utf-8", errors="replace").splitlines()[-TAIL_LINES:]
        return "\n".join([f"--- {name}, the end of {self.log(name)}", *(line[:400] for line in lines)])

    def tails(self) -> str:
        return "\n".join(self.tail(name) for name in self.by_name)

    def _id_file(self, name: str) -> Path:
        return self.folder.settings / f"{name}.pid"


__all__ = ["Program", "ProgramEndedError", "Programs"]
