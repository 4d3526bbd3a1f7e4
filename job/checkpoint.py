"""Checkpoints of one trial in the store: files first, their manifest last, so that each is complete or not there.

Limits
- Two processes of one trial may write at once; each has a prefix of its own, and the newest that verifies wins.
- Where the store takes no deletes, every checkpoint stays.
"""

from __future__ import annotations

import logging
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from job.contract.documents import DOCUMENT_LIMIT_BYTES, Manifest, ManifestFile, parse, to_json
from job.contract.errors import ConfigurationError, NotFoundError, ResultError
from job.store import Keys, Store
from job.store.hashing import file_sha256
from job.store.whole_file import explained

__all__ = ["Checkpoint", "Checkpoints"]

logger = logging.getLogger(__name__)

_MANIFEST = "manifest.json"
_KEPT = 2
# <attempt>/step-<6 or more digits>/<path>, below the prefix of a trial's checkpoints
_PLACE = re.compile(r"([^/]+)/step-(\d{6,})/(.+)")


class Checkpoint(NamedTuple):
    """A verified copy on local disk."""

    step: int
    attempt: str
    """The process that wrote it."""
    folder: Path


class _Stored(NamedTuple):
    step: int
    attempt: str


class Checkpoints:
    """The checkpoints of one trial: written by one attempt, read over all of them."""

    def __init__(self, store: Store, *, trial_id: str, attempt: str, spool: Path) -> None:
        """`spool` is scratch space on local disk; nothing in it outlives a call."""
        self._store = store
        self._trial_id = trial_id
        self._attempt = attempt
        self._spool = spool
        self._may_remove = True

    def new_folder(self) -> Path:
        """An empty folder to write the files of the next checkpoint into."""
        return self._empty("new")

    def save(self, step: int, folder: Path) -> None:
        """Store every file below `folder` as the checkpoint after `step`, then let go of all but the newest two.

        Raises TransientError when the store does not take it; the checkpoints before it are as they were.
        """
        files: list[ManifestFile] = []
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            relative = path.relative_to(folder).as_posix()
            self._store.upload(self._key(_Stored(step, self._attempt), relative), path)
            files.append(ManifestFile(path=relative, size_bytes=path.stat().st_size, sha256=file_sha256(path)))
        manifest = Manifest(trial_id=self._trial_id, attempt=self._attempt, files=tuple(files))
        self._store.put(self._key(_Stored(step, self._attempt), _MANIFEST), to_json(manifest))
        shutil.rmtree(folder, ignore_errors=True)
        logger.info("checkpoint saved step=%d", step)
        self.prune(keep=_KEPT)

    def newest(self) -> Checkpoint | None:
        """The highest step that verifies, over all attempts; None when there is none."""
        return next(self.verified(), None)

    def verified(self) -> Iterator[Checkpoint]:
        """Checkpoints whose bytes are those of their manifests, highest step first; each copy replaces the last one.

        A damaged one is logged and passed over. Raises TransientError when the store does not answer.
        """
        for stored in self._complete():
            try:
                yield Checkpoint(stored.step, stored.attempt, self._download(stored))
            except (ResultError, NotFoundError) as err:
                logger.warning("checkpoint of step %d by %s passed over: %s", stored.step, stored.attempt, err)

    def discard(self, checkpoint: Checkpoint) -> None:
        """Remove one that cannot be gone on from: as a higher step it would have every new one pruned."""
        self._remove(_Stored(checkpoint.step, checkpoint.attempt))

    def prune(self, *, keep: int) -> None:
        """Remove all but the `keep` highest complete ones; what is above them may still be growing, and stays."""
        kept = self._complete()[:keep]
        if len(kept) == keep:
            for stored in sorted(set(self._files()) - set(kept)):
                if stored.step <= kept[-1].step:
                    self._remove(stored)

    def remove_all(self) -> None:
        """Remove every checkpoint of the trial; called once its result is in the store."""
        for stored in sorted(self._files()):
            self._remove(stored)
        shutil.rmtree(self._spool, ignore_errors=True)

    def _files(self) -> dict[_Stored, list[str]]:
        """The files of each checkpoint, complete or not, relative to it."""
        prefix = Keys.checkpoints(self._trial_id)
        found: dict[_Stored, list[str]] = {}
        for stored in self._store.list(prefix):
            place = _PLACE.fullmatch(stored.key.removeprefix(prefix))
            if place is not None:
                found.setdefault(_Stored(int(place[2]), place[1]), []).append(place[3])
        return found

    def _complete(self) -> list[_Stored]:
        return sorted((stored for stored, files in self._files().items() if _MANIFEST in files), reverse=True)

    def _download(self, stored: _Stored) -> Path:
        """The checkpoint's files in a fresh folder. Raises ResultError or NotFoundError when it is not whole."""
        key = self._key(stored, _MANIFEST)
        manifest = parse(Manifest, self._store.read(key, limit_bytes=DOCUMENT_LIMIT_BYTES), name=key)
        if manifest.trial_id != self._trial_id:
            raise ResultError(f"{key} is of trial {manifest.trial_id}, not {self._trial_id}")
        folder = self._empty("resume")
        for file in manifest.files:
            self._check_size(stored, file)
            target = folder / file.path
            target.parent.mkdir(parents=True, exist_ok=True)
            self._store.download(self._key(stored, file.path), target)
            if file_sha256(target) != file.sha256:
                raise ResultError(f"{self._key(stored, file.path)} does not have the bytes of its manifest")
        return folder

    def _check_size(self, stored: _Stored, file: ManifestFile) -> None:
        """Raises before bytes are moved: a size tells most damage."""
        key = self._key(stored, file.path)
        found = self._store.stat(key)
        if found is None:
            raise NotFoundError(f"{key} is missing")
        if found.size_bytes != file.size_bytes:
            raise ResultError(f"{key} is {found.size_bytes:,} bytes, its manifest says {file.size_bytes:,}")

    def _remove(self, stored: _Stored) -> None:
        """The manifest goes first, so that a half removed checkpoint is never taken for a whole one."""
        if not self._may_remove:
            return
        try:
            self._store.delete(self._key(stored, _MANIFEST))
            for file in self._files().get(stored, ()):
                self._store.delete(self._key(stored, file))
        except ConfigurationError as err:  # tidiness only: no trial fails for it, and `run` has warned of it
            self._may_remove = False
            logger.warning("checkpoints of trial %s stay in the store: %s", self._trial_id, err)

    def _key(self, stored: _Stored, path: str) -> str:
        return f"{Keys.checkpoint(self._trial_id, stored.attempt, stored.step)}{path}"

    def _empty(self, name: str) -> Path:
        folder = self._spool / name
        with explained(folder):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
        return folder
