"""`clean --keep-runs`: what goes, and what never does."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest
from judged_runs import Nightly, reported
from made import MadeRun

from controller.__main__ import main
from controller.cli.wishes import renew_control
from controller.lock import lock_path, run_lock
from job.store import Store


@pytest.fixture(autouse=True)
def _state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def _nights(nightly: Nightly, *means: float) -> list[MadeRun]:
    made = []
    for mean in means:
        made.append(nightly.run(mean))
        reported(made[-1])
    return made


def _clean(runs: list[MadeRun], keep: int, capsys: pytest.CaptureFixture[str]) -> dict[str, list[str]]:
    capsys.readouterr()
    assert main(["clean", runs[-1].store.uri, "--keep-runs", str(keep), "--yes", "--output", "json"]) == 0
    found: dict[str, list[str]] = json.loads(capsys.readouterr().out)
    return found


def _left(store: Store) -> list[str]:
    return [found.key for found in store.list("")]


def test_the_newest_stay_and_the_good_ones_that_nights_need(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = _nights(Nightly(tmp_path), 0.25, 0.1, *(0.25,) * 8)
    found = _clean(runs, 2, capsys)
    assert found["removed"] == ["night-0", "night-1", "night-2"]  # 7 of the 9 good ones are needed
    assert [_left(run.store) for run in runs[:3]] == [[], [], []]
    assert all(_left(run.store) for run in runs[3:])
    assert _clean(runs, 2, capsys)["due"] == []


def test_reference_and_anchor_stay_however_old(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = _nights(
        Nightly(tmp_path, asked="{reference: night-1, anchor: night-0, drops: {rougeL: 0.1}}"), *(0.25,) * 11
    )
    assert _clean(runs, 1, capsys)["removed"] == ["night-2", "night-3"]


def test_without_a_regression_section_only_the_newest_stay(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = _nights(Nightly(tmp_path, asked="null"), *(0.25,) * 4)
    assert _clean(runs, 1, capsys)["removed"] == ["night-0", "night-1", "night-2"]


def test_what_is_not_finished_or_at_work_stays(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    nightly = Nightly(tmp_path, asked="null")
    unfinished = nightly.run()
    unfinished.store.delete(next(key for key in _left(unfinished.store) if key.endswith("result.json")))
    reported(unfinished)
    reopened, led, *rest = _nights(nightly, *(0.25,) * 4)
    reopened.store.delete(next(key for key in _left(reopened.store) if key.endswith("result.json")))
    uri = led.store.uri
    with run_lock(lock_path(uri, environ=os.environ), run_uri=uri, now=datetime.now(UTC)):
        found = _clean(rest, 1, capsys)
    assert found["due"] == ["night-1", "night-2", "night-3"]
    assert found["removed"] == ["night-3"]
    assert _left(unfinished.store)
    assert _left(reopened.store)
    assert _left(led.store)


def test_a_clean_that_was_cut_short_goes_on_and_what_it_left_is_no_reference(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nightly = Nightly(tmp_path)
    runs = _nights(nightly, 0.25, 0.25)
    first, last = runs
    first.store.put("removing.json", b"{}\n")
    first.store.delete("report/regression.json")
    first.store.delete("report/report.json")
    assert nightly.judged().reference == ("night-1",)
    assert _clean([last], 5, capsys)["removed"] == ["night-0"]
    assert _left(first.store) == []


def test_fewer_than_one_and_all_at_once_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (run,) = _nights(Nightly(tmp_path), 0.25)
    assert main(["clean", run.store.uri, "--keep-runs", "0", "--yes"]) == 2
    assert main(["clean", run.store.uri, "--keep-runs", "1", "--all", "--yes"]) == 2
    assert "must be at least 1" in capsys.readouterr().err


def test_what_another_run_is_compared_with_stays_whichever_run_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nightly = Nightly(tmp_path, asked="null")
    runs = _nights(nightly, *(0.25,) * 3)
    nightly.asked = "{anchor: night-0}"
    newest = _nights(nightly, 0.25)
    assert newest[0].plan.run == "night-3"
    assert _clean(runs, 1, capsys)["removed"] == ["night-1", "night-2"]


def test_a_run_whose_last_trials_were_stopped_goes_like_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nightly = Nightly(tmp_path, asked="null")
    stopped = nightly.run()
    trial = stopped.plan.trials[0]
    stopped.store.delete(f"trials/{trial.trial_id}/result.json")
    renew_control(stopped.store, now=datetime.now(UTC), trials={trial.trial_id: "stop"})
    assert reported(stopped).state == "partial"
    runs = _nights(nightly, 0.25)
    assert _clean(runs, 1, capsys)["removed"] == ["night-0"]
