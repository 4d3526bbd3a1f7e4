"""What `vary` may name and hold, judged on the tree so that its mistakes show beside all others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from controller.spec.errors import Problem, dotted, quoted
from controller.spec.varied import VARIED_PATHS, admit_path, admit_value, is_whole
from controller.spec.vary import written
from controller.spec.yaml_tree import Path, TreeValue

__all__ = ["broken_vary_rules"]

Mapped = Mapping[str, TreeValue]


def broken_vary_rules(tree: Mapped) -> Iterator[Problem]:
    """Every mistake in `vary` that pydantic cannot see: paths, values, lengths, and paths that are set twice.

    Parts of another shape than the format's are passed over: pydantic reports them.
    """
    vary = _mapping(tree.get("vary"))
    prompts = _mapping(tree.get("prompts"))
    owners: dict[str, Path] = {}
    for path, values, at in _varied(vary):
        yield from _of_path(path, at, tree=tree)
        if path in owners and at[1] != "trials":
            yield Problem(at, f"already varied by {dotted(owners[path])}; keep one of them")
        owners.setdefault(path, at)
        if path in VARIED_PATHS:
            yield from _of_values(path, values, prompts=prompts)
    yield from _of_lengths(vary)
    yield from _of_ranges(vary)
    product = [path for path, at in owners.items() if at[1] != "trials" and path in VARIED_PATHS]
    yield from _of_listed_trials(vary, product=product)
    yield from _of_repeats(vary)


def _mapping(value: TreeValue) -> Mapped:
    return value if isinstance(value, dict) else {}


def _list(value: TreeValue) -> list[TreeValue]:
    return value if isinstance(value, list) else []


def _varied(vary: Mapped) -> Iterator[tuple[str, list[tuple[TreeValue, Path]], Path]]:
    """(path, its values and where each stands, where the path stands), for every mention of a path."""
    for path, axis in _mapping(vary.get("grid")).items():
        at: Path = ("vary", "grid", path)
        listed = isinstance(axis, dict)
        values = _list(_mapping(axis).get("values") if listed else axis)
        base = (*at, "values") if listed else at
        yield path, [(value, (*base, index)) for index, value in enumerate(values)], at
    for number, block in enumerate(_list(vary.get("paired"))):
        for path, column in _mapping(block).items():
            at = ("vary", "paired", number, path)
            yield path, [(value, (*at, index)) for index, value in enumerate(_list(column))], at
    for path in _mapping(_mapping(vary.get("random")).get("ranges")):
        yield path, [], ("vary", "random", "ranges", path)
    for number, trial in enumerate(_list(vary.get("trials"))):
        for path, value in _mapping(trial).items():
            at = ("vary", "trials", number, path)
            yield path, [(value, at)], at


def _of_path(path: str, at: Path, *, tree: Mapped) -> Iterator[Problem]:
    try:
        section, name = admit_path(path)
    except ValueError as err:
        yield Problem(at, str(err))
        return
    trial = _mapping(tree.get("trial"))
    owner = _mapping(trial.get(section)) if section else trial
    if name in owner:
        place = dotted(("trial", section, name) if section else ("trial", name))
        yield Problem(at, f"is varied here and set to {quoted(owner[name])} in {place}; keep one of them")


def _of_values(path: str, values: list[tuple[TreeValue, Path]], *, prompts: Mapped) -> Iterator[Problem]:
    for value, at in values:
        try:
            admit_value(path, tuple(value) if isinstance(value, list) else value)
        except ValueError as err:
            yield Problem(at, str(err))
            continue
        if path == "prompt" and value not in prompts:
            yield Problem(at, f"{quoted(value)}: is not under `prompts`, which holds {', '.join(prompts) or 'nothing'}")


def _of_lengths(vary: Mapped) -> Iterator[Problem]:
    for number, block in enumerate(_list(vary.get("paired"))):
        lengths = {path: len(column) for path, column in _mapping(block).items() if isinstance(column, list)}
        if len(set(lengths.values())) > 1 or 0 in lengths.values():
            found = ", ".join(f"{path} has {length}" for path, length in lengths.items())
            yield Problem(("vary", "paired", number), f"paired lists need equal lengths above 0: {found}")


def _of_ranges(vary: Mapped) -> Iterator[Problem]:
    for path, bounds in _mapping(_mapping(vary.get("random")).get("ranges")).items():
        at: Path = ("vary", "random", "ranges", path)
        if path not in VARIED_PATHS:
            continue  # reported with the other paths
        try:
            whole = is_whole(path)
        except ValueError as err:
            yield Problem(at, str(err))
            continue
        for end in ("low", "high"):
            value = _mapping(bounds).get(end)
            if isinstance(value, bool | str | list | dict) or value is None:
                continue  # pydantic's
            try:
                admit_value(path, value)
            except ValueError as err:
                hint = "; a range of whole numbers needs whole ends" if whole else ""
                yield Problem((*at, end), f"{err}{hint}")


def _of_listed_trials(vary: Mapped, *, product: list[str]) -> Iterator[Problem]:
    for number, trial in enumerate(_list(vary.get("trials"))):
        missing = [path for path in product if path not in _mapping(trial)]
        if isinstance(trial, dict) and missing:
            rule = "a listed trial has to give every path that grid, paired and random vary"
            yield Problem(("vary", "trials", number), f"leaves out {', '.join(missing)}; {rule}")


def _of_repeats(vary: Mapped) -> Iterator[Problem]:
    if "seeds" in vary and vary.get("rotating_seeds") is not None:
        wrong = "derives seeds from the run's name, and vary.seeds lists them; keep one of the two"
        yield Problem(("vary", "rotating_seeds"), wrong)
    for name in ("seeds", "baselines"):
        seen: set[str] = set()
        for index, value in enumerate(_list(vary.get(name))):
            if written(value) in seen:
                yield Problem(("vary", name, index), f"{quoted(value)}: is listed twice; keep one of them")
            seen.add(written(value))
