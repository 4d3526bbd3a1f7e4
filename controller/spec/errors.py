"""Mistakes in a spec as text: where, which value, which rule, and what to do instead."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from types import UnionType
from typing import Any, NamedTuple, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from controller.spec.aliases import field_called
from controller.spec.model import SweepSpec
from controller.spec.yaml_tree import Path, TreeValue
from job.contract.errors import SpecError

__all__ = ["InvalidSpecError", "Problem", "dotted", "problems_of", "quoted"]


# A person mends a few at a time; a hostile file has thousands, and a nearest name for each would take minutes.
_LIMIT_ERRORS = 100
_LIMIT_WORD = 60


class Problem(NamedTuple):
    """One mistake."""

    path: Path
    """Of the value, as far as it exists in the text."""
    message: str


class InvalidSpecError(SpecError):
    """Every mistake of one spec; the message has a line for each."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(f"{dotted(problem.path)}: {problem.message}" for problem in self.problems))


def dotted(path: Path, *, root: str = "spec") -> str:
    """The path as a person writes it: `vary.grid.lora.r[1]`; `root` for that of the whole."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.removeprefix(".") or root


def quoted(value: object, limit: int = 60) -> str:
    """The value as it may stand in a message, shortened."""
    text = {True: "true", False: "false", None: "null"}[value] if isinstance(value, bool | None) else repr(value)
    return text if len(text) <= limit else text[: limit - 3] + "..."


def problems_of(
    err: ValidationError, tree: TreeValue, *, at: Path = (), model: type[BaseModel] = SweepSpec
) -> list[Problem]:
    """One problem for each faulty value of `tree`; of a union that nothing fits, its rules are joined with "or"."""
    messages: dict[Path, list[str]] = {}
    missing: list[Problem] = []
    inside_union: set[Path] = set()
    for error in err.errors(include_url=False)[:_LIMIT_ERRORS]:
        path = _real_path(error["loc"], tree)
        if error["type"] == "too_short" and error["input"]:
            continue  # of a list whose entries are all faulty, and reported
        if error["type"] == "missing":
            missing.append(Problem((*at, *path), _message(error, path, model=model)))
            continue
        if len(path) < len(error["loc"]):
            inside_union.add(path)
        message = _message(error, path, model=model)
        if message not in messages.setdefault(path, []):
            messages[path].append(message)
    faulty = [
        Problem((*at, *path), _joined(found))
        for path, found in messages.items()
        # The member of a union that came furthest says what is wrong.
        if not (path in inside_union and any(path == other[: len(path)] and path != other for other in messages))
    ]
    return [*missing, *faulty]


def _real_path(location: tuple[int | str, ...], tree: TreeValue) -> Path:
    """The part of pydantic's location that is in the tree: it adds union members, `[key]` and missing names."""
    node: TreeValue = tree
    path: list[int | str] = []
    for part in location:
        if isinstance(node, dict) and part in node:
            node = node[str(part)]
        elif isinstance(node, list) and isinstance(part, int) and part < len(node):
            node = node[part]
        elif isinstance(node, list) and isinstance(part, str):
            continue  # a union's member, or the `values` that a plain list stands for
        else:
            break
        path.append(part)
    return tuple(path)


def _joined(messages: list[str]) -> str:
    value, _, rule = messages[0].partition(": must be ")
    rules = [message.partition(": must be ")[2] or message for message in messages[1:]]
    return messages[0] if not rules else f"{value}: must be " + " or ".join(dict.fromkeys([rule, *rules]))


_RULES: Mapping[str, str] = {
    "bool_type": "must be true or false",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "int_parsing_size": "must be a smaller number",
    "float_type": "must be a number",
    "finite_number": "must be a finite number",
    "string_type": "must be text; put it in quotes if it looks like a number, a boolean or null",
    "tuple_type": "must be a list",
    "dict_type": "must be a mapping of `key: value` lines",
    "model_type": "must be a mapping of `key: value` lines",
    "none_required": "must be null",
    "greater_than": "must be above {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be below {lt}",
    "less_than_equal": "must be at most {le:,}",
    "too_short": "must not be empty",
    "literal_error": "must be {expected}",
}
_PATTERNS: Mapping[str, str] = {
    "name": "must be a DNS-1123 label: a-z, 0-9 and `-`, not at either end, at most 40 characters",
    "prompts": "a prompt's name is 1 to 40 of A-Z a-z 0-9 . _ -, with a letter or digit at both ends",
    "prompt": "a prompt's name is 1 to 40 of A-Z a-z 0-9 . _ -, with a letter or digit at both ends",
    "digest": "must be `sha256:<64 hex digits>`, or `hub:<40 hex digits>` for a commit of the hub",
    "baselines": "must be `zero-shot`, or `lead-1` to `lead-99`",
}


def _message(error: ErrorDetails, path: Path, *, model: type[BaseModel]) -> str:
    kind, value = error["type"], error["input"]
    if kind == "missing":
        return f"`{error['loc'][-1]}` is missing; write it" + (f" under `{dotted(path)}`" if path else "")
    if kind == "extra_forbidden":
        return _unknown(path, model=model)
    if kind == "string_pattern_mismatch":
        word = next((part for part in reversed(error["loc"]) if part in _PATTERNS), None)
        rule = _PATTERNS[str(word)] if word else str(error["msg"])
    elif kind in _RULES:
        rule = _RULES[kind].format(**error.get("ctx", {})) + _example(error, path, model=model)
    else:
        rule = str(error["msg"]).removeprefix("Value error, ").replace("Input should be", "must be")
        rule = rule.removesuffix(f": {value!r}")
        if kind == "withheld" or (kind == "value_error" and isinstance(value, dict | list)):
            return rule  # a secret, or so much that nobody would read it
    return f"{quoted(value)}: {rule}{_nearest(value, _choices(error))}"


