"""`python broken_controller.py VERB ...`: `lorasweep` that breaks at one write, as $BREAK says.

BREAK is a Break as JSON. A write is named by its verb and its object: `create jobs`, `patch jobs`, `put_once
submissions/`, `put report/`; a name stands for all that begin with it. A dry run is no write.
"""

from __future__ import annotations

import functools
import json
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path
from typing import Any, Literal

from controller.kube.api import KubeApi
from job.contract.errors import TransientError
from job.store.s3 import S3Store

__all__ = ["Break"]


@dataclass(frozen=True)
class Break:
    """What happens at the nth write of that name."""

    write: str
    nth: int = 1
    what: Literal["killed before", "killed after", "reply lost"] = "killed after"

    @property
    def program(self) -> tuple[str, ...]:
        """In the place of `-m controller`."""
        return (str(Path(__file__).resolve()),)

    @property
    def environment(self) -> dict[str, str]:
        return {"BREAK": json.dumps(asdict(self))}


def main() -> int:
    """As controller.__main__.main."""
    from controller.__main__ import main as lorasweep

    planned = Break(**json.loads(os.environ["BREAK"]))
    numbers = count(1)
    for owner, methods in ((KubeApi, ("create", "patch", "delete", "replace")), (S3Store, ("put", "put_once"))):
        for method in methods:
            setattr(owner, method, _breaking(getattr(owner, method), planned, numbers))
    return lorasweep()


def _breaking(method: Callable[..., Any], planned: Break, numbers: count[int]) -> Callable[..., Any]:
    @functools.wraps(method)
    def write(self: object, what: Any, *args: Any, **options: Any) -> Any:
        name = f"{method.__name__} {getattr(what, 'plural', what)}"
        counted = name.startswith(planned.write) and not options.get("dry_run")
        now = counted and next(numbers) == planned.nth
        if now and planned.what == "killed before":
            os.kill(os.getpid(), signal.SIGKILL)
        answer = method(self, what, *args, **options)
        if now and planned.what == "killed after":
            os.kill(os.getpid(), signal.SIGKILL)
        if now:
            raise TransientError(f"{name}: the reply is lost")
        return answer

    return write


if __name__ == "__main__":
    sys.exit(main())
