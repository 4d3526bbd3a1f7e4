import subprocess
import sys
from pathlib import Path

import pytest

from job.contract.errors import ExitCode, HungError
from job.watchdog import check_time

HANGS = """
import sys, threading
from pathlib import Path
from job.watchdog import Watchdog
log, said = Path(sys.argv[1]), Path(sys.argv[2])
dog = Watchdog(log=log, on_hang=said.write_text, no_progress_s=0.2)
dog.start()
def stuck_in_a_collective():
    threading.Event().wait(60)
stuck_in_a_collective()
"""


def test_a_process_that_hangs_ends_with_the_timeout_code_and_its_stacks_in_the_log(tmp_path: Path) -> None:
    log, said = tmp_path / "log.txt", tmp_path / "said.txt"
    ended = subprocess.run([sys.executable, "-c", HANGS, str(log), str(said)], timeout=50, check=False)
    assert ended.returncode == ExitCode.TIMEOUT
    assert "stuck_in_a_collective" in log.read_text()
    assert "no decoded batch" in said.read_text()


def test_a_trial_over_its_time_is_told_which_field_to_raise() -> None:
    check_time(spent_s=59, limit_s=60)
    with pytest.raises(HungError, match="trial_timeout_s = 60"):
        check_time(spent_s=61, limit_s=60)
