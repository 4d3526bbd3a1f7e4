"""Checkpoints in a store: complete or not there, the newest that verifies, and no more than two."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from job.checkpoint import Checkpoints
from job.contract.errors import NotFoundError, TransientError
from job.store import Keys
from job.store.folder import FolderStore

TRIAL = "abcdef012345"


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "store")


def attempt(store: FolderStore, name: str = "one") -> Checkpoints:
    return Checkpoints(store, trial_id=TRIAL, attempt=name, spool=Path(store.uri).parent / f"spool-{name}")


def save(checkpoints: Checkpoints, step: int) -> None:
    folder = checkpoints.new_folder()
    (folder / "weights.bin").write_bytes(b"w" * 100 + str(step).encode())
    (folder / "extra").mkdir()
    (folder / "extra" / "notes.json").write_text("{}")
    checkpoints.save(step, folder)


def stored_steps(store: FolderStore) -> list[str]:
    found = {item.key.split("/")[3:5][0] + "/" + item.key.split("/")[4] for item in store.list(Keys.checkpoints(TRIAL))}
    return sorted(found)


def path_of(store: FolderStore, name: str, step: int, file: str) -> Path:
    return Path(store.uri) / Keys.checkpoint(TRIAL, name, step) / file


def test_no_checkpoint_is_none(store: FolderStore) -> None:
    assert attempt(store).newest() is None


def test_the_highest_step_over_all_attempts_comes_back_whole(store: FolderStore) -> None:
    save(attempt(store, "one"), 20)
    save(attempt(store, "two"), 8)
    newest = attempt(store, "three").newest()
    assert newest is not None
    assert (newest.step, newest.attempt) == (20, "one")
    files = sorted(path.relative_to(newest.folder).as_posix() for path in newest.folder.rglob("*") if path.is_file())
    assert files == ["extra/notes.json", "weights.bin"]
    assert (newest.folder / "weights.bin").read_bytes() == b"w" * 100 + b"20"


def test_steps_are_compared_as_numbers(store: FolderStore) -> None:
    save(attempt(store), 999_999)
    save(attempt(store), 1_000_000)
    newest = attempt(store).newest()
    assert newest is not None
    assert newest.step == 1_000_000


def test_the_newest_two_are_kept(store: FolderStore) -> None:
    for step in (2, 4, 6, 8):
        save(attempt(store), step)
    assert stored_steps(store) == ["one/step-000006", "one/step-000008"]


def test_pruning_leaves_what_is_above_the_kept_ones_to_its_writer(store: FolderStore) -> None:
    for step in (2, 4):
        save(attempt(store), step)
    store.put(f"{Keys.checkpoint(TRIAL, 'other', 1)}weights.bin", b"left by a killed process")
    store.put(f"{Keys.checkpoint(TRIAL, 'other', 9)}weights.bin", b"half way up")
    save(attempt(store), 6)
    assert stored_steps(store) == ["one/step-000004", "one/step-000006", "other/step-000009"]


def test_remove_all_leaves_nothing_of_this_trial_and_touches_no_other(store: FolderStore) -> None:
    for name in ("one", "two"):
        save(attempt(store, name), 4)
    store.put(f"{Keys.checkpoint(TRIAL, 'other', 9)}weights.bin", b"half way up")
    other = Checkpoints(store, trial_id="0" * 12, attempt="one", spool=Path(store.uri).parent / "other")
    save(other, 3)
    attempt(store).remove_all()
    assert list(store.list(Keys.checkpoints(TRIAL))) == []
    assert other.newest() is not None


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        ("truncate", "is 50 bytes, its manifest says 101"),
        ("flip", "does not have the bytes of its manifest"),
        ("remove", "is missing"),
        ("manifest", "not a valid Manifest"),
        ("foreign", "is of trial 000000000000"),
        ("escape", "not a valid Manifest"),
    ],
)
def test_a_damaged_one_is_passed_over_with_the_reason_in_the_log(
    store: FolderStore, caplog: pytest.LogCaptureFixture, damage: str, reason: str
) -> None:
    for step in (4, 8):
        save(attempt(store), step)
    weights, manifest = path_of(store, "one", 8, "weights.bin"), path_of(store, "one", 8, "manifest.json")
    if damage == "truncate":
        weights.write_bytes(weights.read_bytes()[:50])
    elif damage == "flip":
        weights.write_bytes(b"v" + weights.read_bytes()[1:])
    elif damage == "remove":
        weights.unlink()
    elif damage == "manifest":
        manifest.write_text(manifest.read_text()[:40])
    elif damage == "foreign":
        manifest.write_text(manifest.read_text().replace(TRIAL, "0" * 12))
    else:
        manifest.write_text(manifest.read_text().replace("weights.bin", "../weights.bin"))
    with caplog.at_level(logging.WARNING):
        newest = attempt(store, "two").newest()
    assert newest is not None
    assert newest.step == 4
    assert "checkpoint of step 8 by one passed over" in caplog.text
    assert reason in caplog.text


def test_a_checkpoint_without_its_manifest_is_not_there(store: FolderStore) -> None:
    for step in (4, 8):
        save(attempt(store), step)
    path_of(store, "one", 8, "manifest.json").unlink()
    newest = attempt(store).newest()
    assert newest is not None
    assert newest.step == 4


class Failing(FolderStore):
    """A store that takes only so many more files."""

    left = 0

    def upload(self, key: str, path: Path) -> None:
        if self.left == 0:
            raise TransientError("the store does not answer")
        self.left -= 1
        super().upload(key, path)


@pytest.mark.parametrize("files", [0, 1])
def test_a_save_that_fails_half_way_leaves_the_previous_one_and_can_be_repeated(
    store: FolderStore, tmp_path: Path, files: int
) -> None:
    save(attempt(store), 4)
    failing = Failing(store.uri)
    failing.left = files
    checkpoints = attempt(failing)
    with pytest.raises(TransientError):
        save(checkpoints, 8)
    before = attempt(store).newest()
    assert before is not None
    assert before.step == 4
    failing.left = 2
    checkpoints.save(8, tmp_path / "spool-one" / "new")  # as train does while it is patient
    after = attempt(store).newest()
    assert after is not None
    assert after.step == 8


class Unanswering(FolderStore):
    def download(self, key: str, path: Path) -> None:
        raise TransientError("the store does not answer")


def test_a_store_that_does_not_answer_is_no_damage(store: FolderStore) -> None:
    save(attempt(store), 4)
    with pytest.raises(TransientError):
        attempt(Unanswering(store.uri)).newest()


class Vanishing(FolderStore):
    """Another attempt prunes between our listing and our download."""

    def download(self, key: str, path: Path) -> None:
        if "step-000008" in key:
            raise NotFoundError(f"there is no {key!r}")
        super().download(key, path)


def test_one_that_vanishes_meanwhile_is_passed_over(store: FolderStore) -> None:
    for step in (4, 8):
        save(attempt(store), step)
    newest = attempt(Vanishing(store.uri)).newest()
    assert newest is not None
    assert newest.step == 4
