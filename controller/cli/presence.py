"""Who is at work on a run, as far as this machine can tell: locks, not heartbeats, where there are locks.

Limits
- A run in S3 may have its controller on any machine: unless it is on this one, or its cluster is named, only progress
  tells, and that is silent for five minutes before anything is said to have ended.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from controller.backend import Observed
from controller.local.backend import state_folder
from controller.local.family import families_folder
from controller.local.observation import lives
from controller.lock import has_controller, lock_path
from controller.states import TrialStatus

if TYPE_CHECKING:
    from controller.kube.onlook import Onlook

__all__ = ["Presence", "presence_in", "presence_on"]


class Presence(NamedTuple):
    """Whether a controller and which processes are at work."""

    controller: bool | None
    """None: nobody here can tell."""
    observed: tuple[Observed, ...] | None
    """What lives; None where progress has to tell."""

    def warning(self, statuses: Mapping[str, TrialStatus], *, begin: str) -> str:
        """That nobody brings the open trials to an end, and the command that does; empty where all is well."""
        if self.controller is not False or all(status.final for status in statuses.values()):
            return ""
        return f"no controller is running; go on with: {begin}"


def presence_on(run_uri: str) -> Presence:
    """Who is at work on the run of this place. Raises TransientError and ConfigurationError as the folder does."""
    held = has_controller(lock_path(run_uri, environ=os.environ))
    state = state_folder(os.environ, run_uri)
    observed = lives(state, families_folder(run_uri, state=state))
    if "://" in run_uri:
        return Presence(True if held else None, observed or None)
    if not held:
        observed = tuple(
            replace(seen, text="its controller is gone; it saves a checkpoint and ends") for seen in observed
        )
    return Presence(held, observed)


def presence_in(onlook: Onlook) -> Presence:
    """Who is at work on the run of a cluster. Raises PreflightError and TransientError as the API server does."""
    return Presence(onlook.is_led(), onlook.observed())
