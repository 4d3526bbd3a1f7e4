"""Where a run takes place: what makes one controller lead it, and the backend that it leads."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Literal, Protocol

from controller.backend import Backend, Submission
from controller.reconcile import Watcher
from controller.spec.model import Objective

__all__ = ["Site"]


class Site(Protocol):
    """This machine, or a namespace of a cluster."""

    @property
    def kind(self) -> Literal["local", "kubernetes"]: ...

    @property
    def canary(self) -> bool:
        """Whether one submission has to run before the others are made."""
        ...

    def led(self) -> AbstractContextManager[None]:
        """Inside, no other controller leads the run.

        Raises TransientError when another one does; PreflightError when the place does not allow a run at all.
        """
        ...

    def opened(self, sample: Submission, *, gpus: int) -> AbstractContextManager[Backend]:
        """Inside, the run's backend, once the place has said that it will take `sample`, the largest of them.

        `gpus` is what each trained submission asks for.
        """
        ...

    def watchers(self, objective: Objective) -> tuple[Watcher, ...]:
        """Who else is told how the run stands, once it is led; `objective` says who leads its ranking."""
        ...
