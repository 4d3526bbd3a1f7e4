"""Which run a command gets whose spec file is not what ran, and what it is told otherwise."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Literal

import pytest
from fake_sweep import NOW, lora_trial, plan_of

from controller.cli.errand import Errand, run_of_changed_spec
from controller.lock import lock_path, run_lock
from controller.names import Naming
from job.contract.documents import to_json
from job.contract.errors import NotFoundError, SpecError
from job.store import Keys, open_store

PLAN = plan_of((lora_trial(0),))
Verb = Literal["status", "logs", "report", "stop", "pause", "resume", "retry", "clean"]
READING: list[Verb] = ["status", "logs", "report"]


class Runs:
    """Runs of one sweep in a folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.locks = ExitStack()

    def made(self, run: str, *, live: bool = False) -> Naming:
        naming = Naming(str(self.root), "demo", run)
        open_store(naming.run_uri).put(Keys.plan("0" * 64), to_json(PLAN))
        if live:
            self.locks.enter_context(run_lock(lock_path(naming.run_uri, environ={}), run_uri=run, now=NOW))
        return naming

    def meant(self, errand: Errand, *, run: str | None = None) -> Naming:
        naming = Naming(str(self.root), "demo", run or "main")
        return run_of_changed_spec(naming, spec="my spec.yaml", store=str(self.root), run=run, errand=errand)


@pytest.fixture
def runs(tmp_path: Path) -> Iterator[Runs]:
    made = Runs(tmp_path)
    with made.locks:
        yield made


@pytest.mark.parametrize("verb", [*READING, "stop", "pause", "resume", "retry"])
def test_a_run_that_goes_on_is_meant_and_said_to_differ(
    runs: Runs, capsys: pytest.CaptureFixture[str], verb: Verb
) -> None:
    made = runs.made("main", live=True)
    assert runs.meant(Errand(verb)) == made
    assert f"my spec.yaml differs from the spec that ran; this is about {made.run_uri}" in capsys.readouterr().err


@pytest.mark.parametrize("verb", [*READING, "stop", "pause", "resume"])
def test_a_run_that_has_ended_is_meant_by_who_looks_or_stops(runs: Runs, verb: Verb) -> None:
    made = runs.made("main")
    assert runs.meant(Errand(verb)) == made


@pytest.mark.parametrize(("verb", "state"), [("retry", "ended"), ("clean", "ended"), ("clean", "live")])
def test_what_would_change_the_wrong_run_is_refused_with_the_exact_command(runs: Runs, verb: Verb, state: str) -> None:
    made = runs.made("main", live=state == "live")
    with pytest.raises(SpecError) as caught:
        runs.meant(Errand(verb, ("--all", None)))
    assert f"\n  lorasweep {verb} {made.run_uri} --all\n" in str(caught.value)
    assert f"lorasweep run 'my spec.yaml' --store {runs.root}" in str(caught.value)


def test_the_only_other_run_is_meant_where_the_default_one_is_not_there(runs: Runs) -> None:
    other = runs.made("second")
    assert runs.meant(Errand("status")) == other
    with pytest.raises(SpecError, match=f"lorasweep stop {other.run_uri} B"):
        runs.meant(Errand("stop", ("B",)))
    with pytest.raises(NotFoundError, match="--run third"):
        runs.meant(Errand("status"), run="third")


def test_of_several_other_runs_the_live_one_is_meant_or_a_person_is_asked(runs: Runs) -> None:
    others = [runs.made("second"), runs.made("third")]
    with pytest.raises(SpecError) as caught:
        runs.meant(Errand("status"))
    assert all(f"lorasweep status {other.run_uri}" in str(caught.value) for other in others)
    live = runs.made("fourth", live=True)
    assert runs.meant(Errand("stop")) == live


def test_what_has_not_run_is_told_the_command_that_runs_it(runs: Runs) -> None:
    with pytest.raises(NotFoundError, match=r"`lorasweep run 'my spec\.yaml' --store"):
        runs.meant(Errand("status"))
    assert list(runs.root.iterdir()) == []
