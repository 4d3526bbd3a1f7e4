"""Names of submissions: the same for the same work, wherever and whenever they are computed.

A name is also a Kubernetes Job's, so it goes into a label value: at most 63 characters of a DNS-1123 label
(kubernetes/kubernetes#50850), with room for the six characters that a pod name adds.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from job.contract.base import canonical_json, sha256_hex

__all__ = ["NAME_LIMIT", "Naming"]

NAME_LIMIT = 57  # 63 for a label value, less the "-xxxxx" of a pod
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class Naming:
    """What, besides its trials, tells one submission from another's in the same namespace."""

    root: str
    """Store root, as an absolute path or s3:// URI."""
    sweep: str
    run: str

    @property
    def run_uri(self) -> str:
        """Where the run's documents are."""
        return f"{self.root.rstrip('/')}/{self.sweep}/{self.run}"

    def submission(self, trial_ids: Sequence[str], number: int) -> str:
        """`<sweep>-<h8>-<number>`: of the group with these trials, the submission with this number from 1.

        Raises ValueError for a sweep name that is no DNS-1123 label of at most 40 characters, or a number below 1.
        """
        if number < 1:
            raise ValueError(f"submission number {number} is below 1")
        return f"{_base(self, tuple(trial_ids))}-{number}"

    def sample(self, trial_ids: Sequence[str]) -> str:
        """`<sweep>-<h8>-0`: what a submission is called that is never made, so that no real one is in its way."""
        return f"{_base(self, tuple(trial_ids))}-0"

    def canary(self) -> str:
        """`<sweep>-canary-<h8>`: of the Job that looks at what this run's trials would find."""
        return f"{self.sweep}-canary-{sha256_hex(self.run_uri.encode())[:8]}"


@lru_cache(maxsize=65536)  # a plan has up to 10,000 groups, and every poll asks for all of them
def _base(naming: Naming, trial_ids: tuple[str, ...]) -> str:
    if not _LABEL.fullmatch(naming.sweep) or len(naming.sweep) > 40:
        raise ValueError(f"sweep name {naming.sweep!r} is not a DNS-1123 label of at most 40 characters")
    digest = sha256_hex(canonical_json([naming.root.rstrip("/"), naming.sweep, naming.run, sorted(trial_ids)]))
    return f"{naming.sweep}-{digest[:8]}"
