"""Specs that changed meanwhile, documents that are damaged, and files of others, from the command line."""

from __future__ import annotations

import json

import pytest
from sandbox import DEADLINE_S, Sandbox

from job.store import Keys


def test_a_spec_edited_while_its_run_goes_on_still_names_that_run(sandbox: Sandbox) -> None:
    sandbox.behaviours = {"A": ["slow"]}
    process = sandbox.start()
    sandbox.until_running("A")
    sandbox.spec.write_text(sandbox.spec.read_text() + "# a comment\n")
    words = (str(sandbox.spec), "--store", str(sandbox.store))
    for verb in ("status", "logs", "report"):
        told = sandbox.verb(verb, *words)
        assert f"differs from the spec that ran; this is about {sandbox.run}" in told.stderr
        assert told.returncode in {0, 1}, told.stderr
    refused = sandbox.verb("clean", *words, "--all", "--yes")
    assert refused.returncode == 2
    assert f"lorasweep clean {sandbox.run} --all\n" in refused.stderr
    assert sandbox.verb("stop", *words).returncode == 0
    process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 1
    assert sandbox.verb("retry", *words).returncode == 2


@pytest.mark.parametrize("folder", ["", "plans", "submissions", "retries"])
def test_a_damaged_document_of_the_run_is_exit_78_with_its_name(sandbox: Sandbox, folder: str) -> None:
    assert sandbox.sweep().returncode == 0
    sandbox.verb("stop", str(sandbox.run), "A")
    path = {
        "": sandbox.run / Keys.CONTROL,
        "plans": next((sandbox.run / "plans").iterdir()),
        "submissions": next((sandbox.run / "submissions").iterdir()),
        "retries": sandbox.run / Keys.retry(sandbox.trial_ids()["A"], 1),
    }[folder]
    path.parent.mkdir(exist_ok=True)
    path.write_text("{")
    for again in (sandbox.verb("status", str(sandbox.run)), sandbox.sweep()):
        assert again.returncode == 78
        assert f"{path} is not a valid " in again.stderr
        assert "move it out of the run" in again.stderr
    path.rename(sandbox.root / "moved-away")
    assert sandbox.sweep().returncode == 0


def test_another_damaged_plan_is_a_note_in_the_report_and_a_stray_file_is_nothing(sandbox: Sandbox) -> None:
    assert sandbox.sweep().returncode == 0
    (sandbox.run / "plans" / "notes.txt").write_text("buy milk")
    (sandbox.run / Keys.plan("0" * 64)).write_text("{")
    assert sandbox.verb("status", str(sandbox.run)).returncode == 0
    assert sandbox.verb("report", str(sandbox.run)).returncode == 0
    assert f"{Keys.plan('0' * 64)} is damaged" in (sandbox.run / "report" / "report.md").read_text()


def test_the_whole_run_goes_however_damaged_and_what_others_put_there_stays(sandbox: Sandbox) -> None:
    assert sandbox.sweep().returncode == 0
    elsewhere = sandbox.root / "elsewhere"
    (sandbox.run / "trials").rename(elsewhere)
    (sandbox.run / "trials").symlink_to(elsewhere)
    kept = sorted(path for path in elsewhere.rglob("*") if path.is_file())
    for path in [*(sandbox.run / "plans").iterdir(), sandbox.run / Keys.CONTROL]:
        path.write_text("{")
    (sandbox.run / "plans" / "notes.txt").write_text("buy milk")
    done = sandbox.verb("clean", str(sandbox.run), "--all", "--yes", "--output", "json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["foreign"] == ["plans/notes.txt", "trials (a link)"]
    assert sorted(path for path in elsewhere.rglob("*") if path.is_file()) == kept
    assert [path.name for path in sandbox.run.rglob("*") if path.is_file() and path.name[0] != "."] == ["notes.txt"]
    told = sandbox.verb("clean", str(sandbox.run), "--all", "--yes")
    assert told.returncode == 0
    assert "there is nothing to remove" in told.stdout
