"""What a command wants of a run, and which run it gets when its spec file is not (or no longer) what ran."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal, NamedTuple, NoReturn

from controller.lock import has_controller, lock_path
from controller.names import Naming
from controller.program import default_backend, program
from controller.stored import plan_keys
from controller.streams import tell
from job.contract.errors import NotFoundError, SpecError
from job.store import open_store

__all__ = ["Errand", "run_command", "run_of_changed_spec"]


class Errand(NamedTuple):
    """A command without its run, so that a refusal can name the whole of it."""

    verb: Literal[
        "status",
        "logs",
        "report",
        "compare",
        "stop",
        "pause",
        "resume",
        "retry",
        "clean",
        "promote",
        "tensorboard",
        "export",
    ]
    rest: tuple[str | None, ...] = ()
    """Further words; None for one that was not given."""

    def on(self, run_uri: str) -> str:
        """The command, for the run of this place."""
        return shlex.join(["lorasweep", self.verb, run_uri, *(word for word in self.rest if word is not None)])


def run_command(spec: str, *, store: str | None, run: str | None) -> str:
    """The `lorasweep run` that goes with these words; on a cluster, a person has to name its file."""
    words = [*program(), "run", spec]
    cluster = "FILE" if default_backend() == "kubernetes" else None
    for option, value in (("--store", store), ("--run", run), ("--cluster", cluster)):
        words += [] if value is None else [option, value]
    return shlex.join(words)


def run_of_changed_spec(naming: Naming, *, spec: str, store: str | None, run: str | None, errand: Errand) -> Naming:
    """The run that a command is about whose spec file, as it is now, has not run; stderr says that it differs.

    Whoever only looks gets the run of that name, or the only other one of the sweep, or the only one that is live. A
    stop, a pause and its end may name a run so, and a sibling of the default one only while it is live; a retry acts on
    live runs, as otherwise the next `run` would be of the changed spec; a clean never does.
    Raises NotFoundError when nothing has run, and SpecError with the exact commands where a person has to choose.
    """
    begin = run_command(spec, store=store, run=run)
    if plan_keys(open_store(naming.run_uri)):
        if not _may(errand, live=_is_live(naming), sibling=False):
            _refuse(spec, [naming], errand, begin=begin)
        return _noted(naming, spec=spec)
    siblings = () if run is not None else tuple(_siblings(naming))
    if not siblings:
        raise NotFoundError(f"{naming.run_uri}: this spec has not run there; start it with `{begin}`")
    live = [sibling for sibling in siblings if _is_live(sibling)]
    meant = live if len(live) == 1 else siblings
    if len(meant) > 1 or not _may(errand, live=bool(live), sibling=True):
        _refuse(spec, siblings, errand, begin=begin)
    return _noted(meant[0], spec=spec)


def _may(errand: Errand, *, live: bool, sibling: bool) -> bool:
    match errand.verb:
        case "status" | "logs" | "report" | "compare" | "promote" | "tensorboard" | "export":
            return True
        case "stop" | "pause" | "resume":
            return live or not sibling
        case "retry":
            return live
        case "clean":
            return False


def _refuse(spec: str, runs: Sequence[Naming], errand: Errand, *, begin: str) -> NoReturn:
    commands = "".join(f"\n  {errand.on(naming.run_uri)}" for naming in runs)
    raise SpecError(
        f"{spec} is not the spec that ran, so nothing was done; say which run is meant:{commands}\n"
        f"or run the spec as it is now: {begin}"
    )


def _noted(naming: Naming, *, spec: str) -> Naming:
    tell(f"{spec} differs from the spec that ran; this is about {naming.run_uri} as it was planned\n")
    return naming


def _is_live(naming: Naming) -> bool:
    return has_controller(lock_path(naming.run_uri, environ=os.environ))


def _siblings(naming: Naming) -> Iterator[Naming]:
    """The sweep's other runs in a folder; a bucket would list every object of the sweep to tell."""
    folder = Path(naming.root) / naming.sweep
    if "://" in naming.root or not folder.is_dir():
        return
    for path in sorted(folder.iterdir()):
        found = replace(naming, run=path.name)
        if path.is_dir() and not path.is_symlink() and plan_keys(open_store(found.run_uri)):
            yield found
