"""`python fake_job.py REQUEST --run-uri URI --attempt ID`: keeps the job's contract without a model.

FAKE_JOB, a JSON object, says what each trial does, by letter: a list with one word per submission, the last for all
further ones. FAKE_JOB_NUMBER is the submission's number, where the attempt's name does not begin with it. Words: `ok`,
`slow` (until SIGTERM), `late` (until SIGTERM, and then waits for FAKE_JOB_GATE, a file), `resume` (slow in the first
attempt that writes progress, ok in a later one), `eat` (memory, until it is killed),
`complain` (of its store, until SIGTERM), `deaf` (ignores SIGTERM), `kill` (SIGKILL to itself), `nothing` (exit 0
without a result), `stumble` (publishes, and then exit 1), `children` (leaves a process behind, then as ok), `gate`
(waits for FAKE_JOB_GATE), or a number: that exit code. What the store refuses is an exit code as in the job, and what
it does not answer is asked again. FAKE_JOB_PATIENCE_S is the end of every wait
for a signal or a file. With FAKE_JOB_SCORES=drawn the scores are those of fake_sweep.drawn_scores.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import NoReturn

from fake_sweep import drawn_scores, publish

from job.contract.config import PlannedTrial, Request
from job.contract.documents import Progress, parse, to_json
from job.contract.errors import ExitCode, NotFoundError, SweepError
from job.contract.notice import NOTICE_VARIABLE, notice_body
from job.publishing.publish import with_patience
from job.stopping import StopSignal
from job.store import Keys, Store, open_store

_PATIENCE_S = float(os.environ.get("FAKE_JOB_PATIENCE_S", "60"))
_NOBODY_STOPS = StopSignal()  # SIGTERM ends this process by itself


def main() -> int:
    """Do what FAKE_JOB says for each trial of the request."""
    signal.signal(signal.SIGTERM, _stopped)
    parser = argparse.ArgumentParser()
    parser.add_argument("request", type=Path)
    parser.add_argument("--run-uri", required=True)
    parser.add_argument("--attempt", required=True)
    arguments = parser.parse_args()
    request = parse(Request, arguments.request.read_bytes(), name="request")
    store = open_store(arguments.run_uri)
    behaviours = json.loads(os.environ.get("FAKE_JOB", "{}"))
    number = int(os.environ.get("FAKE_JOB_NUMBER") or arguments.attempt.split("-")[0])
    for trial in request.trials:
        words = behaviours.get(trial.letter, ["ok"])
        word = words[min(number, len(words)) - 1]
        sys.stderr.write(f"trial {trial.letter} attempt {arguments.attempt}: {word}\n")
        if word == "resume":
            word = "slow" if _attempt_before(trial, store) in {None, arguments.attempt} else "ok"
        try:
            code = _do(word, trial, store=store, attempt=arguments.attempt)
        except SweepError as err:
            sys.stderr.write(f"{err}\n")
            code = int(err.exit_code)
        if code:
            return code
    return int(ExitCode.DONE)


def _do(word: str, trial: PlannedTrial, *, store: Store, attempt: str) -> int:
    _progress(trial, store=store, attempt=attempt)
    if word.isdigit():
        return int(word)
    if word == "nothing":
        return 0
    if word == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if word == "deaf":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if word == "late":
        signal.signal(signal.SIGTERM, _stopped_late)
    if word == "complain":
        Path(os.environ[NOTICE_VARIABLE]).write_bytes(notice_body("waiting for the store: full"))
    if word in {"slow", "late", "deaf", "complain"}:
        sys.stderr.write("waiting\n")
        time.sleep(_PATIENCE_S)
    if word in _ACTS:
        _ACTS[word]()
    rouge = 0.1 + 0.05 * ord(trial.letter[0]) % 0.5
    if os.environ.get("FAKE_JOB_SCORES") == "drawn":
        scores, at = drawn_scores(trial), datetime.now(UTC)
        with_patience(lambda: publish(store, trial, attempt, scores=scores, at=at), stop=_NOBODY_STOPS)
    else:
        with_patience(lambda: publish(store, trial, attempt, rouge=rouge), stop=_NOBODY_STOPS)
    return 1 if word == "stumble" else 0


def _leave_children() -> None:
    subprocess.Popen([sys.executable, "-c", f"import time; time.sleep({_PATIENCE_S})"])


def _eat() -> None:
    eaten = []
    while True:
        eaten.append(os.urandom(1024) * 8192)


def _wait_for_gate() -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while not Path(os.environ["FAKE_JOB_GATE"]).exists() and time.monotonic() < deadline:
        time.sleep(0.02)


def _attempt_before(trial: PlannedTrial, store: Store) -> str | None:
    """The attempt that wrote progress last, if one did."""
    try:
        body = store.read(Keys.progress(trial.trial_id), limit_bytes=10**6)
    except NotFoundError:
        return None
    return parse(Progress, body, name="progress").attempt


def _progress(trial: PlannedTrial, *, store: Store, attempt: str) -> None:
    progress = Progress(
        attempt=attempt, stage="train", step=2, max_steps=4, loss=1.5, tokens_per_s=1000.0, updated_at=datetime.now(UTC)
    )
    with_patience(lambda: store.put(Keys.progress(trial.trial_id), to_json(progress)), stop=_NOBODY_STOPS)


_ACTS = {"children": _leave_children, "eat": _eat, "gate": _wait_for_gate}


def _stopped_late(signum: int, frame: FrameType | None) -> NoReturn:
    _wait_for_gate()
    _stopped(signum, frame)


def _stopped(signum: int, frame: FrameType | None) -> NoReturn:
    del signum, frame
    sys.stderr.write("stopped\n")
    sys.stderr.flush()
    os._exit(int(ExitCode.STOPPED))


if __name__ == "__main__":
    sys.exit(main())
