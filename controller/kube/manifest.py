"""A submission as the Job that is sent to the API server. Pure: the same values give the same bytes."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from typing import NamedTuple

from pydantic import JsonValue

from controller.backend import Submission
from controller.kube.identity import MADE_WITH, Owner, RunPlace, annotations_of, canary_labels, labels_of
from controller.kube.merge import merged
from controller.kube.objects import REQUEST_ANNOTATION, JsonObject
from controller.kube.outdated import made_with
from controller.kube.pod_template import CONTAINER
from controller.kube.settings import ClusterSettings
from controller.kube.trial_pod import trial_pod
from controller.names import Naming
from controller.planning.request import request_bytes
from job.contract.config import Request, Source
from job.contract.errors import ExitCode, SpecError

__all__ = ["CANARY_DEADLINE_S", "canary_manifest", "gpus_of", "job_manifest", "settings_mark"]

# apimachinery's TotalAnnotationSizeLimitB, over keys and values of one object.
_ANNOTATIONS_LIMIT_BYTES = 256 * 2**10
_WORDS_LIMIT = 1000
CANARY_DEADLINE_S = 1800
"""From its admission: time for a cold node and a large image."""
_CANARY_TTL_S = 300


def job_manifest(submission: Submission, *, settings: ClusterSettings, place: RunPlace, gpus: int) -> JsonObject:
    """The Job of the submission, for a sweep whose Jobs ask for so many GPUs.

    Raises SpecError for a request that is too large, a store that pods cannot reach, and a source that is nowhere in
    the cluster.
    """
    naming = place.naming
    labels, annotations = labels_of(submission, naming), annotations_of(submission, naming)
    pod = _Pod(labels, annotations, _pod_spec(submission, settings, run_uri=naming.run_uri, gpus=gpus))
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": submission.name,
            "namespace": place.namespace,
            "labels": {**labels, **_queue_labels(settings)},
            "annotations": {
                **annotations,
                "lorasweep.io/configurations": _words(submission),
                MADE_WITH: settings_mark(settings, run_uri=naming.run_uri, gpus=gpus),
            },
            # Without blockOwnerDeletion, which needs a right on the owner's finalizers in some clusters.
            "ownerReferences": [_reference(place.owner)],
        },
        "spec": _job_spec(submission, settings, pod=pod),
    }


def settings_mark(settings: ClusterSettings, *, run_uri: str, gpus: int) -> str:
    """What all Jobs of the run are marked with, for a sweep whose Jobs ask for so many GPUs."""
    metadata = settings.pod_template.metadata
    template: JsonObject = {} if metadata is None else metadata.model_dump(mode="json", exclude_none=True)
    return made_with(trial_pod(settings, run_uri=run_uri, gpus=gpus), template, {**_queue_labels(settings)})


def canary_manifest(
    submission: Submission,
    *,
    settings: ClusterSettings,
    naming: Naming,
    namespace: str,
    gpus: int,
    release: Owner | None,
) -> JsonObject:
    """A Job whose pod is that of the submission, and looks at what it would need instead of training.

    Its labels name no run and no submission, so that no run takes it for one of its own. Raises as `job_manifest` does.
    """
    name = naming.canary()
    labels = canary_labels(naming)
    spec = _pod_spec(submission, settings, run_uri=naming.run_uri, gpus=gpus)
    pod = _Pod(labels, {}, merged(spec, {"containers": [{"name": CONTAINER, "args": ["--check"]}]}))
    owners: list[JsonValue] = [] if release is None else [_reference(release)]
    metadata: JsonObject = {"name": name, "namespace": namespace, "labels": {**labels, **_queue_labels(settings)}}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {**metadata, "ownerReferences": owners},
        "spec": {
            **_job_spec(submission, settings, pod=pod),
            # Whatever becomes of who made it: nothing of it stays.
            "activeDeadlineSeconds": CANARY_DEADLINE_S,
            "ttlSecondsAfterFinished": _CANARY_TTL_S,
        },
    }


class _Pod(NamedTuple):
    labels: dict[str, str]
    annotations: dict[str, str]
    spec: JsonObject


def _pod_spec(submission: Submission, settings: ClusterSettings, *, run_uri: str, gpus: int) -> JsonObject:
    _check_store(run_uri)
    for problem in _unreachable(submission.request, settings):
        raise SpecError(problem)
    return trial_pod(settings, run_uri=run_uri, gpus=gpus_of(submission.request, gpus=gpus))


def _job_spec(submission: Submission, settings: ClusterSettings, *, pod: _Pod) -> JsonObject:
    template = settings.pod_template.metadata
    annotations = {
        **((template and template.annotations) or {}),
        **pod.annotations,
        REQUEST_ANNOTATION: request_bytes(submission.request).decode(),
    }
    _check_annotations(annotations)
    return {
        "parallelism": 1,
        "completions": 1,
        # Retries are the controller's: no policy here can tell an out-of-memory kill from another exit 137.
        "backoffLimit": 0,
        "podReplacementPolicy": "Failed",
        "podFailurePolicy": _failure_policy(),
        # Kueue admits what is suspended; without Kueue the Job then waits, and does not pass by the queue.
        "suspend": settings.kueue.queue is not None,
        "template": {
            "metadata": {
                "labels": {**((template and template.labels) or {}), **pod.labels},
                "annotations": {**annotations},
            },
            "spec": pod.spec,
        },
    }


def _reference(owner: Owner) -> JsonObject:
    return {"apiVersion": "v1", "kind": "ConfigMap", "name": owner.name, "uid": owner.uid}


def gpus_of(request: Request, *, gpus: int) -> int:
    """How many GPUs the Job asks for: a trained group all, zero-shot one, lead-k none."""
    kinds = {trial.kind for trial in request.trials}
    if "lora" in kinds:
        return gpus
    return min(gpus, 1) if kinds - {"lead"} else 0


def _failure_policy() -> JsonObject:
    """A pod that was evicted or told to stop is replaced; any other end is the Job's, and the controller decides."""
    stopped = int(ExitCode.STOPPED)
    return {
        "rules": [
            {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
            {
                "action": "Ignore",
                "onExitCodes": {"containerName": CONTAINER, "operator": "In", "values": [stopped]},
            },
            {"action": "FailJob", "onExitCodes": {"operator": "NotIn", "values": [stopped]}},
        ]
    }


def _queue_labels(settings: ClusterSettings) -> dict[str, str]:
    labels = {"queue-name": settings.kueue.queue, "priority-class": settings.kueue.priority_class}
    return {f"kueue.x-k8s.io/{key}": value for key, value in labels.items() if value is not None}


def _words(submission: Submission) -> str:
    """The configurations by letter and label, for people who read the Job."""
    words = "; ".join(f"{trial.letter}: {trial.label}" for trial in submission.request.trials)
    return words if len(words) <= _WORDS_LIMIT else words[: _WORDS_LIMIT - 3] + "..."


def _check_store(run_uri: str) -> None:
    if not run_uri.startswith("s3://"):
        raise SpecError(
            f"the store of {run_uri!r} is a folder, which pods of a cluster cannot write to; "
            "name a bucket: --store s3://bucket/prefix"
        )


def _unreachable(request: Request, settings: ClusterSettings) -> Iterator[str]:
    fields: tuple[tuple[str, Source], ...] = (("model.id", request.model), ("data.source", request.data))
    paths = [volume.path for volume in settings.volumes]
    for field, source in fields:
        inside = posixpath.normpath(source.location) + "/"
        if source.kind == "path" and not any(inside.startswith(path + "/") for path in paths):
            known = ", ".join(paths) or "none is declared"
            yield (
                f"{field}: {source.location!r} is a path, and in the cluster it lies in no declared volume ({known}); "
                "use a hub id or an s3:// prefix, or declare the claim under `volumes` and write its path and digest"
            )


def _check_annotations(annotations: dict[str, str]) -> None:
    sizes = {key: len(key.encode()) + len(value.encode()) for key, value in annotations.items()}
    if (total := sum(sizes.values())) > _ANNOTATIONS_LIMIT_BYTES:
        listed = ", ".join(f"{key} {size:,}" for key, size in sorted(sizes.items(), key=lambda one: -one[1])[:3])
        raise SpecError(
            f"the pod's annotations have {total:,} bytes, {_ANNOTATIONS_LIMIT_BYTES:,} are allowed ({listed}); "
            "take annotations out of `pod_template.metadata`"
        )
