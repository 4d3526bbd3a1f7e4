"""Whose a Job is: the labels and annotations that say so, and what a name that is already taken means. Pure.

The same labels and annotations are on the Job and on its pods, so that a pod whose Job is gone still says which
trials it holds.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, NamedTuple

from controller.backend import Submission
from controller.kube.objects import JobObject, Metadata
from controller.names import Naming
from job.contract.base import sha256_hex
from job.contract.errors import PreflightError

__all__ = [
    "CANARY",
    "DISRUPTED",
    "MADE_WITH",
    "PREFIX",
    "RECORDED",
    "STOP",
    "Identity",
    "Owner",
    "RunPlace",
    "Standing",
    "annotations_of",
    "canary_labels",
    "identity_of",
    "labels_of",
    "run_labels",
    "same_submission",
    "selector",
]

PREFIX = "lorasweep.io/"
FORMAT = "1"
"""Of everything under PREFIX; another release may write another one, and neither half-reads the other's."""

# Labels, to be selected by.
SWEEP = PREFIX + "sweep"
RUN = PREFIX + "run"
RUN_HASH = PREFIX + "run-hash"  # store root, sweep and run: two stores may have runs of one name
GROUP = PREFIX + "group"
SUBMISSION = PREFIX + "submission"
TRIAL = PREFIX + "trial"  # where the Job has one
CANARY = PREFIX + "canary"
"""Of a Job that trains nothing and belongs to no run."""
# Annotations, to be read again.
_FORMAT = PREFIX + "format"
_NUMBER = PREFIX + "number"
_TRIALS = PREFIX + "trials"
_RUN_URI = PREFIX + "run-uri"
STOP = PREFIX + "stop"
"""When somebody asked the submission to end."""
RECORDED = PREFIX + "recorded"
"""When its end was put into the store; the Job is only kept for people to look at."""
MADE_WITH = PREFIX + "made-with"
"""A hash of all that the operator's settings decide about the pod; of the Job alone."""
DISRUPTED = PREFIX + "disrupted"
"""UIDs of pods that were evicted or stopped from outside and replaced; such pods leave no other trace."""

_NUMBER_TEXT = re.compile(r"[1-9][0-9]{0,8}")
_TRIALS_TEXT = re.compile(r"[0-9a-f]{12}(,[0-9a-f]{12})*")
_LABEL_LIMIT = 63
_LABEL_VALUE = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")


class Owner(NamedTuple):
    """The run's ConfigMap: deleting it deletes the run's Jobs."""

    name: str
    uid: str


@dataclass(frozen=True, slots=True)
class RunPlace:
    """Which run the Jobs belong to, and where they are made."""

    naming: Naming
    namespace: str
    owner: Owner


class Identity(NamedTuple):
    """What a Job or a pod of it says about itself."""

    name: str
    """Of the submission, and so of the Job."""
    number: int
    group_id: str
    trial_ids: tuple[str, ...]


Standing = Literal["adopted", "terminating", "finished", "recorded", "foreign"]
"""What an existing object of a submission's name is to it.

adopted: the submission itself, alive; there is nothing to do. terminating: the submission, or what an earlier run left
of it, being deleted; wait. finished: the submission, ended; its end is read like any other. recorded: its end was
recorded once, and is not in the store that asks now, so that the store was emptied since; delete it and submit again.
foreign: somebody else's; never touched.
"""


def run_labels(naming: Naming) -> dict[str, str]:
    """The labels that all objects of a run share."""
    return {
        SWEEP: naming.sweep,
        RUN: _label_value(naming.run),
        RUN_HASH: sha256_hex(naming.run_uri.encode())[:16],
    }


def selector(naming: Naming) -> str:
    """The label selector of everything that belongs to the run, as kubectl takes it."""
    return f"{RUN_HASH}={run_labels(naming)[RUN_HASH]}"


