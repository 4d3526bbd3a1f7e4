"""What the words RUN and TRIAL of a command mean: an open run, and one trial of its plan."""

from __future__ import annotations

import re
from collections.abc import Collection
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from controller.backend import Observed
from controller.cli.errand import Errand, run_command, run_of_changed_spec
from controller.cli.limits import limits_of
from controller.ledger_reader import LedgerReader
from controller.names import Naming
from controller.regression.more import continued
from controller.spec.file import LoadedSpec, load_spec, parse_spec
from controller.spec.model import SweepSpec
from controller.states import Situation
from controller.stored import newest_plan, read_stored
from job.contract.config import PlannedTrial
from job.contract.documents import DATA_LIMIT_BYTES, Plan
from job.contract.errors import NotFoundError, SpecError
from job.store import Keys, Store, open_store
from job.store.address import refusal

__all__ = [
    "Found",
    "Target",
    "find_run",
    "find_trial",
    "is_spec_file",
    "naming_of",
    "open_found",
    "open_target",
    "situation_of",
]

_RUN = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,126}[A-Za-z0-9])?")
_NAME_BYTES = 255  # NAME_MAX of Linux and macOS
_SWEEP = re.compile(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?")


_LOOKING = Errand("status")


class Found(NamedTuple):
    """A run that has left something; nothing of it is read yet."""

    naming: Naming
    store: Store
    loaded: LoadedSpec | None
    """From the file, where that is what ran."""
    begin: str
    """The command that runs its spec."""


class Target(NamedTuple):
    """A run that exists."""

    naming: Naming
    store: Store
    plan: Plan
    loaded: LoadedSpec
    """From the file, or as the run stored it."""
    begin: str
    """The command that runs its spec."""

    @property
    def spec(self) -> SweepSpec:
        return self.loaded.spec


def is_spec_file(word: str) -> bool:
    """Whether the word RUN means a spec file, there or not; else it is `<root>/<sweep>/<run>`."""
    return word.endswith((".yaml", ".yml")) or _is_file(word)


def naming_of(spec: SweepSpec, *, store: str | None, run: str | None) -> Naming:
    """Which run of the spec is meant: `store` and `run` as given, or the spec's own root and `main`.

    Raises SpecError for a store that is no address, and for a run's name that cannot be a folder.
    """
    # An empty --store or --run is a script's unset variable; the default in its place could be another run's.
    root = _absolute(spec.store.root, given="store.root") if store is None else _absolute(store, given="--store")
    return Naming(root=root, sweep=spec.name, run="main" if run is None else _checked_run(run, given="--run"))


def find_run(target: str, *, store: str | None, run: str | None, errand: Errand) -> Found:
    """The run that `target` names: a spec file, with store and run beside it, or `<root>/<sweep>/<run>`.

    Raises NotFoundError when there is no such run, SpecError when the words contradict each other or the spec file is
    not the one that ran and `errand` needs to know.
    """
    if is_spec_file(target):
        loaded = load_spec(Path(target))
        naming = naming_of(loaded.spec, store=store, run=run)
        begin = run_command(target, store=store, run=run)
        if open_store(naming.run_uri).stat(Keys.plan(loaded.sha256)) is None:
            meant = run_of_changed_spec(naming, spec=target, store=store, run=run, errand=errand)
            return Found(meant, open_store(meant.run_uri), None, begin)
        return Found(naming, open_store(naming.run_uri), loaded, begin)
    if store is not None or run is not None:
        raise SpecError(f"{target!r} already names store, sweep and run; give --store and --run with a spec file only")
    naming = _naming_of_uri(target)
    opened = open_store(naming.run_uri)
    begin = run_command("SPEC", store=naming.root, run=None if naming.run == "main" else naming.run)
    if next(iter(opened.list("")), None) is None:
        raise NotFoundError(f"{naming.run_uri}: no run there; `{begin}` makes one")
    return Found(naming, opened, None, begin)


def open_target(target: str, *, store: str | None, run: str | None, errand: Errand = _LOOKING) -> Target:
    """The run that `target` names, with its plan and spec. Raises as `find_run` and `open_found` do."""
    return open_found(find_run(target, store=store, run=run, errand=errand))


def open_found(found: Found) -> Target:
    """The run with its plan and spec. Raises DamagedError for a damaged plan, NotFoundError when there is none."""
    if found.loaded is not None:
        # A suspicion may have added seeds since; what the run does is then in its widened spec.
        loaded = continued(found.store, found.loaded)
        plan = read_stored(found.store, Plan, Keys.plan(loaded.sha256))
        return Target(found.naming, found.store, plan, loaded, found.begin)
    plan = _newest_plan(found)
    key = Keys.spec(plan.spec_sha256)
    text = found.store.read(key, limit_bytes=DATA_LIMIT_BYTES)
    loaded = parse_spec(text, name=f"{found.naming.run_uri}/{key}", folder=Path.cwd())
    return Target(found.naming, found.store, plan, loaded, found.begin)


def situation_of(
    target: Target,
    reader: LedgerReader | None = None,
    *,
    observed: tuple[Observed, ...] | None = None,
    live: Collection[str] | None = (),
) -> Situation:
    """What the store says now, beside what somebody has `observed`.

    `reader` remembers what it has read before; it reads `live` trials again, and all of them where that is None.
    """
    execution = target.spec.execution
    ledger = (reader or LedgerReader(target.store, target.plan)).read(live=live)
    limits = limits_of(execution, capacity=execution.parallelism)
    return Situation(target.plan, ledger, observed, limits, datetime.now(UTC))


def find_trial(plan: Plan, word: str) -> PlannedTrial:
    """The one trial with this letter, or whose id starts with `word`.

    Raises SpecError listing the candidates when there are several, and the letters when there is none.
    """
    found = [trial for trial in plan.trials if trial.letter == word]
    if not found and re.fullmatch(r"[0-9a-f]{1,12}", word):
        found = [trial for trial in plan.trials if trial.trial_id.startswith(word)]
    if len(found) == 1:
        return found[0]
    if found:
        raise SpecError(f"trial {word!r} may be any of {_listed(found)}; give more of its id")
    raise SpecError(f"no trial {word!r} in this plan; there are {_listed(plan.trials)}")


def _listed(trials: list[PlannedTrial] | tuple[PlannedTrial, ...]) -> str:
    named = [
        f"{trial.letter} = {trial.trial_id}" + ("" if trial.seed is None else f" (seed {trial.seed})")
        for trial in trials[:20]
    ]
    more = len(trials) - len(named)
    return ", ".join(named) + (f" and {more} more" if more else "")


def _naming_of_uri(uri: str) -> Naming:
    if wrong := refusal(uri):
        raise SpecError(wrong)
    scheme, separator, rest = uri.rstrip("/").rpartition("://")
    # Three parts as typed: a bare word would otherwise take root and sweep from the working directory.
    whole = rest if separator or rest.count("/") < 2 else _absolute(rest, given="run")
    parts = whole.rstrip("/").rsplit("/", 2)
    if len(parts) < 3 or not _SWEEP.fullmatch(parts[1]) or (separator and not parts[0]):
        raise SpecError(f"{uri!r} is neither a spec file nor a run; a run is <store root>/<sweep>/<run>")
    root = f"{scheme}://{parts[0]}" if separator else parts[0] or "/"
    return Naming(root=root, sweep=parts[1], run=_checked_run(parts[2], given="run name"))


def _checked_run(run: str, *, given: str) -> str:
    if not _RUN.fullmatch(run):
        raise SpecError(f"{given} {run!r} is not allowed: letters, digits, . _ - and no other, 128 at most")
    return run


def _absolute(root: str, *, given: str) -> str:
    if wrong := refusal(root):
        raise SpecError(f"{given} {wrong}")
    if root.startswith("s3://"):
        return root.rstrip("/")
    try:
        absolute = str(Path(root).expanduser().resolve())
        longest = max(len(part.encode()) for part in absolute.split("/"))
    except UnicodeEncodeError as err:
        raise SpecError(f"{given} {root!r}: is not UTF-8, as every name in a store's documents is; rename it") from err
    except (OSError, RuntimeError) as err:  # ~ of nobody, links in a circle
        raise SpecError(f"{given} {root!r}: is no path: {str(err).rstrip('.')}; name another folder") from err
    if longest > _NAME_BYTES:
        raise SpecError(f"{given} {root[:_NAME_BYTES]!r}...: {_NAME_BYTES} bytes a name at most; shorten it")
    return absolute


def _is_file(word: str) -> bool:
    try:
        return Path(word).is_file()
    except OSError:  # too long, no rights: as a run it is looked at again
        return False


def _newest_plan(found: Found) -> Plan:
    try:
        return newest_plan(found.store)
    except NotFoundError as err:
        raise NotFoundError(f"{found.naming.run_uri}: no run there; `{found.begin}` makes one") from err
