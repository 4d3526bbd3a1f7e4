"""Seeds of a run by its name, and those that a suspicion adds."""

from __future__ import annotations

from pathlib import Path

import pytest
from judged_runs import Nightly
from made import PINS
from specs import varied

from controller.planning.expand import expand
from controller.planning.seeds import more_seeds, seeds_of
from controller.regression.more import continued, note_widened, stage_of, widened
from controller.spec.vary import Vary
from controller.stored import DamagedError
from job.contract.errors import SpecError

ROTATING = Vary(rotating_seeds=3)


def test_seeds_come_from_the_runs_name_and_written_ones_stay() -> None:
    assert seeds_of(ROTATING, run="20260301-0230z") == seeds_of(ROTATING, run="20260301-0230z")
    assert not set(seeds_of(ROTATING, run="20260301-0230z")) & set(seeds_of(ROTATING, run="20260302-0230z"))
    assert seeds_of(Vary(seeds=(4, 5)), run="any") == (4, 5)


def test_derived_seeds_never_change() -> None:
    assert seeds_of(ROTATING, run="main") == (94740537, 1460099791, 343420504)


def test_more_seeds_are_others_and_fewer_are_the_first_of_more() -> None:
    present = seeds_of(ROTATING, run="main")
    more = more_seeds(present, run="main", number=3)
    assert not set(more) & set(present)
    assert more_seeds(present, run="main", number=2) == more[:2]
    assert seeds_of(Vary(rotating_seeds=6), run="main") == (*present, *more)


def test_a_plan_has_the_seeds_of_its_run(tmp_path: Path) -> None:
    run = Nightly(tmp_path).run()
    spec = run.loaded.spec.model_copy(update={"vary": Vary(grid={"lora.r": [1]}, rotating_seeds=2, baselines=())})
    found = [trial.seed for trial in expand(spec, PINS, run="night").trials]
    assert tuple(found) == seeds_of(spec.vary, run="night")


def test_both_kinds_of_seeds_at_once_are_a_mistake() -> None:
    with pytest.raises(SpecError, match=r"vary\.rotating_seeds: .*keep one of the two"):
        varied("grid: {lora.r: [1], prompt: [v1]}\nseeds: [1]\nrotating_seeds: 3")


def test_a_widened_spec_keeps_the_trials_there_are_and_adds_seeds(tmp_path: Path) -> None:
    run = Nightly(tmp_path).run()
    wide = widened(run.loaded, run="night-0")
    before, after = (
        {trial.trial_id for trial in expand(one.spec, PINS, run="night-0").trials} for one in (run.loaded, wide)
    )
    assert before < after
    assert len(after) == 2 * len(before)
    assert widened(run.loaded, run="night-0").sha256 == wide.sha256
    fields = ("prompts", "trial", "regression", "objective", "data")
    assert all(getattr(wide.spec, name) == getattr(run.loaded.spec, name) for name in fields)


def test_the_run_of_a_file_goes_on_with_its_widened_spec_once_that_is_noted(tmp_path: Path) -> None:
    run = Nightly(tmp_path).run()
    wide = widened(run.loaded, run="night-0")
    asked = run.loaded.spec.regression
    assert continued(run.store, run.loaded).sha256 == run.loaded.sha256
    note_widened(run.store, run.loaded, wide)
    assert continued(run.store, run.loaded) == run.loaded  # its spec is not stored: an order that does not happen
    run.store.put_once(f"specs/{wide.sha256}.yaml", wide.text)
    assert continued(run.store, run.loaded) == wide._replace(folder=run.loaded.folder)
    plan = run.plan.model_copy(update={"spec_sha256": wide.sha256})
    assert (stage_of(run.store, run.plan, asked), stage_of(run.store, plan, asked)) == ("first", "second")


def test_a_damaged_note_is_refused_by_name(tmp_path: Path) -> None:
    run = Nightly(tmp_path).run()
    run.store.put(f"more/{run.loaded.sha256}.json", b"{")
    with pytest.raises(DamagedError, match=f"more/{run.loaded.sha256}.json"):
        continued(run.store, run.loaded)


def test_a_doubtful_drop_is_suspected_first_and_decided_without_more_seeds(tmp_path: Path) -> None:
    found = {}
    for more in ("null", "0"):
        nightly = Nightly(tmp_path / more, asked=f"{{more_seeds: {more}}}")
        nightly.judged()
        found[more] = [nightly.judged(0.239)]
    (first,), (only,) = found.values()
    assert (first.stage, first.status) == ("first", "suspicion")
    assert (only.stage, only.status) == ("only", "ok")
    assert first.tests[0].p == only.tests[0].p
