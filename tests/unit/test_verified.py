"""One definition of done: every command gives the same answer about a result, and damage does not hide."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from made import MadeRun, made_run

from controller.__main__ import main
from controller.names import Naming
from controller.planning.outlook import outlook_of
from controller.planning.plan import Preview
from controller.verified import VerifiedResults
from job.contract.errors import ResultError
from job.store import Keys

ADAPTER = "adapter/adapter_model.safetensors"


@pytest.fixture
def run(tmp_path: Path) -> MadeRun:
    """A finished run with a report."""
    made = made_run(tmp_path)
    for trial in made.plan.trials:
        made.finish(trial)
    assert main(["report", made.store.uri]) == 0
    return made


def flip(run: MadeRun, path: str = ADAPTER, *, keep_time: bool = False) -> None:
    """Change one byte of a file of trial A."""
    trial_id = run.trial("A").trial_id
    file = Path(run.store.uri, Keys.attempt_file(trial_id, f"made-{trial_id[:4]}", path))
    before = file.stat()
    with file.open("r+b") as stream:
        first = stream.read(1)
        stream.seek(0)
        stream.write(bytes([first[0] ^ 1]))
    if keep_time:
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def said(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    """What the command prints as JSON."""
    capsys.readouterr()
    main([*words, "--output", "json"])
    return json.loads(capsys.readouterr().out)


def failed_in_status(run: MadeRun, capsys: pytest.CaptureFixture[str]) -> list[tuple[str, str]]:
    trials = said(capsys, "status", run.store.uri)["trials"]
    return [(trial["letter"], trial["reason"]) for trial in trials if trial["state"] != "succeeded"]


def failed_in_report(run: MadeRun, capsys: pytest.CaptureFixture[str], *words: str) -> list[tuple[str, str]]:
    report = said(capsys, "report", run.store.uri, *words)
    return [(failed["letter"], failed["reason"]) for failed in report["failures"]]


def planned_states(run: MadeRun) -> set[str]:
    naming = Naming(root="/runs", sweep="made", run="main")
    preview = Preview(run.plan, stored=True)
    return {
        trial.state for trial in outlook_of(run.loaded.spec, preview, store=run.store, naming=naming, slots=1).trials
    }


@pytest.mark.parametrize("path", [ADAPTER, "scores.json", "predictions.jsonl", "log.txt"])
def test_a_byte_flipped_after_a_report_is_a_damaged_result_to_every_command(
    run: MadeRun, capsys: pytest.CaptureFixture[str], path: str
) -> None:
    flip(run, path)
    for _ in range(2):
        assert failed_in_status(run, capsys) == [("A", "result_corrupt")]
        assert failed_in_report(run, capsys) == [("A", "result_corrupt")]
    assert planned_states(run) == {"done", "damaged"}
    assert said(capsys, "retry", run.store.uri)["retried"] == [run.trial("A").trial_id]
    assert run.store.stat(Keys.result(run.trial("A").trial_id)) is None
    assert failed_in_report(run, capsys) == []


def test_damage_that_keeps_the_time_is_found_when_every_byte_is_read_again(
    run: MadeRun, capsys: pytest.CaptureFixture[str]
) -> None:
    flip(run, keep_time=True)
    assert failed_in_status(run, capsys) == failed_in_report(run, capsys) == []
    assert failed_in_report(run, capsys, "--verify") == [("A", "result_corrupt")]
    assert failed_in_status(run, capsys) == failed_in_report(run, capsys) == [("A", "result_corrupt")]


def test_numbers_damaged_under_an_old_time_are_found_by_the_next_report_and_then_by_all(
    run: MadeRun, capsys: pytest.CaptureFixture[str]
) -> None:
    flip(run, "scores.json", keep_time=True)
    assert failed_in_status(run, capsys) == []
    assert failed_in_report(run, capsys) == failed_in_status(run, capsys) == [("A", "result_corrupt")]


def test_a_file_that_was_put_back_counts_again(run: MadeRun, capsys: pytest.CaptureFixture[str]) -> None:
    flip(run)
    assert failed_in_report(run, capsys) == [("A", "result_corrupt")]
    flip(run)
    assert failed_in_report(run, capsys) == failed_in_status(run, capsys) == []


def test_files_of_the_right_bytes_whose_numbers_do_not_parse_are_no_result_to_anybody(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = made_run(tmp_path)
    made.finish(made.trial("A"), files={"scores.json": b"{}"})
    for _ in range(2):
        found = failed_in_status(made, capsys)
        assert found[0] == ("A", "result_corrupt")
        assert failed_in_report(made, capsys) == found[:1]
    assert planned_states(made) == {"damaged", "new"}


def test_a_sound_trial_is_not_retried_and_the_way_to_doubt_it_is_told(
    run: MadeRun, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["retry", run.store.uri, "A"]) == 2
    assert f"`lorasweep report {run.store.uri} --verify`" in capsys.readouterr().err


def test_what_one_reader_learns_is_kept_beside_what_others_have_written(tmp_path: Path) -> None:
    made = made_run(tmp_path)
    first, second = VerifiedResults(made.store), VerifiedResults(made.store)
    for results, letter in ((first, "A"), (second, "B")):
        made.finish(made.trial(letter))
        assert results.read(made.trial(letter)) is not None
    first.remember()
    second.remember()
    flip(made, keep_time=True)  # so that who trusts the memory does not see it
    third = VerifiedResults(made.store)
    assert third.read(made.trial("A")) is not None
    with pytest.raises(ResultError):
        VerifiedResults(made.store, trusting=False).read(made.trial("A"))
