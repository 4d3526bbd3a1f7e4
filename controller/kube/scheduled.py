"""What a run is called that a CronJob started: by the time for which it was scheduled. Pure."""

from __future__ import annotations

from datetime import UTC, datetime

from controller.kube.api import Object
from job.contract.errors import TransientError

__all__ = ["SCHEDULED_FOR", "scheduled_run"]

SCHEDULED_FOR = "batch.kubernetes.io/cronjob-scheduled-timestamp"
"""Of a CronJob's Jobs, not of their pods (KEP-4026; on since Kubernetes 1.28). One made by hand has none."""


def scheduled_run(job: Object) -> str:
    """`YYYYMMDD-HHMMz`, in UTC; of a Job that nothing scheduled, by when it was made.

    The same for every pod of the Job, so that one that takes over goes on with the same run. Raises TransientError for
    an object without a time that can be read.
    """
    metadata = job["metadata"]
    text = (metadata.get("annotations") or {}).get(SCHEDULED_FOR) or metadata.get("creationTimestamp") or ""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as err:
        raise TransientError(f"Job {metadata.get('name')!r} has no time that can be read: {text!r}") from err
    return moment.astimezone(UTC).strftime("%Y%m%d-%H%Mz")
