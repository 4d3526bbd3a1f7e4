"""A spec file as a sweep: read with limits, checked, and kept byte for byte."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from controller.spec.check import check_tree
from controller.spec.errors import InvalidSpecError
from controller.spec.model import SweepSpec
from controller.spec.yaml_file import listed, read_yaml
from controller.spec.yaml_tree import parse_yaml
from job.contract.base import sha256_hex
from job.contract.errors import SpecError

__all__ = ["LoadedSpec", "load_spec", "parse_spec"]


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
    text = read_yaml(path)
    return parse_spec(text, name=str(path), folder=path.resolve().parent)


def parse_spec(text: bytes, *, name: str, folder: Path) -> LoadedSpec:
    """The spec in `text`, which messages call `name`. Raises SpecError with every mistake."""
    tree = parse_yaml(text, name=name)
    try:
        spec = check_tree(tree.value)
    except InvalidSpecError as err:
        raise SpecError(listed(err.problems, name=name, marks=tree.marks)) from err
    return LoadedSpec(spec=spec, text=text, sha256=sha256_hex(text), folder=folder)
