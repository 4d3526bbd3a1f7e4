"""Names of what packed can be run without; packed.without does it, and needs torch."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["ABLATIONS", "PER_LANE"]

PER_LANE = "start"
"""Needs no patch: each trial is a request of its own."""
ABLATIONS: Mapping[str, str] = {
    "head": "head on all positions instead of those with a target",
    "order": "rows in their own order instead of sorted by length within a step",
    "width": "the other width: all lanes in one pass on a CPU, one at a time on a GPU",
    "read": "evaluation reads each prompt twice",
    PER_LANE: "started anew for each trial",
}
