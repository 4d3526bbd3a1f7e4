"""One controller per run."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from fake_sweep import NOW

from controller.lock import control_lock, has_controller, lock_path, run_lock
from controller.state_home import state_home
from job.contract.errors import ConfigurationError, TransientError

HOLD = """
import sys, time
from datetime import UTC, datetime
from pathlib import Path
from controller.lock import run_lock
with run_lock(Path(sys.argv[1]), run_uri="/r/demo/main", now=datetime.now(UTC)):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_holder_is_told_who_has_the_run_and_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "run" / ".controller.lock"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)}
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, text=True, env=environment
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    assert has_controller(path)
    told = f"process {holder.pid} on .*lorasweep status /r/demo/main --watch"
    with pytest.raises(TransientError, match=told), run_lock(path, run_uri="/r/demo/main", now=NOW):
        pass
    holder.send_signal(signal.SIGKILL)
    holder.communicate()
    assert not has_controller(path)
    with run_lock(path, run_uri="/r/demo/main", now=NOW):
        assert str(os.getpid()) in path.read_text()


def test_a_lock_can_be_taken_again_after_it_was_given_back(tmp_path: Path) -> None:
    for _ in range(2):
        with run_lock(tmp_path / "lock", run_uri="/r/demo/main", now=NOW):
            pass


def test_who_only_looks_is_not_taken_for_a_controller(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with run_lock(path, run_uri="/r/demo/main", now=NOW):
        pass
    glance = os.open(path, os.O_RDONLY)
    fcntl.flock(glance, fcntl.LOCK_SH)
    threading.Timer(0.2, os.close, [glance]).start()
    with run_lock(path, run_uri="/r/demo/main", now=NOW):
        pass


@pytest.mark.parametrize("given", ["state", "./state", "../state", ""])
def test_a_relative_state_home_is_the_default(given: str) -> None:
    assert state_home({"XDG_STATE_HOME": given}) == state_home({})
    assert state_home({}).is_absolute()


def test_a_user_without_a_home_directory_is_told_what_to_set() -> None:
    with pytest.raises(ConfigurationError, match="set XDG_STATE_HOME to the absolute path"):
        state_home({"XDG_STATE_HOME": "~nobody-of-this-name/state"})


def test_a_run_that_nobody_has_locked_has_no_controller_and_looking_makes_nothing(tmp_path: Path) -> None:
    assert not has_controller(tmp_path / "demo" / "main" / "lock")
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_said_with_the_path_and_is_to_be_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int, body: bytes, offset: int) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "pwrite", full)
    path = tmp_path / "lock"
    with pytest.raises(TransientError, match=rf"{path}: No space left.*Make room"):
        run_lock(path, run_uri="/r/demo/main", now=NOW).__enter__()


def test_a_disk_too_full_for_a_lock_is_no_mistake_in_the_store_s_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, flags: int, mode: int = 0) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr(os, "open", full)
    with pytest.raises(TransientError, match="Make room"):
        control_lock(str(tmp_path), environ={}).__enter__()


def test_a_place_that_cannot_be_written_is_a_mistake_to_mend(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    path = tmp_path / "file" / "lock"
    with pytest.raises(ConfigurationError, match="--store"), run_lock(path, run_uri="/r/demo/main", now=NOW):
        pass


def test_a_lock_is_no_link_to_another_file(tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("precious")
    (tmp_path / "lock").symlink_to(tmp_path / "victim")
    with pytest.raises(ConfigurationError), run_lock(tmp_path / "lock", run_uri="/r/demo/main", now=NOW):
        pass
    assert (tmp_path / "victim").read_text() == "precious"


def test_a_folder_is_locked_in_the_folder_and_another_store_beside_the_user_s_state() -> None:
    assert lock_path("/runs/demo/main", environ={}) == Path("/runs/demo/main/.controller.lock")
    one = lock_path("s3://bucket/demo/main", environ={"XDG_STATE_HOME": "/state"})
    assert one.is_relative_to("/state/lorasweep/locks")
    assert one != lock_path("s3://bucket/demo/other", environ={"XDG_STATE_HOME": "/state"})
