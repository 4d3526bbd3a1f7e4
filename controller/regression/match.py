"""Runs as tables that may be compared: configurations matched by label, rows by example_id. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from controller.collect import Collected, Measured, TrialData
from controller.regression.noise import Side
from controller.report.comparable import BITS, LOSS, Compared, Subject, tables_of
from controller.stats.components import Fit
from controller.stats.scores import Direction
from job.contract.documents import Example, ScoredSplit
from job.contract.metric_names import DIRECTIONS

__all__ = ["Matched", "Night", "Skipped", "direction_of", "match"]

Examples = Mapping[tuple[str, str], Example]


class Night(NamedTuple):
    """One run, read."""

    run: str
    collected: Collected
    examples: Examples
    """The scored rows by split and id, as far as they are known."""

    @property
    def configurations(self) -> dict[str, tuple[Measured, ...]]:
        """Label to the finished seeds of a trained configuration."""
        found: dict[str, list[Measured]] = {}
        for trial in self.collected.trials:
            if trial.planned.kind == "lora" and trial.measured is not None:
                found.setdefault(trial.planned.label, []).append(trial.measured)
        return {label: tuple(seeds) for label, seeds in found.items()}

    def trial(self, label: str) -> TrialData:
        """The first finished seed of the configuration."""
        return next(one for one in self.collected.trials if one.planned.label == label and one.measured is not None)


class Skipped(NamedTuple):
    """A run that is not compared."""

    run: str
    why: str


class Matched(NamedTuple):
    """What can be compared."""

    labels: tuple[str, ...]
    """In the order of tonight's plan."""
    nights: Mapping[str, Night]
    """Tonight and the others that fit, by name."""
    tables: Mapping[str, Compared]
    """Metric to its table of all of them; the objective's is among them."""
    metric: str
    """The objective's; a loss in bits per character where the tokens to predict differ between runs."""
    rows: tuple[str, ...]
    """Ids of the rows of every table, in its order."""
    places: Mapping[str, Side]
    """Run to its configurations in every table, in the order of `labels`."""
    skipped: tuple[Skipped, ...]
    unmatched: tuple[str, ...]
    """Labels of tonight that the others lack."""

    def fitted(self, metric: str) -> Fit | None:
        """None where the metric was not measured of all of them."""
        table = self.tables.get(metric)
        return None if table is None else table.fitted

    def configured(self, run: str) -> frozenset[str]:
        """Ids of what was trained, seeds and versions aside: model, rows, prompt and settings."""
        night = self.nights[run]
        return frozenset(night.trial(label).planned.config_id for label in self.labels)

    def different(self, runs: Sequence[str]) -> tuple[str, ...]:
        """Those of `runs` that trained anew: of runs with a seed in common the first, as they say the same twice."""
        known: set[str] = set()
        kept = []
        for run in runs:
            ids = {
                seed.result.trial_id for label in self.labels for seed in self.nights[run].configurations.get(label, ())
            }
            if not ids & known:
                kept.append(run)
            known |= ids
        return tuple(kept)


def direction_of(metric: str) -> Direction:
    """Which way of a metric is better."""
    return DIRECTIONS[LOSS if metric == BITS else metric]


def match(
    tonight: Night, others: Sequence[Night], *, needed: Sequence[str], metric: str, split: ScoredSplit
) -> Matched | str:
    """Tonight beside the others that fit, `needed` ones first; or why nothing fits, as a sentence.

    The configurations are those that tonight and the first of the others that fits have in common.
    """
    ours = _scored(tonight, split, metric)
    if not ours:
        return f"No trained configuration of this run has {metric} on {split}."
    order = sorted(others, key=lambda night: night.run not in needed)
    labels: tuple[str, ...] = ()
    fitting: dict[str, Night] = {tonight.run: tonight}
    skipped: list[Skipped] = []
    for night in order:
        theirs = _scored(night, split, metric)
        wanted = labels or tuple(label for label in ours if label in theirs)
        if why := _unfit(tonight, night, wanted, theirs=theirs, split=split):
            skipped.append(Skipped(night.run, why))
        else:
            labels = wanted
            fitting[night.run] = night
    labels = labels or tuple(ours)
    if skipped and len(fitting) == 1:
        return "".join(f"Run {one.run} cannot be compared: {one.why}. " for one in skipped).strip()
    return _tabled(fitting, labels, skipped=skipped, metric=metric, split=split, ours=ours)


def _scored(night: Night, split: ScoredSplit, metric: str) -> dict[str, tuple[Measured, ...]]:
    column = "completion_nll" if metric == LOSS else metric
    return {
        label: seeds
        for label, seeds in night.configurations.items()
        if all(split in seed.scores and column in seed.scores[split].values for seed in seeds)
    }


def _unfit(
    tonight: Night,
    night: Night,
    labels: Sequence[str],
    *,
    theirs: Mapping[str, tuple[Measured, ...]],
    split: ScoredSplit,
) -> str:
    """Why a run cannot be compared; empty where it can."""
    lacking = [label for label in labels if label not in theirs]
    if not labels:
        return "no configuration has the same label"
    if lacking:
        return f"it has no scores of {lacking[0]!r}" + (f" and {len(lacking) - 1} more" if len(lacking) > 1 else "")
    ours = frozenset(tonight.configurations[labels[0]][0].scores[split].example_ids)
    other = frozenset(theirs[labels[0]][0].scores[split].example_ids)
    if ours != other:
        return f"it was scored on other {split} rows ({len(ours & other):,} of {len(ours):,} in common)"
    changed = sum(_differs(tonight.examples, night.examples, (split, row)) for row in ours)
    return f"the text of {changed:,} of {len(ours):,} {split} rows has changed" if changed else ""


def _differs(ours: Examples, theirs: Examples, key: tuple[str, str]) -> bool:
    if key not in ours or key not in theirs:
        return False
    return (ours[key].input, ours[key].reference) != (theirs[key].input, theirs[key].reference)


def _tabled(
    nights: dict[str, Night],
    labels: tuple[str, ...],
    *,
    skipped: Sequence[Skipped],
    metric: str,
    split: ScoredSplit,
    ours: Mapping[str, object],
) -> Matched | str:
    names = {(run, label): f"{run}/{at}" for run in nights for at, label in enumerate(labels)}
    subjects = [Subject(name, True, nights[run].configurations[label]) for (run, label), name in names.items()]
    tonight = next(iter(nights.values()))
    characters = {key: len(example.reference) for key, example in tonight.examples.items()}
    found = tables_of(subjects, characters).get(split, {})
    tables = {
        name: table for name, compared in found.items() for table in compared if set(table.letters) == {*names.values()}
    }
    metric = BITS if metric == LOSS and LOSS not in tables and BITS in tables else metric
    if metric not in tables or tables[metric].fitted is None:
        return f"The runs have no {metric} on the same {split} rows, of which two at least are needed."
    letters = tables[metric].letters
    if any(table.letters != letters for table in tables.values()):
        tables = {metric: tables[metric]}
    ids = tonight.configurations[labels[0]][0].scores[split].example_ids
    return Matched(
        labels=labels,
        rows=ids if len(ids) == tables[metric].rows else (),
        nights=nights,
        tables=tables,
        metric=metric,
        places={run: Side(tuple(letters.index(names[run, label]) for label in labels)) for run in nights},
        skipped=tuple(skipped),
        unmatched=tuple(label for label in ours if label not in labels),
    )
