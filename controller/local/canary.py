"""A child of the shape that a trial has here, which looks instead of training."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from controller.backend import Submission
from controller.canary import canary_checks
from controller.local.backend import GRACE_S, JOB_COMMAND, child_environment
from controller.local.slots import find_slots
from controller.planning.request import request_bytes
from job.contract.checks import Check

__all__ = ["local_canary"]


def local_canary(
    sample: Submission,
    *,
    run_uri: str,
    gpus: int,
    environ: Mapping[str, str],
    command: Sequence[str] = JOB_COMMAND,
) -> tuple[Check, ...]:
    """What the child found on the first device that trials would get. It has ended when this returns or raises."""
    slot = find_slots(environ, gpus=gpus)[0]
    with tempfile.TemporaryDirectory(prefix="lorasweep-canary-") as folder:
        request = Path(folder) / "request.json"
        request.write_bytes(request_bytes(sample.request))
        process = subprocess.Popen(
            [*command, str(request), "--run-uri", run_uri, "--attempt", "canary", "--check"],
            env={**environ, **child_environment(environ, slot), "LORASWEEP_LOG": "json"},
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,  # a Ctrl-C at the terminal is for this process, which then ends the child
        )
        try:
            _, log = process.communicate()
        finally:
            _end(process)
    return canary_checks(log, exit_code=process.returncode, ended=_last_line(log))


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(GRACE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _last_line(log: bytes) -> str:
    return (log.decode(errors="replace").strip().splitlines() or [""])[-1][:500]
