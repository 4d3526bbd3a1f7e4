"""Jobs that wait for what was mended since: a corrected image reaches a Job that waits for the wrong one. Pure.

A Job's pod cannot be changed. A Job of which no process has begun is made anew when the settings have changed; one
that has trained, or trains, keeps its pod, and its successor has the new one.
"""

from __future__ import annotations

from controller.kube.identity import DISRUPTED, MADE_WITH
from controller.kube.objects import JsonObject
from controller.kube.sighting import Sighting
from job.contract.base import canonical_json, sha256_hex

__all__ = ["is_outdated", "made_with"]


def made_with(pod: JsonObject, template: JsonObject, labels: JsonObject) -> str:
    """The mark of a pod's spec, of what the operator adds to its metadata, and of the Job's queue."""
    return sha256_hex(canonical_json([pod, template, labels]))[:16]


def is_outdated(sighting: Sighting, *, mark: str) -> bool:
    """Whether its Job waits, has never run, and would be made otherwise now."""
    job = sighting.job
    if job is None or sighting.job_gone or job.end is not None or job.closing or sighting.stopping:
        return False
    if job.metadata.deletion_timestamp is not None or sighting.newest_begun is not None:
        return False
    annotations = job.metadata.annotations
    # A Job without the mark was made by an earlier release.
    return DISRUPTED not in annotations and annotations.get(MADE_WITH, mark) != mark
