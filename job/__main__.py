"""`python -m job REQUEST --run-uri URI --attempt ID`: fine-tune and evaluate every trial of one request.

With --check nothing is trained: what a trial would need is looked at, one line of the log each; 0, 75 or 78.

Every exception becomes an exit code here (job.contract.errors.ExitCode), and a failure document where that helps.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import NoReturn

from job.attempt import Attempt
from job.contract.checks import refused
from job.contract.config import PlannedTrial, Request
from job.contract.documents import DOCUMENT_LIMIT_BYTES, Failure, parse, to_json
from job.contract.errors import (
    PERMANENT_REASONS,
    ExitCode,
    HungError,
    StoppedError,
    SweepError,
    TransientError,
    UsageError,
)
from job.logs import configure_logging, tail
from job.stopping import StopSignal
from job.store import Keys, open_store

logger = logging.getLogger("job")

Fail = Callable[[PlannedTrial, Exception], None]
Hung = Callable[[PlannedTrial, str], None]

TERMINATION_LOG = Path("/dev/termination-log")  # the kubelet's default terminationMessagePath
_TERMINATION_BYTES = 4096
_JOB_CODES = frozenset(ExitCode) - {ExitCode.FINISHED_WITH_FAILURES, ExitCode.MISTAKE, ExitCode.INTERRUPTED}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the request; gives the exit code."""
    started_s = time.monotonic()
    stop = StopSignal()
    stop.install()  # before torch: a SIGTERM during its import must end in 85, too
    arguments = _arguments(argv)
    with tempfile.TemporaryDirectory(prefix="lorasweep-job-") as scratch:
        work = Path(scratch)
        log = work / "log.txt"
        configure_logging(log)
        try:
            if arguments.check:
                code = check(arguments.request, run_uri=arguments.run_uri, stop=stop)
            else:
                request = read_request(arguments.request)
                of = Attempt(request, open_store(arguments.run_uri), arguments.attempt, work=work, log=log, stop=stop)
                code = run_request(of, started_s=started_s)
        except StoppedError as err:
            code = _end(ExitCode.STOPPED, message=str(err))
        except SweepError as err:
            code = _end(_code_of(err), message=str(err))
        except Exception as err:  # the one place where nothing may pass: an exit code is owed
            logger.exception("bug")
            code = _end(ExitCode.BUG, message=f"{type(err).__name__}: {err}")
        logging.shutdown()
    return code


def check(request: Path | None, *, run_uri: str | None, stop: StopSignal) -> int:
    """Log what a trial would find here, and give the exit code that says whether it could run.

    Raises PreflightError or TransientError with everything that failed, StoppedError after a SIGTERM.
    """
    from job.preflight import Asked, check_place

    asked = Asked(None if request is None else partial(read_request, request), run_uri)
    found = []
    for one in check_place(asked, now=lambda: datetime.now(tz=UTC)):
        found.append(one)
        level = {"failed": logging.ERROR, "warning": logging.WARNING}.get(one.outcome, logging.INFO)
        logger.log(level, "%s: %s: %s", one.name, one.outcome, one.text, extra={"check": asdict(one)})
        stop.check()
    if (error := refused(found)) is not None:
        raise error
    return int(ExitCode.DONE)


def read_request(path: Path) -> Request:
    """The request in `path`. Raises UsageError when it cannot be read or is not valid."""
    try:
        if path.stat().st_size > DOCUMENT_LIMIT_BYTES:
            raise UsageError(f"request {path} is larger than {DOCUMENT_LIMIT_BYTES} bytes")
        return parse(Request, path.read_bytes(), name=str(path))
    except OSError as err:
        raise UsageError(f"cannot read the request {path}: {err.strerror}") from err
    except SweepError as err:
        raise UsageError(str(err)) from err


