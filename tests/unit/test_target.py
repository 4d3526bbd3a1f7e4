"""What RUN and TRIAL mean, and what of a run may go."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_sweep import lora_trial, plan_of, publish, result_of
from memory_store import MemoryStore

from controller.cli.target import find_trial, open_target
from controller.ledger import Ledger, TrialRecord
from controller.leftovers import leftovers, whole_run
from controller.names import Naming
from job.contract.errors import NotFoundError, SpecError
from job.store import Keys

A, B = lora_trial(0), lora_trial(1)
PLAN = plan_of((A, B))


def test_a_trial_is_named_by_its_letter_or_the_start_of_its_id() -> None:
    assert find_trial(PLAN, "B") == B
    assert find_trial(PLAN, B.trial_id) == B
    assert find_trial(PLAN, B.trial_id[:5]) == B


@pytest.mark.parametrize("word", ["b", "Z", "", "../x", "zz", "0" * 13])
def test_a_word_for_no_trial_is_answered_with_the_trials(word: str) -> None:
    if word and all(character in "0123456789abcdef" for character in word):
        assert not any(trial.trial_id.startswith(word) for trial in PLAN.trials)
    with pytest.raises(SpecError, match=f"A = {A.trial_id}"):
        find_trial(PLAN, word)


def test_a_word_for_several_trials_lists_them_with_their_seeds() -> None:
    second = B.model_copy(update={"letter": "A"})
    plan = PLAN.model_copy(update={"trials": (A, second)})
    with pytest.raises(SpecError, match=rf"may be any of A = {A.trial_id} \(seed 0\), A = {B.trial_id} \(seed 0\)"):
        find_trial(plan, "A")


@pytest.mark.parametrize("uri", ["", "run", "sweep/..", "/a/B C/main", "s3://bucket", "s3://demo/main", "a/../b/x y"])
def test_a_place_that_cannot_be_a_run_is_a_mistake(uri: str) -> None:
    with pytest.raises((SpecError, NotFoundError)):
        open_target(uri, store=None, run=None)


def test_a_run_that_is_not_there_says_how_to_make_it(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="lorasweep run SPEC"):
        open_target(str(tmp_path / "demo" / "main"), store=None, run=None)
    assert list(tmp_path.iterdir()) == []


def test_a_run_s_uri_is_its_root_sweep_and_name() -> None:
    assert Naming("s3://bucket/x/", "demo", "main").run_uri == "s3://bucket/x/demo/main"


def test_only_what_a_verified_result_makes_superfluous_may_go() -> None:
    store = MemoryStore()
    publish(store, A, "002-b")
    for trial in (A, B):
        store.put(Keys.attempt_file(trial.trial_id, "001-a", "log.txt"), b"12345")
        store.put(Keys.checkpoint(trial.trial_id, "001-a", 2) + "state.bin", b"123")
        store.put(Keys.progress(trial.trial_id), b"{}")
    ledger = Ledger(trials={A.trial_id: TrialRecord(result=result_of(A, "002-b"))})
    found = leftovers(PLAN, ledger, store.list(Keys.TRIALS))
    assert {(one.prefix, one.why, one.size_bytes) for one in found} == {
        (Keys.attempt(A.trial_id, "001-a"), "superseded attempt", 5),
        (Keys.checkpoints(A.trial_id), "checkpoints of a finished trial", 3),
    }


def test_the_whole_run_is_what_the_project_wrote_with_its_plans_last() -> None:
    store = MemoryStore()
    publish(store, A, "001-a")
    for key in (Keys.CONTROL, Keys.plan("0" * 64), "notes.txt", Keys.attempt_file(A.trial_id, "001-a", "notes.txt")):
        store.put(key, b"{}")
    (found,) = whole_run(store.list(""))
    assert found.keys[-2:] == (Keys.CONTROL, Keys.plan("0" * 64))
    assert set(store.objects) - set(found.keys) == {"notes.txt", f"trials/{A.trial_id}/attempts/001-a/notes.txt"}


def test_a_foreign_file_in_a_superseded_attempt_is_no_leftover() -> None:
    store = MemoryStore()
    store.put(Keys.attempt_file(A.trial_id, "001-a", "notes.txt"), b"mine")
    ledger = Ledger(trials={A.trial_id: TrialRecord(result=result_of(A, "002-b"))})
    assert leftovers(PLAN, ledger, store.list(Keys.TRIALS)) == ()
