"""A namespace of one test."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from cluster.kubectl import Kubectl
from cluster.waiting import wait_for

__all__ = ["Namespace", "PodEndedError"]

ENDED = ("Succeeded", "Failed")


class PodEndedError(Exception):
    """A pod ended in another way than the test waited for; the message has its log."""


@dataclass(frozen=True)
class Namespace:
    """A namespace of its own for one test, in which Pod Security `restricted` is enforced."""

    name: str
    kubectl: Kubectl
    """Speaks of this namespace."""

    def wait_for_phase(self, name: str, phase: str, *, deadline_s: float = 90.0) -> dict[str, Any]:
        """The pod, once it is in that phase. Raises WaitedInVainError, PodEndedError."""

        def look() -> dict[str, Any] | None:
            pod = self.kubectl.get("pod", name)
            seen = pod["status"].get("phase", "")
            if seen in ENDED and seen != phase:
                raise PodEndedError(
                    f"pod {name} was to be {phase} and is {seen}; its log:\n{self.kubectl('logs', name)}"
                )
            return pod if seen == phase else None

        return wait_for(f"pod {name} to be {phase}", look, deadline_s=deadline_s)