def run_request(of: Attempt, *, started_s: float) -> int:
    """Run the trials, one after the other or side by side; one that fails does not stop the others.

    The process began at `started_s`. Gives 0 when a trial of the group has a result, else the exit code of the first
    failure.
    """
    # These import torch: only after the handler for SIGTERM is in place.
    from job.publishing.publish import with_patience

    failures: list[int] = []

    def fail(trial: PlannedTrial, err: Exception) -> None:
        error = _ours(err)
        failures.append(_code_of(error))
        with_patience(partial(fail_trial, trial, error=error, of=of), stop=of.stop)

    def hung(trial: PlannedTrial, message: str) -> None:
        fail_trial(trial, error=HungError(message), of=of)

    if of.request.engine == "lanes":
        from job.lanes.group import run_group

        run_group(of, started_s=started_s, fail=fail, hung=hung)
    else:
        _run_one_by_one(of, started_s=started_s, fail=fail, hung=hung)
    if len(failures) == len(of.request.trials):
        return failures[0]
    return ExitCode.DONE


def _run_one_by_one(of: Attempt, *, started_s: float, fail: Fail, hung: Hung) -> None:
    from job.memory import memory_is_ours
    from job.trial import run_trial

    for trial in of.request.trials:
        try:
            with memory_is_ours(_out_of_memory):
                run_trial(trial, of=of, startup_s=time.monotonic() - started_s, on_hang=partial(hung, trial))
        except (StoppedError, TransientError):
            raise  # both mean: run the same request again
        except Exception as err:  # as in `main`: people read the words of a failure, and an exit code has none
            fail(trial, err)
        started_s = time.monotonic()  # starting up is counted once, to the first trial


def fail_trial(trial: PlannedTrial, *, error: SweepError, of: Attempt) -> None:
    """Write down why a trial failed, in the store and where the kubelet reads."""
    logger.error("trial %s failed: %s", trial.trial_id, error, extra={"reason": error.reason})
    failure = Failure(
        trial_id=trial.trial_id,
        attempt=of.name,
        reason=error.reason,
        permanent=error.reason in PERMANENT_REASONS,
        shared=error.shared,
        exit_code=_code_of(error),
        message=str(error),
        log_tail=tail(of.log),
        written_by="job",
        at=datetime.now(tz=UTC),
    )
    of.store.put_once(Keys.failure(trial.trial_id, of.name), to_json(failure))
    _end(_code_of(error), message=f"{error.reason}: {error}")


def _ours(err: Exception) -> SweepError:
    """The error itself, or a bug with its words; the log has where it came from."""
    if isinstance(err, SweepError):
        return err
    logger.error("bug", exc_info=err)
    return SweepError(f"{type(err).__name__}: {err}; this is a bug in lorasweep: please report it with the log")


def _out_of_memory(said: str) -> str:
    return f"out of memory: {said}; use less data at a time, or a machine with more memory"


def _code_of(error: SweepError) -> int:
    """The job's exit code; what has none of its own (a damaged document) has to be mended by a person, as with 78."""
    return int(error.exit_code if error.exit_code in _JOB_CODES else ExitCode.CONFIGURATION)


def _end(code: int, *, message: str) -> int:
    level = logging.INFO if code == ExitCode.STOPPED else logging.ERROR
    logger.log(level, "exit %d: %s", code, message)
    if TERMINATION_LOG.exists():
        TERMINATION_LOG.write_bytes(message.encode()[:_TERMINATION_BYTES])
    return int(code)


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = _Parser(prog="python -m job", description=__doc__)
    parser.add_argument("request", type=Path, nargs="?", metavar="REQUEST", help="request.json")
    parser.add_argument("--run-uri", metavar="URI", help="<root>/<sweep>/<run>: a folder or s3://")
    parser.add_argument("--attempt", metavar="ID", help="names this process, e.g. the pod's UID")
    parser.add_argument("--check", action="store_true", help="train nothing; look at what a trial would need")
    arguments = parser.parse_args(argv)
    if not arguments.check:
        needed = {"REQUEST": arguments.request, "--run-uri": arguments.run_uri, "--attempt": arguments.attempt}
        if missing := [name for name, value in needed.items() if value is None]:
            parser.error(f"the following arguments are required: {', '.join(missing)}")
    return arguments


class _Parser(argparse.ArgumentParser):
    """Ends with 64, as the contract says, where argparse would with 2."""

    def error(self, message: str) -> NoReturn:
        self.exit(ExitCode.USAGE, f"{self.format_usage()}{self.prog}: {message}\n")


if __name__ == "__main__":
    sys.exit(main())
