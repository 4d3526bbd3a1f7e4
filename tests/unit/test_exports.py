"""What other tools are told of a run, and that nothing is written twice."""

from __future__ import annotations

from pathlib import Path

import pytest
from made import GRID, MadeRun, made_run

from controller.exports.event_folder import EventFolder, metric_tags
from controller.exports.extra import check_extra
from controller.exports.values import trial_name, varied_values
from controller.ledger import Ledger
from controller.ledger_reader import LedgerReader
from controller.states import Limits, Situation, states
from job.contract.errors import ConfigurationError, ResultError
from job.store import Keys


def test_numbers_are_numbers_where_all_values_of_a_path_are(tmp_path: Path) -> None:
    text = GRID.replace("target_modules: all-linear", "r: 4").replace(
        "lora.r: [8, 16]", 'lora.target_modules: ["1", x]'
    )
    run = made_run(tmp_path, text)
    values = varied_values(run.plan.trials, run.loaded.spec)
    first = values[run.trial("A").trial_id]
    assert first == {"prompt": "v1", "lora.target_modules": "1", "training.learning_rate": 5e-4}
    assert {one["lora.target_modules"] for one in values.values() if one} == {"1", "x"}
    assert values[run.trial("K").trial_id] == {}


def test_a_trial_has_a_name_that_sorts_by_letter_and_is_a_folder(tmp_path: Path) -> None:
    run = made_run(tmp_path)
    a, k = run.trial("A"), run.trial("K")
    assert (trial_name(a), trial_name(k)) == (f"A-seed0-{a.trial_id}", f"K-{k.trial_id}")


def test_the_objective_is_the_first_metric(tmp_path: Path) -> None:
    by_loss = GRID.replace("version: 1\n", "version: 1\nobjective: {metric: completion_loss, split: test}\n")
    assert metric_tags(made_run(tmp_path / "a").loaded.spec)[0] == "validation/rougeL"
    assert metric_tags(made_run(tmp_path / "b", by_loss).loaded.spec)[0] == "test/completion_loss"


def test_what_is_not_installed_is_said_with_the_extra_that_brings_it() -> None:
    check_extra("json", extra="json")
    with pytest.raises(ConfigurationError, match=r"not_there is not installed here; `pip install 'lorasweep\[some\]'`"):
        check_extra("not_there", extra="some")


def situation(run: MadeRun) -> Situation:
    ledger: Ledger = LedgerReader(run.store, run.plan).read(live=None)
    return Situation(run.plan, ledger, (), Limits(), run.clock)


def follow(run: MadeRun, root: Path) -> int:
    folder = EventFolder(root, store=run.store, plan=run.plan, spec=run.loaded.spec)
    folder.begin()
    given = situation(run)
    return folder.follow(given, states(given))


def files(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_a_trial_is_written_once_and_a_retried_one_takes_the_place_of_its_failure(tmp_path: Path) -> None:
    run, root = made_run(tmp_path), tmp_path / "events"
    run.finish(run.trial("A"))
    run.fail(run.trial("B"))
    assert follow(run, root) == 2
    before = files(root)
    assert len(before) == 3
    assert (follow(run, root), files(root)) == (0, before)
    run.finish(run.trial("B"))
    assert follow(run, root) == 1
    after = files(root)
    changed = {name.rpartition("/")[0] for name in before.keys() ^ after.keys()}
    assert changed == {trial_name(run.trial("B"))}
    assert len(after) == 3


def test_what_a_run_no_longer_asks_for_goes_and_what_is_not_ours_stays(tmp_path: Path) -> None:
    run, root = made_run(tmp_path), tmp_path / "events"
    run.finish(run.trial("A"))
    (root / "mine").mkdir(parents=True)
    (root / "mine" / "notes.txt").write_text("keep")
    (root / "Z-seed0-000000000000").mkdir()
    (root / "Z-seed0-000000000000" / "events.out.tfevents.old").write_bytes(b"")
    follow(run, root)
    assert {path.name for path in root.iterdir() if path.is_dir()} == {"mine", trial_name(run.trial("A"))}


def test_records_with_other_bytes_than_their_manifest_are_not_shown(tmp_path: Path) -> None:
    run = made_run(tmp_path)
    result = run.finish(run.trial("A"))
    given = situation(run)
    run.store.put(Keys.attempt_file(result.trial_id, result.attempt, "metrics.jsonl"), b"{}\n")
    folder = EventFolder(tmp_path / "events", store=run.store, plan=run.plan, spec=run.loaded.spec)
    with pytest.raises(ResultError, match=r"metrics\.jsonl has SHA-256"):
        folder.follow(given, states(given))
