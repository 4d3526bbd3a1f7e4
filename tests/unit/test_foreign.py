"""What is not this project's is told from what is."""

from __future__ import annotations

from pathlib import Path

from fake_sweep import lora_trial, publish

from controller.foreign import foreign_names
from controller.local.family import Family
from job.store import Keys, open_store


def test_foreign_names_are_those_nobody_of_this_project_gave(tmp_path: Path) -> None:
    run = tmp_path / "demo" / "main"
    store = open_store(str(run))
    publish(store, lora_trial(0), "001-a")
    store.put(Keys.plan("0" * 64), b"{}")
    for ours in (".controller.lock", ".controller.control", "trials/.tmp-1-2"):
        (run / ours).write_text("")
    with Family(run / ".alive" / "demo-1").locked():
        pass
    assert foreign_names(store) == ()
    for foreign in ("a b.txt", ".hidden", "plans/notes.txt"):
        (run / foreign).write_text("mine")
    (run / "empty").mkdir()
    (run / "report").symlink_to(tmp_path)
    (run / "control.json").symlink_to(run / "a b.txt")
    names = (".hidden", "a b.txt", "control.json (a link)", "plans/notes.txt", "report (a link)")
    assert foreign_names(store) == names
