"""Whether a trial's result can be trusted, down to the last byte of its files; for the controller and the job."""

from __future__ import annotations

from typing import NamedTuple

from job.contract.base import sha256_hex
from job.contract.config import PlannedTrial
from job.contract.documents import DOCUMENT_LIMIT_BYTES, Manifest, ManifestReference, Result, parse
from job.contract.errors import NotFoundError, ResultError
from job.store.keys import Keys
from job.store.protocol import Store

__all__ = ["SealedResult", "load_manifest", "read_result", "untrusted", "verify_result"]


class SealedResult(NamedTuple):
    """A result that verifies."""

    result: Result
    manifest: Manifest
    seal: str
    """64 hex digits over the manifest and the store's tags of its files: another one as soon as a file was written."""


def read_result(store: Store, trial: PlannedTrial) -> Result | None:
    """The trial's result with every byte of its files compared, or None when there is none yet.

    Raises as `verify_result`.
    """
    found = verify_result(store, trial, seal=None)
    return None if found is None else found.result


def verify_result(store: Store, trial: PlannedTrial, *, seal: str | None) -> SealedResult | None:
    """The trial's verified result, or None when there is none yet.

    Checks that the result parses and is of this trial, that its manifest has the size and SHA-256 that the result
    vouches for, and that every file of the manifest is there in its size and with its SHA-256. With the `seal` of an
    earlier verification the files are read only if it is broken.

    Raises ResultError for the first defect, TransientError and ConfigurationError as the store does.
    """
    key = Keys.result(trial.trial_id)
    try:
        result = parse(Result, store.read(key, limit_bytes=DOCUMENT_LIMIT_BYTES), name=key)
        _check_identity(result, trial)
        manifest = load_manifest(store, result.manifest)
        _check_attempt(result, manifest)
        found = _seal(store, result, manifest)
        if found != seal:
            _check_bytes(store, manifest)
    except NotFoundError:
        return None
    except ResultError as err:
        raise untrusted(trial, err) from err
    return SealedResult(result, manifest, found)


def untrusted(trial: PlannedTrial, err: ResultError) -> ResultError:
    """The error for a result with this defect."""
    # What to do is a command that names the run, for those to write who know it (controller.remedies).
    return ResultError(f"{Keys.result(trial.trial_id)} cannot be trusted: {err}")


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


def _seal(store: Store, result: Result, manifest: Manifest) -> str:
    """The seal of files that are all there in their sizes. Raises ResultError for the first that is not."""
    folder = Keys.attempt(manifest.trial_id, manifest.attempt)
    there = {found.key: found for found in store.list(folder)}
    lines = [result.manifest.sha256]
    for file in manifest.files:
        key = Keys.attempt_file(manifest.trial_id, manifest.attempt, file.path)
        if key not in there:
            raise ResultError(f"{key} is missing, the manifest lists it")
        if there[key].size_bytes != file.size_bytes:
            raise ResultError(f"{key} is {there[key].size_bytes:,} bytes, the manifest says {file.size_bytes:,}")
        lines.append(f"{key} {there[key].etag}")
    return sha256_hex("\n".join(lines).encode())


def _check_bytes(store: Store, manifest: Manifest) -> None:
    # After the tags were taken: what is written from here on breaks the seal.
    for file in manifest.files:
        key = Keys.attempt_file(manifest.trial_id, manifest.attempt, file.path)
        try:
            found = store.sha256(key)
        except NotFoundError as err:
            raise ResultError(f"{key} is missing, the manifest lists it") from err
        if found != file.sha256:
            raise ResultError(f"{key} has SHA-256 {found}, the manifest says {file.sha256}")
