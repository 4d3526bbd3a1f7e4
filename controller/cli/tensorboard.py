"""`lorasweep tensorboard RUN`: the run in TensorBoard, on this machine alone, wherever its store is."""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

from controller.cli.errand import Errand
from controller.cli.site import onlook_of
from controller.cli.target import Target, open_target
from controller.cli.watch import Look, Lookout, pause_after
from controller.exports.event_folder import EventFolder
from controller.exports.extra import check_extra
from controller.interrupts import Interrupts
from controller.report.numbers import counted
from controller.states import states
from controller.streams import deliver, deliver_json, tell
from controller.terminal import harmless
from job.contract.base import sha256_hex
from job.contract.errors import ConfigurationError, ExitCode, ResultError, TransientError
from job.sources.hashes import default_cache

__all__ = ["run_tensorboard"]

_NOTICED_S = 0.5  # after its end
_END_S = 10.0


def run_tensorboard(args: argparse.Namespace) -> int:
    """Write the run's event files and serve them until Ctrl-C; with --into only write them."""
    check_extra("tensorboard", extra="tensorboard")
    target = open_target(args.target, store=args.store, run=args.run, errand=Errand("tensorboard"))
    lookout = Lookout(target, onlook_of(args, target.naming), watching=False)
    root = _cache_of(target) if args.into is None else Path(args.into).expanduser().absolute()
    folder = EventFolder(root, store=target.store, plan=target.plan, spec=target.spec)
    folder.begin()
    look = lookout.look()
    written = folder.follow(look.situation, states(look.situation))
    if args.into is None:
        return _serve(lookout, folder, port=args.port, newest=look)
    if args.output == "json":
        deliver_json({"folder": str(root), "written": written})
    else:
        deliver(f"{counted(written, 'trial')} written to {root}\n")
    return ExitCode.DONE


def _cache_of(target: Target) -> Path:
    """A folder of the run's own: the same run elsewhere, or another of the same name, has another."""
    naming = target.naming
    return default_cache() / "tensorboard" / f"{naming.sweep}-{sha256_hex(naming.run_uri.encode())[:12]}"


def _serve(lookout: Lookout, folder: EventFolder, *, port: int | None, newest: Look) -> int:
    interrupts = Interrupts()
    interrupts.install()
    # 127.0.0.1: what a run says may be nobody else's business, and TensorBoard asks for no password.
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(folder.root), "--host", "127.0.0.1"]
    command += [] if port is None else ["--port", str(port)]
    # A session of its own: a Ctrl-C at the terminal is for this process, which then ends that one.
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True)
    try:
        _follow(lookout, folder, server=server, interrupts=interrupts, newest=newest)
    except KeyboardInterrupt:
        tell("TensorBoard has ended; the run itself goes on as it was\n")
        return ExitCode.DONE
    finally:
        server.terminate()
        try:
            server.wait(_END_S)
        except subprocess.TimeoutExpired:
            server.kill()
    raise ConfigurationError(
        f"tensorboard ended by itself with exit code {server.returncode}; what it wrote above says why, and "
        "`--port` names another port"
    )


def _follow(
    lookout: Lookout, folder: EventFolder, *, server: subprocess.Popen[bytes], interrupts: Interrupts, newest: Look
) -> None:
    """Write what ends in the run, until the server has ended."""
    statuses = states(newest.situation)
    troubled = False
    while server.poll() is None:
        began = time.monotonic()
        try:
            if not all(status.final for status in statuses.values()):
                situation = lookout.look().situation
                statuses = states(situation)
                folder.follow(situation, statuses)
            troubled = False
        except (TransientError, ResultError) as err:
            if not troubled:
                tell(harmless(f"what is new is not shown yet: {err}\n"))
            troubled = True
        until = time.monotonic() + pause_after(time.monotonic() - began)
        while time.monotonic() < until and server.poll() is None:
            interrupts.sleep(_NOTICED_S)
