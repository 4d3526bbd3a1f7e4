"""A run as a few short texts, for the data of its ConfigMap: what `kubectl get configmap -o yaml` says of it. Pure."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Mapping
from typing import Literal

from controller.remedies import pause_text
from controller.report.text import first_line
from controller.states import Situation, TrialStatus
from job.contract.errors import TrialState

__all__ = ["UPDATED", "RunStanding", "counted", "run_status", "standing"]

UPDATED = "updated"
"""The key of the time at which the others were written."""
RunStanding = Literal["running", "waiting", "paused", "stopped", "finished"]
_ORDER: tuple[TrialState, ...] = ("succeeded", "failed", "stopped", "running", "waiting", "pending")
_TEXT_LIMIT = 500  # characters of a reason; an object should stay small


def run_status(
    situation: Situation, statuses: Mapping[str, TrialStatus], *, run: str, leading: str = ""
) -> dict[str, str]:
    """How the run stands: its state, counts, who leads, why the first trial of each kind waits or failed, and the
    command to look further.
    """
    said = {
        "state": standing(situation, statuses),
        "trials": counted(statuses),
        "leading": leading[:_TEXT_LIMIT],
        "waiting.paused": pause_text(situation, statuses, run=run),
        "look": shlex.join(["lorasweep", "status", run]),
    }
    reasons: dict[str, str] = {}
    for trial in situation.plan.trials:
        status = statuses[trial.trial_id]
        if status.reason is not None and status.state in {"waiting", "failed"}:
            text = f"{trial.letter}: {first_line(status.text)}"
            reasons.setdefault(f"{status.state}.{status.reason}", text[:_TEXT_LIMIT])
    return {key: text for key, text in said.items() if text} | reasons


def standing(situation: Situation, statuses: Mapping[str, TrialStatus]) -> RunStanding:
    """The run in one word; waiting when none of its trials runs."""
    wanted = situation.ledger.control.state
    if all(status.final for status in statuses.values()):
        return "stopped" if wanted == "stopped" else "finished"
    if wanted != "running":
        return wanted
    return "running" if any(status.state == "running" for status in statuses.values()) else "waiting"


def counted(statuses: Mapping[str, TrialStatus]) -> str:
    """`8 succeeded, 1 failed, 2 pending`."""
    counts = Counter(status.state for status in statuses.values())
    return ", ".join(f"{counts[state]} {state}" for state in _ORDER if counts[state]) or "none"
