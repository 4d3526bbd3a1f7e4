"""A tree of plain values to a SweepSpec, or every mistake in it at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import chain, islice
from types import MappingProxyType

from pydantic import ValidationError

from controller.spec.errors import InvalidSpecError, Problem, problems_of
from controller.spec.model import SweepSpec
from controller.spec.rules import broken_rules
from controller.spec.training_arguments import REFUSED_ARGUMENTS, REFUSED_ELSEWHERE
from controller.spec.vary_rules import broken_vary_rules
from controller.spec.yaml_tree import Path, TreeValue

__all__ = ["check_tree"]

# Enough to mend at a time; a hostile file may hold thousands, and each costs time.
_LIMIT_PROBLEMS = 50

_RESERVED: Mapping[Path, str] = MappingProxyType(
    {
        ("task",): "reserved: `sft` is the one task so far",
        ("data", "streaming"): "reserved: rows are shuffled and pinned before training, which needs all of them",
        ("trial", "training", "packing"): "reserved: a packed row would see its neighbours",
        ("execution", "early_stop"): "reserved: every trial runs to its end, so that all are compared alike",
        ("execution", "devices_per_trial"): "reserved: one device trains one trial; raise execution.parallelism",
        ("trial", "evaluation", "backend"): "reserved: `transformers` is the one backend so far",
        ("store", "keep_adapters"): "reserved: `all` adapters are kept; `lorasweep clean` removes runs",
    }
)


def check_tree(tree: TreeValue) -> SweepSpec:
    """The sweep that `tree` describes.

    Raises InvalidSpecError with every mistake: of single fields and of what is varied together; rules between fields
    are judged once those are mended.
    """
    if not isinstance(tree, dict):
        raise InvalidSpecError([Problem((), "a spec is a mapping of `key: value` lines that starts with `version: 1`")])
    problems = list(islice(dict.fromkeys(chain(_refused(tree), broken_vary_rules(tree))), _LIMIT_PROBLEMS))
    try:
        spec = SweepSpec.model_validate(tree)
    except ValidationError as err:
        known = {problem.path for problem in problems}
        found = [_reserved(problem) for problem in problems_of(err, tree)]
        problems += [problem for problem in found if not _covered(problem.path, known)]
        raise InvalidSpecError(problems) from err
    problems = problems or list(broken_rules(spec))
    if problems:
        raise InvalidSpecError(problems)
    return spec


def _refused(tree: dict[str, TreeValue]) -> Iterator[Problem]:
    training = _at(tree, ("trial", "training"))
    for name in training if isinstance(training, dict) else ():
        if name in REFUSED_ARGUMENTS:
            yield Problem(("trial", "training", name), f"cannot be set: {REFUSED_ARGUMENTS[name]}")
    for path, reason in REFUSED_ELSEWHERE.items():
        owner = _at(tree, path[:-1])
        if isinstance(owner, dict) and path[-1] in owner:
            yield Problem(path, f"cannot be set: {reason}")


def _at(tree: TreeValue, path: Path) -> TreeValue:
    for part in path:
        tree = tree.get(str(part)) if isinstance(tree, dict) else None
    return tree


def _reserved(problem: Problem) -> Problem:
    """With the reason where the field is reserved."""
    reason = _RESERVED.get(problem.path)
    return Problem(problem.path, f"{problem.message.split(': ', 1)[0]}: {reason}") if reason else problem


def _covered(path: Path, known: set[Path]) -> bool:
    return any(path[: len(other)] == other for other in known)
