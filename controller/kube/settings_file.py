"""A file of ClusterSettings, as `--cluster FILE` names it: read with a spec's limits, every mistake said at once."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from controller.kube.pod_template import REFUSED
from controller.kube.settings import ClusterSettings
from controller.spec.errors import Problem, problems_of
from controller.spec.yaml_file import listed, read_yaml
from controller.spec.yaml_tree import parse_yaml
from job.contract.errors import SpecError

__all__ = ["load_settings", "parse_settings"]


def load_settings(path: Path) -> ClusterSettings:
    """The settings in the file. Raises SpecError naming file, line and field of every mistake."""
    return parse_settings(read_yaml(path), name=str(path))


def parse_settings(text: bytes, *, name: str) -> ClusterSettings:
    """The settings in `text`, which messages call `name`. Raises SpecError with every mistake."""
    tree = parse_yaml(text, name=name)
    problems: list[Problem]
    if not isinstance(tree.value, dict):
        problems = [Problem((), "settings are a mapping of `key: value` lines; `image` is the one that is needed")]
        raise SpecError(listed(problems, name=name, marks=tree.marks, root="settings"))
    try:
        return ClusterSettings.model_validate(tree.value)
    except ValidationError as err:
        problems = [_with_reason(problem) for problem in problems_of(err, tree.value, model=ClusterSettings)]
        raise SpecError(listed(problems, name=name, marks=tree.marks, root="settings")) from err


def _with_reason(problem: Problem) -> Problem:
    """With the reason where a field of a pod is left to nobody."""
    key = str(problem.path[-1]) if problem.path else ""
    if key in REFUSED and problem.path[0] == "pod_template" and problem.message.startswith("unknown key"):
        return Problem(problem.path, f"cannot be set: {REFUSED[key]}")
    return problem
