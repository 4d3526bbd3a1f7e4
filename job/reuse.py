"""An adapter that exists already: a trial with the same adapter_id is evaluated, not trained again."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from job.contract.documents import DATA_LIMIT_BYTES, Manifest, StepRecord, parse
from job.contract.errors import ResultError
from job.store import Store
from job.store.hashing import file_sha256

__all__ = ["ExistingAdapter", "fetch_adapter"]

_ADAPTER = "adapter/"
_METRICS = "metrics.jsonl"


class ExistingAdapter(NamedTuple):
    """An adapter on local disk, with the record of how it was trained."""

    folder: Path
    history: tuple[StepRecord, ...]


def fetch_adapter(store: Store, *, prefix: str, folder: Path) -> ExistingAdapter:
    """Download the adapter of the attempt at `prefix` (which ends in a slash) into `folder`, verified.

    Raises ResultError when a file does not have the bytes of its manifest.
    """
    key = f"{prefix}manifest.json"
    manifest = parse(Manifest, store.read(key, limit_bytes=DATA_LIMIT_BYTES), name=key)
    folder.mkdir(parents=True)
    for file in manifest.files:
        if not (file.path.startswith(_ADAPTER) or file.path == _METRICS):
            continue
        target = folder / file.path
        target.parent.mkdir(parents=True, exist_ok=True)
        store.download(f"{prefix}{file.path}", target)
        if file_sha256(target) != file.sha256:
            raise ResultError(f"{prefix}{file.path} does not have the bytes of its manifest; retry that trial")
    return ExistingAdapter(folder=folder / _ADAPTER, history=_steps(folder / _METRICS))


def _steps(path: Path) -> tuple[StepRecord, ...]:
    lines = path.read_bytes().splitlines()
    return tuple(parse(StepRecord, line, name=_METRICS) for line in lines if b'"kind":"step"' in line)
