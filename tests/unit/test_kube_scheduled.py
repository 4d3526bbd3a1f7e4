"""Runs that a CronJob started are called by their time, in UTC."""

from __future__ import annotations

import pytest

from controller.kube.scheduled import SCHEDULED_FOR, scheduled_run
from job.contract.errors import TransientError

MADE = "2026-11-23T02:30:07Z"


@pytest.mark.parametrize(
    ("scheduled", "run"),
    [
        ("2026-11-23T02:30:00Z", "20261123-0230z"),
        ("2026-11-23T02:30:00+01:00", "20261123-0130z"),
        ("2026-07-01T00:15:00+02:00", "20260630-2215z"),
        ("2026-03-08T23:45:00-05:00", "20260309-0445z"),
    ],
)
def test_a_scheduled_run_is_called_by_the_time_it_was_due(scheduled: str, run: str) -> None:
    assert scheduled_run({"metadata": {"creationTimestamp": MADE, "annotations": {SCHEDULED_FOR: scheduled}}}) == run


@pytest.mark.parametrize("annotations", [None, {}, {"cronjob.kubernetes.io/instantiate": "manual"}])
def test_one_that_was_started_by_hand_is_called_by_when_it_was_made(annotations: dict[str, str] | None) -> None:
    assert scheduled_run({"metadata": {"creationTimestamp": MADE, "annotations": annotations}}) == "20261123-0230z"


def test_a_job_without_a_time_is_looked_at_again() -> None:
    with pytest.raises(TransientError, match="Job 'nightly-1' has no time that can be read: 'soon'"):
        scheduled_run({"metadata": {"name": "nightly-1", "annotations": {SCHEDULED_FOR: "soon"}}})
