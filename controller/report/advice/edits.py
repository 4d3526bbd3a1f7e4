"""Changes of a spec's tree, and how people read them. Pure: a tree is never changed in place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from controller.report.choices import Change
from controller.report.text import shortened
from controller.spec.errors import dotted
from controller.spec.yaml_text import inline
from controller.spec.yaml_tree import Path, TreeValue

__all__ = ["Edit", "Spec", "at", "change_of", "edited"]

Spec = Mapping[str, TreeValue]
NOT_SET = "not set"
_LIMIT = 300  # characters of a value


class Edit(NamedTuple):
    """One value of the spec, which is another one from now on."""

    path: Path
    value: TreeValue


def at(tree: TreeValue | Spec, path: Path) -> TreeValue:
    """The value at the path; None where there is none."""
    found: object = tree
    for part in path:
        if isinstance(found, Mapping) and isinstance(part, str):
            found = found.get(part)
        elif isinstance(found, list) and isinstance(part, int) and part < len(found):
            found = found[part]
        else:
            return None
    return found if isinstance(found, dict | list | str | bool | int | float) else None


def edited(tree: Spec, edits: Sequence[Edit]) -> dict[str, TreeValue]:
    """The tree with these values; mappings on the way to one are made where they are missing."""
    for edit in edits:
        tree = {**tree, str(edit.path[0]): _with(tree.get(str(edit.path[0])), edit.path[1:], edit.value)}
    return dict(tree)


def change_of(tree: Spec, edit: Edit) -> Change:
    """The edit as it is shown, beside the tree before it."""
    before = at(tree, edit.path)
    return Change(
        path=dotted(edit.path),
        before=NOT_SET if before is None else shortened(inline(before), _LIMIT),
        after=shortened(inline(edit.value), _LIMIT),
    )


def _with(owner: TreeValue, path: Path, value: TreeValue) -> TreeValue:
    if not path:
        return value
    part, rest = path[0], path[1:]
    if isinstance(part, int):
        listed = owner if isinstance(owner, list) else []
        return [_with(one, rest, value) if place == part else one for place, one in enumerate(listed)]
    mapped = owner if isinstance(owner, dict) else {}
    return {**mapped, part: _with(mapped.get(part), rest, value)}
