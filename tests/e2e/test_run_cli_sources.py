"""`lorasweep run` and `plan` where model or data are no longer what the run was planned with."""

from __future__ import annotations

import shutil

from sandbox import Sandbox

OTHER = '{"dialogue": "B: no", "summary": "B declines."}\n'


def test_a_run_on_changed_rows_starts_no_process_until_they_are_back(sandbox: Sandbox) -> None:
    sandbox.behaviours = {"B": ["80"], "C": ["80"]}
    assert sandbox.sweep().returncode == 1
    assert sandbox.verb("retry", str(sandbox.run)).returncode == 0
    sandbox.behaviours = {}
    rows = sandbox.root / "rows" / "train.jsonl"
    before = rows.read_text()
    rows.write_text(OTHER)
    began = len(sandbox.ends())
    for refused in (sandbox.sweep(), sandbox.verb("plan", str(sandbox.spec), "--store", str(sandbox.store))):
        assert refused.returncode == 78, refused.stderr
        assert f"data.source: {rows.parent} changed since it was planned" in refused.stderr
        assert "`--run NAME`" in refused.stderr
        assert "`--repin`" in refused.stderr
    assert len(sandbox.ends()) == began
    rows.write_text(before)
    done = sandbox.sweep()
    assert done.returncode == 0, done.stderr


def test_a_finished_run_needs_neither_model_nor_rows(sandbox: Sandbox) -> None:
    assert sandbox.sweep().returncode == 0
    shutil.rmtree(sandbox.root / "model")
    shutil.rmtree(sandbox.root / "rows")
    again = sandbox.sweep()
    assert again.returncode == 0, again.stderr
    assert "nothing to do" in again.stderr


def test_a_column_that_is_not_there_stops_plan_and_run_before_anything_is_stored(sandbox: Sandbox) -> None:
    sandbox.spec.write_text(sandbox.spec.read_text().replace("{dialogue}", "{dialog}"))
    for refused in (sandbox.sweep(), sandbox.verb("plan", str(sandbox.spec), "--store", str(sandbox.store))):
        assert refused.returncode == 2, refused.stderr
        assert "prompts.v1.prompt: {dialog}: no such column in train.jsonl" in refused.stderr
        assert "did you mean 'dialogue'?" in refused.stderr
    assert not list(sandbox.run.glob("plans/*"))
