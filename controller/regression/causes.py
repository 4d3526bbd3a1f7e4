"""What is not as it was in the reference: prompts, model, data, settings, versions, image, code, devices. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, get_args

from controller.regression.document import Cause
from controller.regression.match import Night
from controller.report.text import shortened, visible
from job.contract.config import PlannedTrial
from job.contract.documents import Result

__all__ = ["causes_of"]

_LONGEST = 1200  # characters of a text that changed
_NOTHING = "(none)"
_KINDS = get_args(Cause.model_fields["what"].annotation)
_BY_PLACE = {"prompt": "prompt", "model": "model", "data": "data"}


def causes_of(tonight: Night, before: Night, labels: Sequence[str]) -> tuple[Cause, ...]:
    """Every difference between the two runs that their documents know of, prompts first."""
    found = [*_of_settings(tonight, before, labels), *_of_results(tonight, before, labels)]
    return tuple(sorted(found, key=lambda cause: _KINDS.index(cause.what)))


def _of_settings(tonight: Night, before: Night, labels: Sequence[str]) -> Iterator[Cause]:
    """Of configurations with the same label: what their label does not say."""
    changed: dict[tuple[str, str, str], list[str]] = {}
    for label in labels:
        old, new = (_settings(night.trial(label).planned) for night in (before, tonight))
        for path in dict.fromkeys([*old, *new]):
            pair = (path, old.get(path, _NOTHING), new.get(path, _NOTHING))
            if pair[1] != pair[2]:
                changed.setdefault(pair, []).append(label)
    for (path, old_value, new_value), of in changed.items():
        section = path.split(".")[0]
        yield Cause(
            what=_BY_PLACE.get(section, "setting"),
            name=path,
            before=_text(old_value),
            after=_text(new_value),
            labels=() if len(of) == len(labels) else tuple(of),
        )


def _settings(planned: PlannedTrial) -> dict[str, str]:
    """Path to value of a configuration without its seed; a prompt's path has its name."""
    config = planned.config.model_dump(mode="json")
    config.pop("seed", None)
    prompt = config.pop("prompt", None)
    name = f"prompt.{planned.prompt_name}" if planned.prompt_name else "prompt"
    return {**dict(_flat("", config)), **(dict(_flat(name, prompt)) if prompt else {})}


def _flat(at: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping) and value:
        for name, part in value.items():
            yield from _flat(f"{at}.{name}" if at else name, part)
    else:
        yield at, value if isinstance(value, str) else json.dumps(value)


def _of_results(tonight: Night, before: Night, labels: Sequence[str]) -> Iterator[Cause]:
    """Of what the trials ran with."""
    old, new = (_results(night, labels) for night in (before, tonight))
    for name in sorted({name for result in (*old, *new) for name in result.versions}):
        yield from _between("versions", name, *(_named(r.versions.get(name) for r in side) for side in (old, new)))
    yield from _between("image", "image", *(_named(r.provenance.image for r in side) for side in (old, new)))
    yield from _between("code", "git commit", *(_named(r.provenance.git_commit for r in side) for side in (old, new)))
    yield from _between("engine", "engine", *(_named(r.engine for r in side) for side in (old, new)))
    yield from _between("device", "device", *(_named(r.device.name for r in side) for side in (old, new)))


def _results(night: Night, labels: Sequence[str]) -> list[Result]:
    return [seed.result for label in labels for seed in night.configurations[label]]


def _named(values: Iterable[str | None]) -> str:
    return " and ".join(sorted({value or _NOTHING for value in values}))


def _between(what: Any, name: str, before: str, after: str) -> Iterator[Cause]:
    if before != after:
        yield Cause(what=what, name=name, before=_text(before), after=_text(after), labels=())


def _text(value: str) -> str:
    return shortened(visible(value), _LONGEST)
