"""examples/nightly.yaml is a sound spec, of the size that benchmarks/false_alarms.md is about."""

from __future__ import annotations

from pathlib import Path

from specs import PINS

from controller.planning.expand import expand
from controller.spec.file import load_spec
from controller.spec.model import MeanOf

SPEC = Path(__file__).parents[2] / "examples" / "nightly.yaml"


def test_it_asks_for_8_configurations_3_seeds_and_200_rows() -> None:
    spec = load_spec(SPEC).spec
    trained = [trial for trial in expand(spec, PINS, run="20260301-0230z").trials if trial.kind == "lora"]
    assert len({trial.config_id for trial in trained}) == 8
    assert len(trained) == 24
    assert spec.data.limits["validation"] == 200


def test_it_compares_with_the_mean_of_7_good_runs_and_other_seeds_each_night() -> None:
    spec = load_spec(SPEC).spec
    assert spec.regression is not None
    assert spec.regression.reference == MeanOf(mean_of=7)
    assert not spec.regression.floors  # each would take its share of the 1 %
    first, second = (
        {trial.seed for trial in expand(spec, PINS, run=run).trials if trial.seed is not None}
        for run in ("20260301-0230z", "20260302-0230z")
    )
    assert not first & second
