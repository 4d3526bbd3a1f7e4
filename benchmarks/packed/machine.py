"""`python -m packed.machine FILE`: what torch sees, as JSON.

The parent imports no torch: a child's peak memory begins with what its parent held.
"""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple

from packed.process import BenchmarkError, run

__all__ = ["Machine", "machine_here"]

_PACKAGES = ("lorasweep", "torch", "transformers", "peft", "trl", "accelerate", "datasets", "tokenizers")


class Machine(NamedTuple):
    """Where it was measured, and with what."""

    device: str
    on_cuda: bool
    threads: int
    """Of torch, in one process."""
    cores: int
    system: str
    versions: Mapping[str, str]

    def in_words(self) -> str:
        """One line."""
        packages = ", ".join(f"{name} {number}" for name, number in self.versions.items())
        return f"{self.device}, {self.cores} cores, {self.threads} threads a process, {self.system}; {packages}"


def machine_here(folder: Path) -> Machine:
    """This one. Raises BenchmarkError without trl, which half of the comparison is."""
    path = folder / "machine.json"
    run("packed.machine", str(path), log=folder / "machine.txt")
    return Machine(**json.loads(path.read_bytes()))


def require_trl(machine: Machine) -> None:
    """Raises BenchmarkError without trl."""
    if "trl" not in machine.versions:
        raise BenchmarkError(
            "trl is not installed; `make setup` installs it, or leave it out with --ways reference,packed"
        )


def _main() -> int:
    import torch

    from job.device import choose_device, describe_device

    device = choose_device()
    versions = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    found = Machine(
        device=describe_device(device).name,
        on_cuda=device.type == "cuda",
        threads=torch.get_num_threads(),
        cores=os.cpu_count() or 1,
        system=f"{platform.system()} {platform.release().partition('-')[0]}",
        versions=versions,
    )
    Path(sys.argv[1]).write_text(json.dumps(found._asdict()), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(_main())
