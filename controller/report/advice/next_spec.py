"""The next sweep as a spec: the present one with the edits of the rules, checked like any other. Pure.

A report is passed on, so it names no folder or bucket that the present spec does: of those the last part stands there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path as Folder
from typing import NamedTuple

from controller.collect import Collected
from controller.planning.expand import Pins, expand
from controller.report.advice.edits import Edit, Spec, at, edited
from controller.report.advice.rules import Finding
from controller.report.choices import NextSweep
from controller.report.text import first_line
from controller.spec.errors import dotted
from controller.spec.file import parse_spec
from controller.spec.model import SweepSpec
from controller.spec.yaml_text import yaml_text
from controller.spec.yaml_tree import Path, TreeValue
from job.contract.errors import SpecError

__all__ = ["Proposed", "proposed"]

FILE = "next.yaml"
_PLACES: tuple[Path, ...] = (("model", "id"), ("data", "source"), ("store", "root"))
_PRIVATE: tuple[Path, ...] = (("regression", "webhook"),)
"""What may hold a secret, and so is left out."""


class Proposed(NamedTuple):
    """The next sweep, and the findings without the edits that were refused."""

    next_sweep: NextSweep | None
    findings: tuple[Finding, ...]


class _Written(NamedTuple):
    spec: SweepSpec
    text: str
    places: tuple[str, ...]


def proposed(findings: Sequence[Finding], collected: Collected, tree: Spec) -> Proposed:
    """What the edits of all findings make of the spec; an edit that its rules refuse is left out, and that is said."""
    kept, present = [], tree
    for finding in findings:
        changed = edited(present, finding.edits)
        refusal = _refusal(changed, collected) if finding.edits else ""
        if refusal:
            sentence = f"The spec's rules refuse that change: {refusal}."
            kept.append(finding._replace(sentences=(*finding.sentences, sentence), edits=()))
            continue
        kept.append(finding)
        present = changed
    if not any(finding.edits for finding in kept):
        return Proposed(None, tuple(kept))
    return Proposed(_next_sweep(_written(present, collected), collected), tuple(kept))


def _refusal(tree: Spec, collected: Collected) -> str:
    try:
        _written(tree, collected)
    except SpecError as err:
        lines = str(err).splitlines()
        return first_line(lines[-1].split(": ", 1)[-1])
    return ""


def _written(tree: Spec, collected: Collected) -> _Written:
    """Raises SpecError for a tree that is no spec."""
    hidden = tuple(_hidden(tree, collected))
    published = edited(tree, [edit for edit in hidden if edit.path not in _PRIVATE])
    for path in [edit.path for edit in hidden if edit.path in _PRIVATE]:
        published = _without(published, path)
    text = yaml_text(published)
    spec = parse_spec(text.encode(), name=FILE, folder=Folder()).spec
    return _Written(spec, text, tuple(dotted(edit.path) for edit in hidden))


def _hidden(tree: Spec, collected: Collected) -> Iterator[Edit]:
    for path in _PLACES:
        place = at(tree, path)
        if isinstance(place, str) and _is_private(place, collected):
            yield Edit(path, place.rstrip("/").rsplit("/", 1)[-1] or path[0])
    for path in _PRIVATE:
        if at(tree, path) is not None:
            yield Edit(path, None)


def _is_private(place: str, collected: Collected) -> bool:
    """A folder of one machine, or a bucket, unless the report names it as the run's own place."""
    if place.startswith("s3://"):
        return not collected.place.startswith(f"{place.rstrip('/')}/")
    return place.startswith(("/", "~"))


def _without(tree: dict[str, TreeValue], path: Path) -> dict[str, TreeValue]:
    owner = at(tree, path[:-1])
    left = {key: value for key, value in owner.items() if key != path[-1]} if isinstance(owner, dict) else {}
    return edited(tree, [Edit(path[:-1], left)])


def _next_sweep(found: _Written, collected: Collected) -> NextSweep:
    plan = collected.plan
    wanted = expand(found.spec, Pins(model=plan.model, data=plan.data), run=plan.run).trials
    known = {trial.trial_id for trial in plan.trials}
    adapters = {trial.adapter_id for trial in plan.trials}
    needed = {trial.adapter_id for trial in wanted if trial.adapter_id is not None}
    return NextSweep(
        spec=found.text,
        places=found.places,
        trials=len(wanted),
        new_trials=sum(trial.trial_id not in known for trial in wanted),
        adapters=len(needed),
        to_train=len(needed - adapters),
        command=f"lorasweep run {FILE}" + ("" if plan.run == "main" else f" --run {plan.run}"),
    )
