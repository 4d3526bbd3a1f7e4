"""control.json: what people want of a run, whoever writes it and however often."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from fake_sweep import NOW

from controller.cli.wishes import change_state, renew_control, want_more, want_running
from controller.stored import read_control
from job.contract.documents import RunState
from job.store import Store
from job.store.folder import FolderStore

SPEC = "a" * 64
LATER = NOW + timedelta(hours=1)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return FolderStore(tmp_path / "run")


def test_wishes_of_many_people_at_once_all_stay(store: Store) -> None:
    trials = [f"{number:012x}" for number in range(40)]

    def stop(trial_id: str) -> None:
        renew_control(store, now=datetime.now(UTC), trials={trial_id: "stop"})

    with ThreadPoolExecutor(8) as people:
        list(people.map(stop, trials))
    assert set(read_control(store).trials) == set(trials)


def test_a_pause_and_its_end_keep_every_other_wish_and_the_end_is_timed(store: Store) -> None:
    renew_control(store, now=NOW, trials={"0" * 12: "stop"})
    assert change_state(store, now=NOW, given="running", to="paused") == "running"
    assert read_control(store).resumed_at is None
    assert change_state(store, now=LATER, given="paused", to="running") == "paused"
    found = read_control(store)
    assert (found.state, found.trials, found.resumed_at) == ("running", {"0" * 12: "stop"}, LATER)


@pytest.mark.parametrize("there", ["stopped", "paused"])
def test_a_pause_takes_nothing_back_that_others_wished(store: Store, there: RunState) -> None:
    renew_control(store, now=NOW, state=there)
    before = store.read("control.json", limit_bytes=10**6)
    assert change_state(store, now=LATER, given="running", to="paused") == there
    assert store.read("control.json", limit_bytes=10**6) == before


@pytest.mark.parametrize("there", ["stopped", "paused"])
def test_a_run_that_a_person_begins_goes_on_whatever_was_wished_before(store: Store, there: RunState) -> None:
    renew_control(store, now=NOW, state=there)
    assert want_running(store, spec_sha256=SPEC, now=LATER) is (there == "paused")
    assert read_control(store).state == "running"


@pytest.mark.parametrize("there", ["stopped", "paused"])
def test_another_pod_of_the_same_job_goes_on_with_the_wishes_as_they_are(store: Store, there: RunState) -> None:
    want_running(store, spec_sha256=SPEC, now=NOW, begun_by="job-1")
    renew_control(store, now=NOW, state=there)
    assert not want_running(store, spec_sha256=SPEC, now=LATER, begun_by="job-1")
    assert read_control(store).state == there
    want_running(store, spec_sha256=SPEC, now=LATER, begun_by="job-2")
    assert read_control(store).state == "running"


def test_a_spec_that_follows_by_itself_leaves_a_pause_and_who_began(store: Store) -> None:
    want_running(store, spec_sha256=SPEC, now=NOW, begun_by="job-1")
    change_state(store, now=LATER, given="running", to="paused")
    want_more(store, spec_sha256="b" * 64)
    control = read_control(store)
    assert (control.state, control.spec_sha256, control.begun_by) == ("paused", "b" * 64, "job-1")
