"""From the store to verified tables: nothing that does not verify, and nothing twice."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import cast

import pytest
from made import GRID, MadeRun, json_lines, made_run

from controller.attempt_files import read_predictions
from controller.collect import Collected, collect, read_examples
from job.contract.documents import DATA_LIMIT_BYTES, Control, Failure, Prediction, Retry, to_json
from job.contract.errors import ResultError
from job.store import Keys, Store

ONE = GRID.replace("prompt: {values: [v1, v2], why: Does asking for brevity help?}", "prompt: [v1]").replace(
    "training.learning_rate: [5e-4, 2e-4]", "training.learning_rate: [5e-4]"
)


@pytest.fixture
def run(tmp_path: Path) -> MadeRun:
    """A (r 8), B (r 16), C zero-shot, D lead-3."""
    return made_run(tmp_path, ONE)


def collected(run: MadeRun) -> Collected:
    return collect(run.store, run.plan, run.loaded.spec)


def test_a_finished_trial_comes_with_scores_losses_and_evaluations(run: MadeRun) -> None:
    run.finish(run.trial("A"), score=0.4)
    first = collected(run).trials[0]
    assert first.state == "succeeded"
    assert first.measured is not None
    assert [point.step for point in first.measured.losses] == list(range(1, 13))
    assert [(record.step, record.split) for record in first.measured.evaluations] == [
        (6, "validation"),
        (12, "validation"),
        (12, "test"),
    ]
    table = first.measured.scores["test"]
    assert table.values["rougeL"].shape == (48,)
    assert table.example_ids[0] == "test-000"


def test_a_run_without_results_is_all_pending_and_has_no_date(run: MadeRun) -> None:
    found = collected(run)
    assert {trial.state for trial in found.trials} == {"pending"}
    assert found.data_until is None


def test_a_failed_trial_comes_with_reason_message_and_log(run: MadeRun) -> None:
    run.fail(run.trial("B"), reason="gpu_oom", message="out of memory", log_tail="the end")
    trouble = collected(run).trials[1].trouble
    assert trouble is not None
    assert (trouble.reason, trouble.message, trouble.attempts, trouble.log_tail) == (
        "gpu_oom",
        "out of memory",
        1,
        "the end",
    )


def test_reason_message_and_log_are_of_the_failure_that_decided(run: MadeRun) -> None:
    trial = run.trial("B")
    run.fail(trial, message="the loss was nan", log_tail="step 7 loss nan")
    later = Failure(
        trial_id=trial.trial_id, attempt="made-2", reason="crash", permanent=False, exit_code=-11, message="killed",
        log_tail="Segmentation fault", written_by="controller", at=run.clock + timedelta(seconds=9),
    )  # fmt: skip
    run.store.put_once(Keys.failure(trial.trial_id, "made-2"), to_json(later))
    trouble = collected(run).trials[1].trouble
    assert trouble is not None
    assert (trouble.reason, trouble.message, trouble.log_tail) == ("diverged", "the loss was nan", "step 7 loss nan")


def test_failures_that_spent_the_attempts_give_the_reason_of_the_newest(run: MadeRun) -> None:
    trial = run.trial("B")
    for number, reason in enumerate(("crash", "oom", "timeout"), start=1):
        failure = Failure.model_validate({
            "trial_id": trial.trial_id, "attempt": f"made-{number}", "reason": reason, "permanent": False,
            "exit_code": 1, "message": "it ended", "log_tail": f"log {number}", "written_by": "controller",
            "at": run.clock + timedelta(seconds=number),
        })  # fmt: skip
        run.store.put_once(Keys.failure(trial.trial_id, f"made-{number}"), to_json(failure))
    trouble = collected(run).trials[1].trouble
    assert trouble is not None
    assert (trouble.reason, trouble.message, trouble.log_tail) == ("timeout", "it ended (attempt 3)", "log 3")


def test_a_failure_that_a_retry_voided_is_pending(run: MadeRun) -> None:
    trial = run.trial("B")
    run.fail(trial)
    retry = Retry(trial_id=trial.trial_id, at=run.clock, voids=("made-1",))
    run.store.put(Keys.retry(trial.trial_id, 1), to_json(retry))
    assert collected(run).trials[1].state == "pending"


def test_a_stopped_trial_is_stopped_and_what_is_finished_stays(run: MadeRun) -> None:
    run.finish(run.trial("A"))
    run.store.put(Keys.CONTROL, to_json(Control(state="stopped")))
    assert [trial.state for trial in collected(run).trials] == ["succeeded", "stopped", "stopped", "stopped"]


def test_a_result_wins_over_a_failure(run: MadeRun) -> None:
    run.fail(run.trial("A"))
    run.finish(run.trial("A"))
    assert collected(run).trials[0].state == "succeeded"


def test_the_newest_result_or_failure_dates_the_data(run: MadeRun) -> None:
    run.finish(run.trial("A"))
    run.fail(run.trial("B"))
    assert collected(run).data_until == run.clock


def _damage(run: MadeRun, path: str, body: bytes | None) -> None:
    """Change a file of trial A's attempt to these bytes, or to others of the same length."""
    trial = run.trial("A")
    key = Keys.attempt_file(trial.trial_id, f"made-{trial.trial_id[:4]}", path)
    there = run.store.read(key, limit_bytes=DATA_LIMIT_BYTES)
    run.store.put(key, bytes(255 - byte for byte in there) if body is None else body)


