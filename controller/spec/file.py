"""A spec file as a sweep: read with limits, checked, and kept byte for byte."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from operator import itemgetter
from pathlib import Path
from typing import NamedTuple

from controller.spec.check import check_tree
from controller.spec.errors import InvalidSpecError, Problem, dotted
from controller.spec.model import SweepSpec
from controller.spec.yaml_tree import LIMIT_BYTES, Mark, parse_yaml
from controller.spec.yaml_tree import Path as TreePath
from job.contract.base import sha256_hex
from job.contract.errors import SpecError

__all__ = ["LoadedSpec", "load_spec", "parse_spec"]

# Terminal escapes and line ends in the keys of a hostile spec must not reach the terminal in an error message.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


class LoadedSpec(NamedTuple):
    """A spec and the bytes that it came from."""

    spec: SweepSpec
    text: bytes
    """Of the file; stored as they are."""
    sha256: str
    """Of the bytes; names the plan."""
    folder: Path
    """Where relative places in the spec start."""


def load_spec(path: Path) -> LoadedSpec:
    """The spec in the file.

    Raises SpecError naming file, line and field of every mistake, and for a file that cannot be read.
    """
    text = _read(path)
    return parse_spec(text, name=str(path), folder=path.resolve().parent)


def parse_spec(text: bytes, *, name: str, folder: Path) -> LoadedSpec:
    """The spec in `text`, which messages call `name`. Raises SpecError with every mistake."""
    tree = parse_yaml(text, name=name)
    try:
        spec = check_tree(tree.value)
    except InvalidSpecError as err:
        raise SpecError(_listed(err.problems, name=name, marks=tree.marks)) from err
    return LoadedSpec(spec=spec, text=text, sha256=sha256_hex(text), folder=folder)


def _read(path: Path) -> bytes:
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


def _listed(problems: Sequence[Problem], *, name: str, marks: Mapping[TreePath, Mark]) -> str:
    """A line for each problem, in the order of the file."""
    placed = sorted(((_mark(problem.path, marks), problem) for problem in problems), key=itemgetter(0))
    head = f"{name} has {len(placed)} mistakes\n" if len(placed) > 1 else ""
    return head + "\n".join(
        f"{name}:{mark.line}:{mark.column}: "
        + _CONTROL.sub("\N{REPLACEMENT CHARACTER}", f"{dotted(problem.path)}: {problem.message}")
        for mark, problem in placed
    )


def _mark(path: TreePath, marks: Mapping[TreePath, Mark]) -> Mark:
    """Where the value stands, or the nearest that contains it."""
    while path and path not in marks:
        path = path[:-1]
    return marks.get(path, Mark(line=1, column=1))