def labels_of(submission: Submission, naming: Naming) -> dict[str, str]:
    """The labels of a submission's Job and pods."""
    trial = {TRIAL: submission.trial_ids[0]} if len(submission.trial_ids) == 1 else {}
    return {
        "app.kubernetes.io/name": "lorasweep",
        "app.kubernetes.io/instance": naming.sweep,
        "app.kubernetes.io/component": "trial",
        "app.kubernetes.io/managed-by": "lorasweep",
        **run_labels(naming),
        GROUP: _label_value(submission.group_id),
        SUBMISSION: submission.name,
        **trial,
    }


def canary_labels(naming: Naming) -> dict[str, str]:
    """The labels of a Job that only looks, and of its pod: those of a trial for a NetworkPolicy, and of no run."""
    return {
        "app.kubernetes.io/name": "lorasweep",
        "app.kubernetes.io/instance": naming.sweep,
        "app.kubernetes.io/component": "trial",
        "app.kubernetes.io/managed-by": "lorasweep",
        CANARY: naming.canary(),
    }


def annotations_of(submission: Submission, naming: Naming) -> dict[str, str]:
    """The annotations of a submission's Job and pods, without the request."""
    return {
        _FORMAT: FORMAT,
        _NUMBER: str(submission.number),
        _TRIALS: ",".join(submission.trial_ids),
        _RUN_URI: naming.run_uri,
    }


def identity_of(metadata: Metadata) -> Identity | None:
    """What the labels and annotations say; None when they are not ours, or not whole.

    Raises PreflightError for those of another release.
    """
    labels, annotations = metadata.labels, metadata.annotations
    if SUBMISSION not in labels or _FORMAT not in annotations:
        return None
    name = labels[SUBMISSION]
    if annotations[_FORMAT] != FORMAT:
        raise PreflightError(
            f"Job {name!r} was made by another release of lorasweep (format {annotations[_FORMAT]!r}, this one has "
            f"{FORMAT!r}); end the run with that release, or delete it: kubectl delete job {name}"
        )
    number, trials = annotations.get(_NUMBER, ""), annotations.get(_TRIALS, "")
    if not (_NUMBER_TEXT.fullmatch(number) and _TRIALS_TEXT.fullmatch(trials) and GROUP in labels):
        return None
    return Identity(name, int(number), labels[GROUP], tuple(trials.split(",")))


def same_submission(job: JobObject, submission: Submission, place: RunPlace) -> Standing:
    """What the Job that has the submission's name already is to it.

    The name covers store, sweep, run, group and number by a hash; the labels say the same in full. Which trials of its
    group an earlier submission was asked for may differ, as some may have been done by then.
    """
    expected = labels_of(submission, place.naming)
    found = identity_of(job.metadata)
    ours = found is not None and found.number == submission.number
    if not ours or any(job.metadata.labels.get(key) != expected[key] for key in (SWEEP, RUN, RUN_HASH, GROUP)):
        return "foreign"
    owners = [owner for owner in job.metadata.owner_references if owner.kind == "ConfigMap"]
    if not any(owner.uid == place.owner.uid for owner in owners):
        # Our owner has this name now, so the Job's owner of the same name is gone and the garbage collector follows.
        return "terminating" if any(owner.name == place.owner.name for owner in owners) else "foreign"
    if RECORDED in job.metadata.annotations:
        return "terminating" if job.metadata.deletion_timestamp else "recorded"
    if job.end is not None:
        return "finished"
    return "terminating" if job.metadata.deletion_timestamp else "adopted"


def _label_value(text: str) -> str:
    """The text, or a short form with a hash where it is too long for a label; store names have no other characters."""
    if _LABEL_VALUE.fullmatch(text):
        return text
    short = re.sub(r"[^A-Za-z0-9._-]", "-", text)[: _LABEL_LIMIT - 10].strip("._-")
    return f"{short or 'x'}-{sha256_hex(text.encode())[:8]}"
