"""An adapter in a local folder, which appears whole."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

from controller.promotion.place import Delivered, Place
from job.contract.errors import ConflictError
from job.store.hashing import file_sha256
from job.store.whole_file import TEMPORARY, explained, flush, flush_folder, make_folder

__all__ = ["LocalFolder"]


class LocalFolder:
    """A folder that is not there yet, or empty, or holds the same files."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def take(self, folder: Path, names: tuple[str, ...]) -> Delivered:
        target = self._folder
        with explained(target):
            if target.exists() and not target.is_dir():
                raise ConflictError(f"{target} is a file; name an empty or a new folder")
            if target.is_dir() and any(target.iterdir()):
                _check_same(folder, target, names)
                return Delivered(str(target), ())
            make_folder(target.parent)
            # Beside its place: a rename is whole only within a file system.
            with TemporaryDirectory(dir=target.parent, prefix=TEMPORARY) as beside:
                made = Path(beside) / target.name
                made.mkdir()  # with the rights that the umask gives; a temporary folder has none for others
                for name in names:
                    _copy(folder / name, made / name)
                os.rename(made, target)  # noqa: PTH104  (Path.rename is documented to fail on an empty folder)
            flush_folder(target.parent)
        return Delivered(str(target), names)


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    flush(target)
    flush_folder(target.parent)


def _check_same(folder: Path, target: Path, names: tuple[str, ...]) -> None:
    there = {path.relative_to(target).as_posix() for path in target.rglob("*") if not path.is_dir()}
    if strange := sorted(there - set(names)):
        raise ConflictError(
            f"{target} holds {strange[0]!r}, which is not of this adapter; name an empty or a new folder"
        )
    if missing := sorted(set(names) - there):
        raise ConflictError(
            f"{target} lacks {missing[0]!r} of this adapter and is not empty; name an empty or a new folder"
        )
    for name in names:
        if file_sha256(folder / name) != file_sha256(target / name):
            raise ConflictError(f"{target / name} has other bytes than this adapter's; name an empty or a new folder")


_: type[Place] = LocalFolder
