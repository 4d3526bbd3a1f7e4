"""Whether a trial's result can be trusted: the one definition of done, for the controller, the job and the report."""

from __future__ import annotations

from job.contract.base import sha256_hex
from job.contract.config import PlannedTrial
from job.contract.documents import DOCUMENT_LIMIT_BYTES, Manifest, ManifestReference, Result, parse
from job.contract.errors import NotFoundError, ResultError
from job.store.keys import Keys
from job.store.protocol import Store

__all__ = ["load_manifest", "read_result"]


def read_result(store: Store, trial: PlannedTrial, *, full: bool) -> Result | None:
    """The trial's verified result, or None when there is none yet.

    Checks that the result parses and is of this trial, that its manifest has the size and SHA-256 that the result
    vouches for, and that every file of the manifest is there in its size; with `full` every file's SHA-256 as well.

    Raises ResultError for the first defect, TransientError and ConfigurationError as the store does.
    """
    key = Keys.result(trial.trial_id)
    try:
        body = store.read(key, limit_bytes=DOCUMENT_LIMIT_BYTES)
    except NotFoundError:
        return None
    except ResultError as err:
        raise _untrusted(trial, err) from err
    try:
        result = parse(Result, body, name=key)
        _check_identity(result, trial)
        manifest = load_manifest(store, result.manifest)
        _check_attempt(result, manifest)
        _check_files(store, manifest, full=full)
    except ResultError as err:
        raise _untrusted(trial, err) from err
    return result


def load_manifest(store: Store, reference: ManifestReference) -> Manifest:
    """The manifest that `reference` vouches for. Raises ResultError when it is missing, altered or not valid."""
    try:
        body = store.read(reference.key, limit_bytes=DOCUMENT_LIMIT_BYTES)
    except NotFoundError as err:
        raise ResultError(f"{reference.key} is missing") from err
    if len(body) != reference.size_bytes:
        raise ResultError(f"{reference.key} is {len(body):,} bytes, the result says {reference.size_bytes:,}")
    if sha256_hex(body) != reference.sha256:
        raise ResultError(f"{reference.key} has SHA-256 {sha256_hex(body)}, the result says {reference.sha256}")
    return parse(Manifest, body, name=reference.key)


def _check_identity(result: Result, trial: PlannedTrial) -> None:
    for field in ("trial_id", "adapter_id", "config_id"):
        found, planned = getattr(result, field), getattr(trial, field)
        if found != planned:
            raise ResultError(f"its {field} is {found!r}, the plan says {planned!r}")
    if result.config != trial.config:
        raise ResultError("its config is not the one that the plan has for this id")


def _check_attempt(result: Result, manifest: Manifest) -> None:
    expected = Keys.manifest(result.trial_id, result.attempt)
    if result.manifest.key != expected:
        raise ResultError(f"it names the manifest {result.manifest.key!r} and not its own attempt's, {expected!r}")
    if (manifest.trial_id, manifest.attempt) != (result.trial_id, result.attempt):
        raise ResultError(f"its manifest is of trial {manifest.trial_id!r}, attempt {manifest.attempt!r}")


def _check_files(store: Store, manifest: Manifest, *, full: bool) -> None:
    folder = Keys.attempt(manifest.trial_id, manifest.attempt)
    sizes = {found.key: found.size_bytes for found in store.list(folder)}
    for file in manifest.files:
        key = Keys.attempt_file(manifest.trial_id, manifest.attempt, file.path)
        if key not in sizes:
            raise ResultError(f"{key} is missing, the manifest lists it")
        if sizes[key] != file.size_bytes:
            raise ResultError(f"{key} is {sizes[key]:,} bytes, the manifest says {file.size_bytes:,}")
    if full:
        for file in manifest.files:
            _check_sha256(store, Keys.attempt_file(manifest.trial_id, manifest.attempt, file.path), file.sha256)


def _check_sha256(store: Store, key: str, expected: str) -> None:
    try:
        found = store.sha256(key)
    except NotFoundError as err:
        raise ResultError(f"{key} is missing, the manifest lists it") from err
    if found != expected:
        raise ResultError(f"{key} has SHA-256 {found}, the manifest says {expected}")


def _untrusted(trial: PlannedTrial, err: ResultError) -> ResultError:
    return ResultError(
        f"trial {trial.trial_id} ({trial.label}): the stored result cannot be trusted: {err}. "
        f"Run `lorasweep retry {trial.trial_id}` to have it made anew"
    )
