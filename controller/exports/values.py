"""What other tools call parameters: the varied values of a trial, with numbers as numbers. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from controller.report.setup import values_of
from controller.spec.model import SweepSpec
from job.contract.config import PlannedTrial

__all__ = ["Value", "trial_name", "varied_values"]

Value = float | str


def varied_values(trials: Iterable[PlannedTrial], spec: SweepSpec) -> dict[str, dict[str, Value]]:
    """Trial to varied path to value; of a path whose values are not all numbers, each is text.

    Baselines have none. A path that a trial does not set is left out.
    """
    written = {trial.trial_id: values_of(trial, spec) for trial in trials}
    numeric = {path for path in spec.vary.paths if _all_numbers(values[path] for values in written.values() if values)}
    return {
        trial_id: {path: float(text) if path in numeric else text for path, text in values.items() if text}
        for trial_id, values in written.items()
    }


def trial_name(trial: PlannedTrial) -> str:
    """What a trial is called in lists of other tools, fit for a folder: `A-seed0-0123456789ab`."""
    seed = "" if trial.seed is None else f"-seed{trial.seed}"
    return f"{trial.letter}{seed}-{trial.trial_id}"


def _all_numbers(texts: Iterable[str]) -> bool:
    found = [text for text in texts if text]
    return bool(found) and all(_is_number(text) for text in found)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    # Both are names of nothing that can be drawn.
    return text.lower() not in {"nan", "inf", "-inf", "infinity"}
