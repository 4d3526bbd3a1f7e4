"""Under which name this process was called: `lorasweep`, or `kubectl lorasweep` as a plugin of kubectl."""

from __future__ import annotations

import sys
from pathlib import PurePath
from typing import Literal

__all__ = ["default_backend", "program"]

_PLUGIN = "kubectl-lorasweep"  # as kubectl looks for it on PATH


def program() -> tuple[str, ...]:
    """The words with which a person calls it again."""
    return ("kubectl", "lorasweep") if PurePath(sys.argv[0]).name == _PLUGIN else ("lorasweep",)


def default_backend() -> Literal["local", "kubernetes"]:
    """Where trials run unless a command says so: a plugin of kubectl is about a cluster."""
    return "local" if program() == ("lorasweep",) else "kubernetes"
