"""A submission as the Job that is sent to the API server. Pure: the same values give the same bytes."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator

from controller.backend import Submission
from controller.kube.identity import RunPlace, annotations_of, labels_of
from controller.kube.objects import REQUEST_ANNOTATION, JsonObject
from controller.kube.pod_template import CONTAINER
from controller.kube.settings import ClusterSettings
from controller.kube.trial_pod import trial_pod
from controller.planning.request import request_bytes
from job.contract.config import Request, Source
from job.contract.errors import ExitCode, SpecError

__all__ = ["gpus_of", "job_manifest"]

# apimachinery's TotalAnnotationSizeLimitB, over keys and values of one object.
_ANNOTATIONS_LIMIT_BYTES = 256 * 2**10
_WORDS_LIMIT = 1000


def job_manifest(submission: Submission, *, settings: ClusterSettings, place: RunPlace, gpus: int) -> JsonObject:
    """The Job of the submission, for a sweep whose Jobs ask for so many GPUs.

    Raises SpecError for a request that is too large, a store that pods cannot reach, and a source that is nowhere in
    the cluster.
    """
    naming = place.naming
    _check_store(naming.run_uri)
    for problem in _unreachable(submission.request, settings):
        raise SpecError(problem)
    labels, annotations = labels_of(submission, naming), annotations_of(submission, naming)
    template = settings.pod_template.metadata
    pod_labels = {**((template and template.labels) or {}), **labels}
    pod_annotations = {
        **((template and template.annotations) or {}),
        **annotations,
        REQUEST_ANNOTATION: request_bytes(submission.request).decode(),
    }
    _check_annotations(pod_annotations)
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": submission.name,
            "namespace": place.namespace,
            "labels": {**labels, **_queue_labels(settings)},
            "annotations": {**annotations, "lorasweep.io/configurations": _words(submission)},
            # Without blockOwnerDeletion, which needs a right on the owner's finalizers in some clusters.
            "ownerReferences": [
                {"apiVersion": "v1", "kind": "ConfigMap", "name": place.owner.name, "uid": place.owner.uid}
            ],
        },
        "spec": {
            "parallelism": 1,
            "completions": 1,
            # Retries are the controller's: no policy here can tell an out-of-memory kill from another exit 137.
            "backoffLimit": 0,
            "podReplacementPolicy": "Failed",
            "podFailurePolicy": _failure_policy(),
            # Kueue admits what is suspended; without Kueue the Job then waits, and does not pass by the queue.
            "suspend": settings.kueue.queue is not None,
            "template": {
                "metadata": {"labels": {**pod_labels}, "annotations": {**pod_annotations}},
                "spec": trial_pod(settings, run_uri=naming.run_uri, gpus=gpus_of(submission.request, gpus=gpus)),
            },
        },
    }


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
