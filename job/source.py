"""Sources: what a spec names becomes a pin with a digest, and a pin becomes a verified local copy.

A digest names bytes, never a place: the hub's commit, or SHA-256 over the sorted [relative name, SHA-256] of the files
that matter, so a folder and an s3:// prefix with the same bytes are one model. Which files matter is said in
job/sources/model_files.py and data_files.py. No torch here; the controller imports this too.
"""

from __future__ import annotations

import secrets
import shutil
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from job.contract.config import Source
from job.contract.errors import ConfigurationError, NotFoundError, SpecError, TransientError
from job.sources import hub
from job.sources.data_files import FORMATS, check_members, data_files, is_data_file, single_name
from job.sources.hashes import HashCache, default_cache
from job.sources.listing import FolderListing, Listing, StoreListing, digest_of
from job.sources.model_files import MODEL_PATTERNS, check_weights, model_files
from job.sources.place import locate

__all__ = ["check_data", "check_model", "fetch_data", "fetch_model", "pin_data", "pin_model", "reach_data"]

_STALE_S = 24 * 3600.0  # an unfinished copy this old belongs to a killed process
_PARTIAL = ".partial-"


def pin_model(location: str, *, base: Path, revision: str | None) -> Source:
    """The model that a spec names, with its digest; a relative path counts from `base`.

    Raises SpecError for a place that is none, ConfigurationError for a model that cannot be used safely or seen,
    TransientError when the hub or store does not answer.
    """
    place = locate(location, base=base, revision=revision)
    if place.kind == "hub":
        return _hub_source(place.location, hub.commit_of(place.location, kind="model", revision=revision))
    hashes = HashCache(default_cache())
    if place.kind == "s3":
        listing: Listing = StoreListing(place.location, hashes=hashes)
        digest = _digest(listing, model_files(listing))
        return Source(kind="s3", location=place.location, digest=digest)
    digest = _model_digest(Path(place.location), hashes=hashes)
    return Source(kind="path", location=place.location, digest=digest)


def pin_data(location: str, *, base: Path, revision: str | None, files: Sequence[str]) -> Source:
    """The data that a spec names, with its digest over the files that its splits (`files`) are.

    Raises as `pin_model` does, and SpecError for a split that is no file of a folder, prefix or archive.
    """
    place = locate(location, base=base, revision=revision)
    if place.kind == "hub":
        return _hub_source(place.location, hub.commit_of(place.location, kind="dataset", revision=revision))
    hashes = HashCache(default_cache())
    if place.kind == "s3":
        remote = _RemoteData(place.location, files=files, hashes=hashes)
        return Source(kind="s3", location=place.location, digest=remote.digest())
    return Source(kind="path", location=place.location, digest=_data_digest(Path(place.location), files, hashes=hashes))


def check_model(source: Source, *, cache: Path) -> None:
    """Raises ConfigurationError when the place no longer holds the pinned bytes; downloads no file.

    What a commit of the hub names never changes, and of S3 a verified copy in `cache` serves as well. Raises
    TransientError when the store does not answer.
    """
    hashes = HashCache(cache)
    if source.kind == "path":
        _verify(source, lambda: _model_digest(Path(source.location), hashes=hashes))
    elif source.kind == "s3" and not _copy_of(source, cache).is_dir():
        listing = StoreListing(source.location, hashes=hashes)
        _verify(source, lambda: _digest(listing, model_files(listing)))


def check_data(source: Source, *, files: Sequence[str], cache: Path) -> None:
    """As `check_model`, for the rows; `files` are the splits."""
    hashes = HashCache(cache)
    if source.kind == "path":
        _verify(source, lambda: _data_digest(Path(source.location), files, hashes=hashes))
    elif source.kind == "s3" and not _copy_of(source, cache).is_dir():
        _verify(source, lambda: _RemoteData(source.location, files=files, hashes=hashes).digest())


def reach_data(source: Source, *, files: Sequence[str], cache: Path) -> None:
    """Raises as `fetch_data` where the rows could not be fetched; no row is read, and nothing of a size is fetched."""
    hashes = HashCache(cache)
    if source.kind == "hub":
        hub.download(source.location, kind="dataset", commit=_commit(source), patterns=["README.md"])
    elif source.kind == "s3":
        _RemoteData(source.location, files=files, hashes=hashes)
    elif not (path := Path(source.location)).is_file():
        if not path.is_dir():
            raise ConfigurationError(f"{path} is not here; mount what holds it, or name another place")
        data_files(FolderListing(path, hashes=hashes), files)


def fetch_model(source: Source, *, cache: Path) -> Path:
    """The folder that holds exactly the pinned model: the path itself, or a copy in `cache` or the hub cache.

    Raises ConfigurationError when its bytes are not the pinned ones, TransientError when it cannot be had just now.
    """
    hashes = HashCache(cache)
    if source.kind == "hub":
        folder = hub.download(source.location, kind="model", commit=_commit(source), patterns=MODEL_PATTERNS)
        check_weights(folder, model_files(FolderListing(folder, hashes=hashes)))
        return folder
    if source.kind == "path":
        check_model(source, cache=cache)
        return Path(source.location)

    def fill(folder: Path) -> None:
        listing = StoreListing(source.location, hashes=hashes)
        listing.download(model_files(listing), folder=folder)

    return _copied(source, cache=cache, fill=fill, digest=lambda folder: _model_digest(folder, hashes=hashes))