def _example(error: ErrorDetails, path: Path, *, model: type[BaseModel]) -> str:
    """How a value of this kind is written, where people often write it otherwise."""
    kind, value = error["type"], error["input"]
    if isinstance(value, list) and path[:1] == ("trial",) and kind in {"int_type", "float_type"}:
        return f"; to try several, list them as `{dotted(path[1:])}` under `vary.grid`"
    if kind == "model_type":
        owner = _model_at(model, path)
        return f", such as `{path[-1]}: {{{next(iter(owner.model_fields))}: ...}}`" if owner and path else ""
    if isinstance(value, int | float) and 1 < value <= 100 and 1 in error.get("ctx", {}).values():
        return f"; it is a share, so {value / 100:g} stands for {value:g} %"
    if path and path[-1] == "warmup_steps" and isinstance(value, float) and 0 < value < 1:
        return " of optimizer steps; it is no share of them"
    return ""


def _choices(error: ErrorDetails) -> list[str]:
    """What a literal field may be: pydantic writes them as `'a', 'b' or 'c'`."""
    return re.findall(r"'([^']*)'", str(error.get("ctx", {}).get("expected", "")))


def _nearest(word: object, names: Iterable[str]) -> str:
    near = get_close_matches(str(word), list(names), n=1) if len(str(word)) <= _LIMIT_WORD else []
    return f"; did you mean `{near[0]}`?" if near else ""


def _unknown(path: Path, *, model: type[BaseModel]) -> str:
    key = str(path[-1])
    owner = _model_at(model, path[:-1])
    names = list(owner.model_fields) if owner else []
    if path[:-1] == ("vary",) and (place := _varied_place(key, model=model)):
        return f"unknown key; a varied path stands one level deeper: write `grid: {{{dotted(place)}: [...]}}`"
    if "." in key:
        return _dotted_key(key, path[:-1], model=model)
    if called := field_called(key, names):
        return f"unknown key; did you mean `{called}`?"
    near = _nearest(key, names)
    if near:
        return f"unknown key{near}"
    places = list(_places(model))
    elsewhere = next((place for place in places if place[-1] == key), None)
    if elsewhere:
        return f"unknown key here; `{key}` belongs at `{dotted(elsewhere)}`"
    if called := field_called(key, (str(place[-1]) for place in places)):
        where = dotted(next(place for place in places if place[-1] == called))
        return f"unknown key; did you mean `{called}`, which belongs at `{where}`?"
    return f"unknown key; known here: {', '.join(names)}"


def _varied_place(key: str, *, model: type[BaseModel]) -> Path | None:
    """The field below `trial` that the key names, by its whole path or its end."""
    places = (place[1:] for place in _places(model) if place[0] == "trial")
    return next((place for place in places if f".{dotted(place)}".endswith(f".{key.removeprefix('trial.')}")), None)


def _dotted_key(key: str, parent: Path, *, model: type[BaseModel]) -> str:
    """How to write a key with dots, which only the parts of `vary` take."""
    parts = tuple(key.split("."))
    places = set(_places(model))
    place = next((found for found in ((*parent, *parts), parts, ("trial", *parts)) if found in places), None)
    if place is None:
        return "unknown key; a key with dots stands under `vary` alone"
    *sections, last = place[len(parent) :] if place[: len(parent)] == parent else place
    nested = "".join(f"{section}: {{" for section in sections) + f"{last}: ..." + "}" * len(sections)
    where = f" under `{dotted(parent)}`" if parent and place[: len(parent)] == parent else ""
    return f"unknown key; dots join keys under `vary` alone: write `{nested}`{where}"


def _model_at(model: type[BaseModel], path: Path) -> type[BaseModel] | None:
    """The model that describes the mapping at `path`."""
    annotation: Any = model
    for part in path:
        owner = _model_in(annotation)
        if owner is not None and isinstance(part, str) and part in owner.model_fields:
            annotation = owner.model_fields[part].annotation
        else:
            annotation = _element(annotation)
    return _model_in(annotation)


def _element(annotation: Any) -> Any:
    """What a mapping or tuple annotation holds."""
    parts = [part for part in get_args(_without_none(annotation)) if part is not Ellipsis]
    last = parts[-1] if parts else None
    return get_args(last)[0] if hasattr(last, "__metadata__") else last


def _without_none(annotation: Any) -> Any:
    if get_origin(annotation) in (Union, UnionType):
        return next(part for part in get_args(annotation) if part is not type(None))
    return annotation


def _model_in(annotation: Any) -> type[BaseModel] | None:
    plain = _without_none(annotation)
    return plain if isinstance(plain, type) and issubclass(plain, BaseModel) else None


def _places(model: type[BaseModel], prefix: Path = ()) -> Iterable[Path]:
    """Every field's path, outer ones first."""
    inner: list[tuple[type[BaseModel], Path]] = []
    for name, field in model.model_fields.items():
        yield (*prefix, name)
        found = _model_in(field.annotation)
        if found:
            inner.append((found, (*prefix, name)))
    for found, path in inner:
        yield from _places(found, path)
