"""What a trial will need of the place where its process runs, looked at without training: `python -m job --check`."""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator
from datetime import datetime
from functools import partial
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

from job.contract.checks import Check, checked, failure
from job.contract.config import Request
from job.contract.errors import ConfigurationError, SweepError
from job.source import reach_data
from job.sources.description import describe_model
from job.sources.hashes import default_cache
from job.store import open_store
from job.store.preflight import check_store

__all__ = ["Asked", "check_place"]

_LIBRARIES = ("torch", "transformers", "peft")
_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108  (of the system)
# A batch of a loader's worker is small here; 64 MiB is what a container gets where nobody asked for more.
_SHARED_LEAST_BYTES = 128 * 2**20
_GIB = 2**30


class Asked(NamedTuple):
    """What is there to look at besides the process itself."""

    request: Callable[[], Request] | None
    """Reads it. Raises UsageError."""
    run_uri: str | None


def check_place(asked: Asked, *, now: Callable[[], datetime]) -> Iterator[Check]:
    """One finding after the other, cheap ones first; what was not named is not checked."""
    request: Request | None = None

    def read(reader: Callable[[], Request]) -> str:
        nonlocal request
        request = reader()
        return f"{len(request.trials)} trials of {request.sweep}/{request.run}"

    yield (
        Check("request", "not checked", "none was named")
        if asked.request is None
        else checked("request", partial(read, asked.request))
    )
    yield from (checked(f"folder of {use}", partial(_writable, folder)) for use, folder in _folders())
    yield _shared_memory(workers=0 if request is None else request.execution.dataloader_num_workers)
    yield from _store(asked.run_uri, now=now)
    yield from _sources(request)
    libraries = checked("libraries", _libraries)
    yield libraries
    if libraries.outcome == "ok":
        yield _device(request)


def _folders() -> Iterator[tuple[str, Path]]:
    yield "HOME", Path(os.path.expanduser("~"))  # noqa: PTH111  (Path.home() raises where there is none)
    yield "temporary files", Path(tempfile.gettempdir())
    yield "caches", default_cache()


def _writable(folder: Path) -> str:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"lorasweep")
        free = shutil.disk_usage(folder).free
    except OSError as err:
        raise ConfigurationError(
            f"{folder} cannot be written ({err.strerror or err}); give it a volume or another place (HOME, TMPDIR)"
        ) from err
    return f"{folder}, {free / _GIB:.1f} GiB free"


def _shared_memory(*, workers: int) -> Check:
    name = "shared memory"
    try:
        size = shutil.disk_usage(_SHARED_MEMORY).total
    except OSError:
        return Check(name, "not checked", f"there is no {_SHARED_MEMORY}")
    said = f"{_SHARED_MEMORY} has {size / 2**20:,.0f} MiB"
    if workers and size < _SHARED_LEAST_BYTES:
        remedy = "raise `resources.shared_memory` (docker: --shm-size), or set dataloader_num_workers to 0"
        return Check(name, "warning", f"{said}, and {workers} loader workers pass batches through it; {remedy}")
    return Check(name, "ok", said)


def _store(run_uri: str | None, *, now: Callable[[], datetime]) -> Iterator[Check]:
    if run_uri is None:
        yield Check("store", "not checked", "none was named")
        return
    opened = checked("store", lambda: open_store(run_uri).uri)
    if opened.outcome == "ok":
        yield from check_store(open_store(run_uri), nonce=secrets.token_hex(8), now=now)
    else:
        yield opened


def _sources(request: Request | None) -> Iterator[Check]:
    if request is None:
        yield Check("model", "not checked", "it is named in the request")
        yield Check("data", "not checked", "it is named in the request")
        return
    yield checked("model", lambda: _model(request))
    yield checked("data", lambda: _data(request))


def _model(request: Request) -> str:
    described = describe_model(request.model, cache=default_cache())
    kind = described.config.get("model_type", "of no type")
    return f"{request.model.public_name} ({kind}), {described.weight_bytes / _GIB:.2f} GiB of weights"


def _data(request: Request) -> str:
    files = {name: None for trial in request.trials for name in trial.config.data.splits.values()}
    reach_data(request.data, files=tuple(files), cache=default_cache())
    return request.data.public_name


def _libraries() -> str:
    try:
        for name in _LIBRARIES:
            import_module(name)
    except (ImportError, OSError, RuntimeError) as err:  # of a library for CUDA that is not there, or does not fit
        raise ConfigurationError(f"{name} does not import ({err}); use another image") from err
    return ", ".join(f"{name} {version(name)}" for name in _LIBRARIES)


def _device(request: Request | None) -> Check:
    from job.device import choose_device, try_device

    try:
        device = choose_device()
        found = try_device(device, dtypes=sorted(set(_dtypes(request))))
    except SweepError as err:
        return failure("device", err)
    if device.type == "cpu":
        return Check("device", "warning", f"no CUDA device is seen, so trials train on the CPU: {found}")
    return Check("device", "ok", found)


def _dtypes(request: Request | None) -> Iterator[str]:
    """What the trials compute in."""
    yield "float32"
    for trial in () if request is None else request.trials:
        yield trial.config.model.dtype
        training = trial.config.training
        if training is not None and training.bf16:
            yield "bfloat16"
        if training is not None and training.fp16:
            yield "float16"