def fetch_data(source: Source, *, files: Sequence[str], cache: Path) -> Path:
    """The folder or file that holds the pinned rows; `files` are the splits. Raises as `fetch_model` does."""
    hashes = HashCache(cache)
    if source.kind == "hub":
        named = [name for name in files if is_data_file(name)]
        patterns = named if len(named) == len(files) else [*(f"*{suffix}" for suffix in FORMATS), "README.md"]
        return hub.download(source.location, kind="dataset", commit=_commit(source), patterns=patterns)
    if source.kind == "path":
        check_data(source, files=files, cache=cache)
        return Path(source.location)
    name = source.public_name
    single = is_data_file(name)

    def fill(folder: Path) -> None:
        _RemoteData(source.location, files=files, hashes=hashes).download(folder)

    folder = _copied(
        source,
        cache=cache,
        fill=fill,
        digest=lambda copy: _data_digest(copy / name if single else copy, files, hashes=hashes),
    )
    return folder / name if single else folder


class _RemoteData:
    """Rows under an s3:// prefix, or in one object."""

    def __init__(self, location: str, *, files: Sequence[str], hashes: HashCache) -> None:
        parent, _, name = location.rpartition("/")
        self._single = name if is_data_file(name) else None
        self._listing = StoreListing(parent if self._single else location, hashes=hashes)
        if self._single and not self._listing.has(self._single):
            raise SpecError(f"data.source: there is no object {location!r} that this account can list")
        self._names = (self._single,) if self._single else data_files(self._listing, files)

    def digest(self) -> str:
        if self._single:
            return digest_of({single_name(self._single): self._listing.sha256(self._single)})
        return _digest(self._listing, self._names)

    def download(self, folder: Path) -> None:
        self._listing.download(self._names, folder=folder)


def _hub_source(repo: str, commit: str) -> Source:
    return Source(kind="hub", location=repo, revision=commit, digest=f"hub:{commit}")


def _commit(source: Source) -> str:
    commit = source.digest.removeprefix("hub:")
    if source.revision not in (None, commit):
        raise ConfigurationError(f"{source.location!r} is pinned to {commit}, and to {source.revision!r}; plan it anew")
    return commit


def _digest(listing: Listing, names: Iterable[str]) -> str:
    return digest_of({name: listing.sha256(name) for name in names})


def _model_digest(folder: Path, *, hashes: HashCache) -> str:
    if not folder.is_dir():
        raise ConfigurationError(f"model {str(folder)!r} is no folder; name the one that holds config.json")
    listing = FolderListing(folder, hashes=hashes)
    names = model_files(listing)
    check_weights(folder, names)
    return _digest(listing, names)


def _data_digest(path: Path, splits: Sequence[str], *, hashes: HashCache) -> str:
    if path.is_file():
        if not is_data_file(path.name):
            raise SpecError(f"data.source: {path} is none of {', '.join(FORMATS)} or .zip")
        if path.suffix.lower() == ".zip":
            check_members(path, splits)
        return digest_of({single_name(path.name): hashes.of_file(path)})
    listing = FolderListing(path, hashes=hashes)
    return _digest(listing, data_files(listing, splits))


def _verify(source: Source, digest: Callable[[], str]) -> None:
    """Raises ConfigurationError when the bytes at the place are not those of the pin."""
    remedy = (
        "put the old bytes back, or begin another run with `--run NAME`, or make every trial of this one anew with "
        "`--repin`"
    )
    if source.kind == "path" and not Path(source.location).exists():
        raise ConfigurationError(f"{source.location} is gone; the run was planned with {source.digest} there; {remedy}")
    try:
        found = digest()
    except SpecError as err:  # a split's file is gone: no mistake of the spec, which was planned when it was there
        raise ConfigurationError(
            f"{source.location} changed since it was planned: {err} (the plan has {source.digest}); {remedy}"
        ) from err
    if found != source.digest:
        raise ConfigurationError(
            f"{source.location} changed since it was planned: it holds {found}, the plan has {source.digest}; {remedy}"
        )


def _copy_of(source: Source, cache: Path) -> Path:
    """Where a copy of these bytes lies, if there is one."""
    return cache / "s3" / source.digest.removeprefix("sha256:")


def _copied(source: Source, *, cache: Path, fill: Callable[[Path], None], digest: Callable[[Path], str]) -> Path:
    """The copy of these bytes in the cache, made now where there is none that verifies."""
    folder = _copy_of(source, cache)
    if folder.is_dir():
        try:
            _verify(source, lambda: digest(folder))
        except ConfigurationError:
            shutil.rmtree(folder, ignore_errors=True)  # damaged; the store still has it
        else:
            return folder
    partial = folder.with_name(f"{_PARTIAL}{secrets.token_hex(8)}")
    try:
        _remove_stale(folder.parent)
        partial.mkdir(parents=True)
        fill(partial)
        _verify(source, lambda: digest(partial))
        partial.rename(folder)
    except (NotFoundError, SpecError) as err:
        raise ConfigurationError(f"{source.location} changed since it was planned: {err}") from err
    except OSError as err:
        if not folder.is_dir():  # otherwise another process was first, with the same bytes
            raise TransientError(f"{folder} cannot be written: {err.strerror or err}; free space or rights") from err
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return folder


def _remove_stale(folder: Path) -> None:
    for partial in folder.glob(f"{_PARTIAL}*"):
        try:
            stale = time.time() - partial.stat().st_mtime > _STALE_S
        except FileNotFoundError:
            continue
        if stale:
            shutil.rmtree(partial, ignore_errors=True)
