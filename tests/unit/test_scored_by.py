"""A spec with other metrics is a spec that differs in nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
from made import GRID

from controller.spec.file import LoadedSpec, parse_spec
from controller.spec.scored_by import scored_by
from job.contract import metric_names
from job.contract.errors import SpecError


def loaded(text: str = GRID) -> LoadedSpec:
    return parse_spec(text.encode(), name="sweep.yaml", folder=Path("here"))


@pytest.mark.parametrize("metrics", [["rouge"], ["rouge", "rouge"]])
def test_the_metrics_that_a_spec_has_leave_it_byte_for_byte(metrics: list[str]) -> None:
    assert scored_by(loaded(), metrics) == loaded()


def test_other_metrics_change_the_evaluation_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    groups = {**metric_names.METRIC_GROUPS, "length": ("length",)}
    monkeypatch.setattr(metric_names, "METRIC_GROUPS", groups)
    before = loaded(GRID.replace("generation: {", "evaluation: {final_splits: [validation]}\n  generation: {"))

    after = scored_by(before, ["length", "rouge"])

    assert after.spec.trial.evaluation.metrics == ("length", "rouge")
    unchanged = after.spec.trial.evaluation.model_copy(update={"metrics": ("rouge",)})
    trial = after.spec.trial.model_copy(update={"evaluation": unchanged})
    assert after.spec.model_copy(update={"trial": trial}).model_dump() == before.spec.model_dump()
    assert (after.folder, after.sha256 == before.sha256) == (before.folder, False)


def test_a_metric_that_is_not_installed_is_refused() -> None:
    with pytest.raises(SpecError, match="'bleu' is not an installed metric"):
        scored_by(loaded(), ["bleu"])
