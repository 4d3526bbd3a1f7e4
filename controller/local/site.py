"""This machine as the place of a run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from typing import Literal

from controller.backend import Submission
from controller.local.backend import JOB_COMMAND, LocalBackend, state_folder
from controller.local.family import families_folder
from controller.local.slots import find_slots
from controller.lock import lock_path, run_lock
from controller.reconcile import Watcher
from controller.site import Site
from controller.spec.model import Objective

__all__ = ["LocalSite"]


class LocalSite:
    """Processes on this machine's devices, under a lock of the operating system."""

    kind: Literal["local"] = "local"
    canary = False  # a second process would wait for the first one's device anyway

    def __init__(
        self,
        run_uri: str,
        *,
        environ: Mapping[str, str],
        now: Callable[[], datetime],
        command: Sequence[str] = JOB_COMMAND,
    ) -> None:
        self._run_uri = run_uri
        self._environ = environ
        self._now = now
        self._command = tuple(command)

    def led(self) -> AbstractContextManager[None]:
        return run_lock(lock_path(self._run_uri, environ=self._environ), run_uri=self._run_uri, now=self._now())

    @contextmanager
    def opened(self, sample: Submission, *, gpus: int) -> Iterator[LocalBackend]:
        del sample  # a machine takes what its devices take, and says so when it does not
        state = state_folder(self._environ, self._run_uri)
        yield LocalBackend(
            state,
            families=families_folder(self._run_uri, state=state),
            run_uri=self._run_uri,
            slots=find_slots(self._environ, gpus=gpus),
            command=self._command,
            now=self._now,
        )

    def watchers(self, objective: Objective) -> tuple[Watcher, ...]:
        del objective
        return ()


_: type[Site] = LocalSite
