"""The fake and the local backend keep the contract; the local one has real processes, the fake its own hands."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import fake_job
import pytest
from backend_contract import BackendContract, Place
from fake_backend import FakeBackend
from submissions import DEADLINE_S, one, over, runs, submission, wait_for

from controller.backend import Observed
from controller.local.backend import LocalBackend, state_folder
from controller.local.child_folder import ChildFolder
from controller.local.slots import Slot
from job.contract.errors import ConfigurationError, TransientError


class OfThisMachine(BackendContract):
    """Nobody but the controller starts a process again."""

    def test_a_process_that_was_stopped_from_outside_has_ended_with_85(self, place: Place) -> None:
        place.behave("85")
        place.backend.submit(submission())
        seen = place.until(over)
        assert (seen.exit_code, seen.cause) == (85, "exited")


class TestFakeBackend(OfThisMachine):
    """Its processes do at each look what they were told to."""

    @pytest.fixture
    def place(self) -> Place:
        words: list[str] = ["ok"]

        class Acting(FakeBackend):
            def observe(self) -> tuple[Observed, ...]:
                before = tuple(self.seen.values())
                for seen in self.live:
                    if seen.state == "waiting":
                        self.start(seen.name)
                    elif seen.stopping and words[0] == "slow":
                        self.end(seen.name, exit_code=85)
                    elif words[0] not in {"slow", "deaf"}:
                        code = {"ok": 0, "kill": 137}.get(words[0])
                        self.end(seen.name, exit_code=int(words[0]) if code is None else code)
                return before

        def behave(word: str) -> None:
            words[0] = word

        backend = Acting(now=lambda: datetime.now(UTC))
        return Place(backend, behave, lambda: backend)


class TestLocalBackend(OfThisMachine):
    """Real processes."""

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        return tmp_path / "state"

    @pytest.fixture
    def place(self, tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path for path in sys.path if path))
        made: list[LocalBackend] = []

        def new() -> LocalBackend:
            backend = LocalBackend(
                folder,
                families=tmp_path / "families",
                run_uri=str(tmp_path / "runs" / "demo" / "main"),
                slots=[Slot("cpu", None)],
                command=[sys.executable, fake_job.__file__],
                grace_s=1.0,
            )
            made.append(backend)
            return backend

        def behave(word: str) -> None:
            monkeypatch.setenv("FAKE_JOB", f'{{"A": ["{word}"], "B": ["{word}"]}}')

        yield Place(new(), behave, new)
        deadline = time.monotonic() + DEADLINE_S
        while live := [seen for seen in made[0].observe() if seen.live]:
            assert time.monotonic() < deadline, live
            for seen in live:
                made[0].kill(seen.name)
            time.sleep(0.02)

    def test_a_process_that_ignores_sigterm_is_killed_after_the_grace_period(self, place: Place) -> None:
        place.behave("deaf")
        place.backend.submit(submission())
        place.until_ready()
        began = time.monotonic()
        place.backend.stop(submission().name)
        seen = wait_for(place.backend, submission().name, over)
        assert (seen.exit_code, seen.cause) == (137, "killed")
        assert time.monotonic() - began >= 1.0

    def test_a_stop_is_seen_before_the_end(self, place: Place) -> None:
        place.behave("deaf")
        place.backend.submit(submission())
        place.until_ready()
        place.backend.stop(submission().name)
        wait_for(place.backend, submission().name, lambda seen: seen.stopping)

    def test_each_process_has_a_slot_and_no_slot_has_two(self, place: Place) -> None:
        place.behave("slow")
        place.backend.submit(submission())
        with pytest.raises(TransientError, match="1 device slots are taken"):
            place.backend.submit(submission(trial=1))

    def test_a_process_sees_one_device_only(self, tmp_path: Path) -> None:
        backend = LocalBackend(
            tmp_path / "state",
            families=tmp_path / "families",
            run_uri=str(tmp_path / "demo" / "main"),
            slots=[Slot("gpu0", "GPU-0000"), Slot("gpu1", "GPU-1111")],
            command=[sys.executable, "-c", "import os, time; print(os.environ['CUDA_VISIBLE_DEVICES']); time.sleep(1)"],
        )
        for trial in (0, 1):
            backend.submit(submission(trial=trial))
        for trial, device in ((0, b"GPU-0000\n"), (1, b"GPU-1111\n")):
            name = submission(trial=trial).name
            wait_for(backend, name, over)
            assert backend.logs(name, limit_bytes=100) == device

    def test_temporary_files_of_a_job_that_is_killed_go_with_it(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        scratch = tmp_path / "tmp"
        scratch.mkdir()
        monkeypatch.setenv("TMPDIR", str(scratch))
        keeps_a_file = "import os, signal, tempfile; tempfile.mkstemp(); os.kill(os.getpid(), signal.SIGKILL)"
        backend = LocalBackend(
            tmp_path / "state",
            families=tmp_path / "families",
            run_uri=str(tmp_path / "demo" / "main"),
            slots=[Slot("cpu", None)],
            command=[sys.executable, "-c", f"import os; print(os.environ['TMPDIR'], flush=True); {keeps_a_file}"],
        )
        backend.submit(submission())
        assert wait_for(backend, submission().name, over).exit_code == 137
        said = backend.logs(submission().name, limit_bytes=1000) or b""
        assert Path(said.decode().strip()).parent == scratch
        assert list(scratch.iterdir()) == []

    def test_what_a_job_leaves_behind_is_ended_with_it(self, place: Place) -> None:
        place.behave("children")
        place.backend.submit(submission())
        wait_for(place.backend, submission().name, over)

    def test_a_restarted_controller_sees_the_process_of_the_first(self, place: Place) -> None:
        place.behave("slow")
        place.backend.submit(submission())
        first = wait_for(place.backend, submission().name, runs)
        place.until_ready()
        other = place.restart()
        other.submit(submission())
        assert [seen.attempt for seen in other.observe()] == [first.attempt]
        other.stop(submission().name)
        assert wait_for(other, submission().name, over).exit_code == 85

    def test_a_process_whose_controller_is_killed_stops_with_a_checkpoint(self, place: Place, folder: Path) -> None:
        place.behave("slow")
        controller = subprocess.Popen([sys.executable, __file__, str(folder)], stdout=subprocess.PIPE)
        wait_for(place.backend, submission().name, runs)
        place.until_ready()
        controller.send_signal(signal.SIGKILL)
        controller.communicate()
        seen = wait_for(place.backend, submission().name, over)
        assert (seen.exit_code, seen.cause) == (85, "exited")

    def test_a_job_whose_watcher_is_killed_too_is_lost_and_not_left_running(self, place: Place, folder: Path) -> None:
        place.behave("slow")
        place.backend.submit(submission())
        wait_for(place.backend, submission().name, runs)
        state = ChildFolder(folder / submission().name).state()
        assert state is not None
        os.kill(state.pid, signal.SIGKILL)
        seen = wait_for(place.backend, submission().name, over)
        assert (seen.exit_code, seen.cause) == (None, "lost")  # the lock is free, so the job is gone as well

    def test_a_controller_that_died_before_its_process_began_has_made_nothing(self, place: Place, folder: Path) -> None:
        place.behave("slow")
        place.backend.submit(submission())
        wait_for(place.backend, submission().name, runs)
        place.backend.kill(submission().name)
        wait_for(place.backend, submission().name, over)
        for name in ("state.json", "end.json"):
            (folder / submission().name / name).unlink()
        other = place.restart()
        assert one(other, submission().name) is None
        other.submit(submission())
        assert wait_for(other, submission().name, runs).attempt

    def test_a_command_that_is_not_there_is_an_end_with_127(self, tmp_path: Path) -> None:
        backend = LocalBackend(
            tmp_path / "state",
            families=tmp_path / "families",
            run_uri="/r/demo/main",
            slots=[Slot("cpu", None)],
            command=["/not/there"],
        )
        backend.submit(submission())
        seen = wait_for(backend, submission().name, over)
        assert seen.exit_code == 127
        assert "/not/there" in seen.text

    def test_a_folder_that_cannot_be_made_is_an_error_with_a_remedy(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        backend = LocalBackend(
            tmp_path / "file" / "x",
            families=tmp_path / "families",
            run_uri="/r/demo/main",
            slots=[Slot("cpu", None)],
        )
        with pytest.raises((TransientError, ConfigurationError), match="file"):
            backend.submit(submission())

    def test_foreign_files_in_the_state_folder_are_no_submissions(self, place: Place, folder: Path) -> None:
        (folder / "notes").mkdir(parents=True)
        (folder / "notes" / "launch.json").write_text("{not json")
        (folder / "stray.txt").write_text("")
        assert list(place.backend.observe()) == []


@pytest.mark.parametrize("base", ["/state", None])
def test_each_run_has_its_own_state_folder(base: str | None) -> None:
    environ = {} if base is None else {"XDG_STATE_HOME": base}
    found = state_folder(environ, "s3://bucket/demo/main")
    assert found.name.startswith("demo-main-")
    assert str(found).startswith(base or str(Path("~/.local/state").expanduser()))
    assert found != state_folder(environ, "s3://other/demo/main")


def _controller_until_killed(folder: Path) -> None:
    """A controller process for the test that kills it."""
    backend = LocalBackend(
        folder,
        families=folder.parent / "families",
        run_uri=str(folder.parent / "runs" / "demo" / "main"),
        slots=[Slot("cpu", None)],
        command=[sys.executable, fake_job.__file__],
        grace_s=1.0,
    )
    backend.submit(submission())
    time.sleep(DEADLINE_S)


if __name__ == "__main__":
    _controller_until_killed(Path(sys.argv[1]))