@pytest.mark.parametrize("path", ["scores.json", "adapter/adapter_model.safetensors", "log.txt", "manifest.json"])
@pytest.mark.parametrize("body", [None, b"short"])
def test_a_damaged_file_makes_its_trial_a_failed_one(run: MadeRun, path: str, body: bytes | None) -> None:
    run.finish(run.trial("A"))
    run.finish(run.trial("B"))
    _damage(run, path, body)
    first, second = collected(run).trials[:2]
    assert first.state == "failed"
    assert first.trouble is not None
    assert first.trouble.reason == "result_corrupt"
    assert path in first.trouble.message
    assert second.state == "succeeded"


def test_files_are_read_in_full_once_and_then_only_those_with_numbers(run: MadeRun) -> None:
    run.finish(run.trial("A"))
    run.finish(run.trial("B"))
    counting = Counting(run.store)
    first = collect(cast(Store, counting), run.plan, run.loaded.spec)
    assert len([key for key in counting.hashed if "adapter" in key]) == 2
    counting.hashed.clear()
    second = collect(cast(Store, counting), run.plan, run.loaded.spec)
    assert counting.hashed == []
    assert [trial.state for trial in second.trials] == [trial.state for trial in first.trials]


def test_scores_changed_after_they_were_verified_are_still_noticed(run: MadeRun) -> None:
    run.finish(run.trial("A"))
    assert collected(run).trials[0].state == "succeeded"
    _damage(run, "scores.json", None)
    assert collected(run).trials[0].state == "failed"


def test_a_result_made_anew_is_read_in_full_again(run: MadeRun) -> None:
    trial = run.trial("A")
    run.finish(trial, score=0.2)
    collected(run)
    run.store.delete(Keys.result(trial.trial_id))
    run.finish(trial, score=0.5)
    counting = Counting(run.store)
    assert collect(cast(Store, counting), run.plan, run.loaded.spec).trials[0].state == "succeeded"
    assert counting.hashed


def test_an_unreadable_memory_of_what_was_verified_only_costs_time(run: MadeRun) -> None:
    run.finish(run.trial("A"))
    run.store.put(Keys.report("verified.json"), b"{not json")
    assert collected(run).trials[0].state == "succeeded"


def test_scores_of_another_trial_are_refused(run: MadeRun) -> None:
    a, b = run.trial("A"), run.trial("B")
    run.finish(b)
    stolen = Keys.attempt_file(b.trial_id, f"made-{b.trial_id[:4]}", "scores.json")
    run.finish(a, files={"scores.json": run.store.read(stolen, limit_bytes=DATA_LIMIT_BYTES)})
    trouble = collected(run).trials[0].trouble
    assert trouble is not None
    assert b.trial_id in trouble.message


def test_trials_of_an_earlier_spec_are_named_with_their_spec(tmp_path: Path) -> None:
    earlier = made_run(tmp_path, ONE)
    earlier.finish(earlier.trial("A"))
    earlier.finish(earlier.trial("B"))
    later = made_run(tmp_path, ONE.replace("lora.r: [8, 16]", "lora.r: [8, 32]"), earlier=[earlier.plan])
    found = collected(later)
    assert [(left.label, left.spec_sha256) for left in found.left] == [
        (earlier.trial("B").label, earlier.plan.spec_sha256)
    ]
    assert found.trials[0].state == "succeeded"


@pytest.mark.parametrize(
    ("root", "expected"),
    [("runs", "runs/made/main"), ("./deep/runs", "deep/runs/made/main"), ("..", "STORE/made/main")],
)
def test_commands_name_the_run_as_the_spec_names_its_store(tmp_path: Path, root: str, expected: str) -> None:
    run = made_run(tmp_path / "one" / "two", ONE + f"store: {{root: {root}}}\n")
    assert collected(run).place == expected


def test_texts_are_those_of_the_final_step(run: MadeRun) -> None:
    result = run.finish(run.trial("A"), prediction="a summary")
    texts = read_predictions(run.store, result, split="validation", example_ids=frozenset({"validation-003"}))
    assert texts == {"validation-003": "a summary"}


@pytest.mark.parametrize(
    "example_id", ['say "hi"', "back\\slash", "tab\tline\nend", "\x01\x7f", "\u65e5\u672c \U0001f600", "/"]
)
def test_a_text_is_found_whatever_is_in_the_id_of_its_row(run: MadeRun, example_id: str) -> None:
    lines = [
        Prediction(example_id=name, split="test", step=12, text=f"of {name}", token_ids=(1,), ended="eos")
        for name in ("say", example_id, "slash")
    ]
    result = run.finish(run.trial("A"), files={"predictions.jsonl": json_lines(lines)})
    texts = read_predictions(run.store, result, split="test", example_ids=frozenset({example_id}))
    assert texts == {example_id: f"of {example_id}"}


def test_damaged_texts_are_refused(run: MadeRun) -> None:
    result = run.finish(run.trial("A"))
    _damage(run, "predictions.jsonl", None)
    with pytest.raises(ResultError, match=r"predictions\.jsonl has SHA-256"):
        read_predictions(run.store, result, split="test", example_ids=frozenset({"test-000"}))


def test_there_are_no_examples_before_the_first_trial_loaded_its_rows(run: MadeRun) -> None:
    assert read_examples(run.store, run.plan) == {}
    run.put_examples()
    assert len(read_examples(run.store, run.plan)) == 80


class Counting:
    """A store that notes which objects were read in full for their SHA-256."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.hashed: list[str] = []

    def sha256(self, key: str) -> str:
        self.hashed.append(key)
        return self._store.sha256(key)

    def __getattr__(self, name: str) -> object:
        return getattr(self._store, name)
