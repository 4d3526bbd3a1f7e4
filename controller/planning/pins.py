"""Which bytes a spec's model and data are: looked up once a run, then kept."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple

from controller.planning.expand import Pins
from controller.spec.file import LoadedSpec
from controller.spec.model import DataSection, ModelSection, SweepSpec
from job.contract.config import Source
from job.contract.documents import Plan
from job.contract.errors import ConfigurationError, PreflightError, SpecError
from job.source import check_data, check_model, pin_data, pin_model
from job.sources.hashes import default_cache
from job.sources.place import locate

__all__ = ["Earlier", "check_pins", "pin_sources", "relocated"]


class Earlier(NamedTuple):
    """The newest plan of the run and the spec that it was made from."""

    plan: Plan
    spec: SweepSpec


def pin_sources(loaded: LoadedSpec, *, earlier: Earlier | None = None) -> Pins:
    """Model and data with the digests of their bytes.

    A source that `earlier` has pinned and that the spec names in the same words stays what it was: on the hub the
    commit, in a bucket the digest; bytes of a path that changed since are an error, as they would be another sweep.
    Raises SpecError for a place that cannot be pinned or holds other bytes than the spec expects, PreflightError for
    a path whose bytes changed since, and as job.source does.
    """
    model, data = loaded.spec.model, loaded.spec.data
    known_model = earlier.plan.model if earlier and _same_model(earlier.spec.model, model) else None
    known_data = earlier.plan.data if earlier and _same_data(earlier.spec.data, data) else None
    return Pins(
        model=_pinned(
            "model",
            _Wish(model.id, model.digest),
            known=known_model,
            folder=loaded.folder,
            pin=lambda: pin_model(model.id, base=loaded.folder, revision=model.revision),
        ),
        data=_pinned(
            "data",
            _Wish(data.source, data.digest),
            known=known_data,
            folder=loaded.folder,
            pin=lambda: pin_data(
                data.source, base=loaded.folder, revision=data.revision, files=tuple(data.splits.values())
            ),
        ),
    )


def check_pins(plan: Plan, loaded: LoadedSpec) -> None:
    """Raises PreflightError naming the first source that no longer holds what the plan has pinned.

    Every trial would refuse to start on other bytes. A place that cannot be read from here is left to the job.
    """
    spec, cache = loaded.spec, default_cache()
    files = tuple(spec.data.splits.values())
    checks = (
        ("model.id", plan.model, spec.model.digest, partial(check_model, plan.model, cache=cache)),
        ("data.source", plan.data, spec.data.digest, partial(check_data, plan.data, files=files, cache=cache)),
    )
    for field, source, expected, check in checks:
        if expected is not None and _elsewhere(source.location, loaded.folder):
            continue
        try:
            check()
        except ConfigurationError as err:
            raise PreflightError(f"{field}: {err}") from err


def relocated(plan: Plan, loaded: LoadedSpec) -> Plan:
    """`plan` with a path that is gone replaced by where the spec finds it now, if it does."""
    model = _found(plan.model, loaded.spec.model.id, folder=loaded.folder)
    data = _found(plan.data, loaded.spec.data.source, folder=loaded.folder)
    same = (model, data) == (plan.model, plan.data)
    return plan if same else plan.model_copy(update={"model": model, "data": data})


class _Wish(NamedTuple):
    """What the spec says about a source."""

    place: str
    digest: str | None


def _same_model(old: ModelSection, new: ModelSection) -> bool:
    return (old.id, old.revision) == (new.id, new.revision)


def _same_data(old: DataSection, new: DataSection) -> bool:
    """A digest of data is over the files of its splits, so these count as well."""
    return (old.source, old.revision, old.splits) == (new.source, new.revision, new.splits)


def _pinned(
    field: Literal["model", "data"], wish: _Wish, *, known: Source | None, folder: Path, pin: Callable[[], Source]
) -> Source:
    if known is not None and known.kind != "path":
        source = known
    elif wish.digest is not None and _elsewhere(wish.place, folder):
        source = Source(kind="path", location=wish.place, digest=wish.digest)
    else:
        source = _looked_up(field, pin)
    if known is not None and known.location == source.location and known.digest != source.digest:
        raise PreflightError(
            f"{source.location} changed since this run was planned: it holds {source.digest}, the run has "
            f"{known.digest}; put the old bytes back, choose another --run, or --repin to make every trial anew"
        )
    if wish.digest not in (None, source.digest):
        raise SpecError(
            f"{field}.digest expects {wish.digest}, but {source.location} holds {source.digest}; restore those bytes, "
            "or write the new digest if they are meant"
        )
    return source


def _looked_up(field: Literal["model", "data"], pin: Callable[[], Source]) -> Source:
    try:
        return pin()
    except SpecError as err:
        name = {"model": "model.id", "data": "data.source"}[field]
        raise SpecError(f"{name}: {str(err).removeprefix(name + ': ')}") from err


def _elsewhere(place: str, folder: Path) -> bool:
    """Whether this is an absolute path that is not on this machine, such as a volume of the cluster."""
    return place.startswith("/") and not (folder / place).exists()


def _found(source: Source, place: str, *, folder: Path) -> Source:
    if source.kind != "path" or Path(source.location).exists() or _elsewhere(place, folder):
        return source
    try:
        found = locate(place, base=folder, revision=None)
    except SpecError:  # nothing there: a finished run needs neither, and for another one `check_pins` says it
        return source
    return source.model_copy(update={"location": found.location}) if found.kind == "path" else source
