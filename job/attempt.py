"""One process at work on one request."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from job.contract.config import Request
from job.stopping import StopSignal
from job.store import Store

__all__ = ["Attempt"]


@dataclass(frozen=True)
class Attempt:
    """What its trials have in common."""

    request: Request
    store: Store
    name: str
    """The pod's UID, or what a local backend calls the process."""
    work: Path
    """Scratch space on local disk."""
    log: Path
    stop: StopSignal
