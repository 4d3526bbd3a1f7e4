"""A YAML file that people write: its bytes, and its mistakes as lines with their places."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from operator import itemgetter
from pathlib import Path

from controller.spec.errors import Problem, dotted
from controller.spec.yaml_tree import LIMIT_BYTES, Mark
from controller.spec.yaml_tree import Path as TreePath
from job.contract.errors import SpecError

__all__ = ["listed", "read_yaml"]

# Terminal escapes and line ends in the keys of a hostile file must not reach the terminal in an error message.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def read_yaml(path: Path) -> bytes:
    """The bytes of a YAML file, up to one more than a tree may have. Raises SpecError when it cannot be read."""
    try:
        if path.is_dir():
            raise SpecError(f"{path}: is a folder; name the YAML file in it")
        if path.exists() and not path.is_file():
            raise SpecError(f"{path}: is not a plain file")
        with path.open("rb") as file:
            return file.read(LIMIT_BYTES + 1)
    except FileNotFoundError as err:
        raise SpecError(f"{path}: no such file; relative paths start at {Path.cwd()}") from err
    except OSError as err:
        raise SpecError(f"{path}: cannot be read: {err.strerror}") from err


def listed(problems: Sequence[Problem], *, name: str, marks: Mapping[TreePath, Mark], root: str = "spec") -> str:
    """A line for each problem, in the order of the file; `root` is what one about the whole is said of."""
    placed = sorted(((_mark(problem.path, marks), problem) for problem in problems), key=itemgetter(0))
    head = f"{name} has {len(placed)} mistakes\n" if len(placed) > 1 else ""
    return head + "\n".join(
        f"{name}:{mark.line}:{mark.column}: "
        + _CONTROL.sub("\N{REPLACEMENT CHARACTER}", f"{dotted(problem.path, root=root)}: {problem.message}")
        for mark, problem in placed
    )


def _mark(path: TreePath, marks: Mapping[TreePath, Mark]) -> Mark:
    """Where the value stands, or the nearest that contains it."""
    while path and path not in marks:
        path = path[:-1]
    return marks.get(path, Mark(line=1, column=1))
