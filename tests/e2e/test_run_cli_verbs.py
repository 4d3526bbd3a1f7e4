"""status, logs, stop, retry, clean and the parser as processes, beside a run or after it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest
from sandbox import DEADLINE_S, Sandbox
from servers.s3_server import S3Bucket

from job.contract.errors import ExitCode
from job.store import Keys


def states(sandbox: Sandbox) -> dict[str, str]:
    """State by letter, as a script would read it."""
    shown = sandbox.verb("status", str(sandbox.run), "--output", "json")
    assert shown.returncode == 0, shown.stderr
    return {trial["letter"]: trial["state"] for trial in json.loads(shown.stdout)["trials"]}


def test_status_and_logs_answer_while_another_process_runs_the_sweep(sandbox: Sandbox) -> None:
    sandbox.behaviours = {"B": ["gate"]}
    process = sandbox.start()
    sandbox.until_running("B")
    assert states(sandbox) == {"A": "succeeded", "B": "running", "C": "pending"}
    shown = sandbox.verb("status", str(sandbox.spec), "--store", str(sandbox.store))
    assert "1/3 done, 1 running, 1 pending" in shown.stdout
    assert "step 2/4" in shown.stdout
    log = sandbox.verb("logs", str(sandbox.run))
    assert "gate" in log.stdout
    assert sandbox.trial_ids()["B"] in log.stderr
    sandbox.gate.touch()
    process.communicate(timeout=DEADLINE_S)
    log = sandbox.verb("logs", str(sandbox.run), "A", "--output", "json")
    assert json.loads(log.stdout)["log"].startswith("attempt 001-")


def test_watching_ends_with_the_run(sandbox: Sandbox) -> None:
    assert sandbox.sweep().returncode == 0
    watched = sandbox.verb("status", str(sandbox.run), "--watch")
    assert watched.returncode == 0
    assert "3/3 done" in watched.stdout


def test_watching_ends_with_ctrl_c_and_a_last_table(sandbox: Sandbox) -> None:
    sandbox.behaviours = {"A": ["gate"]}
    process = sandbox.start()
    sandbox.until_running("A")
    command = [sys.executable, "-m", "controller", "status", str(sandbox.run), "--watch"]
    watch = subprocess.Popen(
        command, env=sandbox.environment(), text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert watch.stderr is not None
    assert "running" in watch.stderr.readline()
    watch.send_signal(signal.SIGINT)
    stdout, stderr = watch.communicate(timeout=DEADLINE_S)
    assert (watch.returncode, "0/3 done" in stdout) == (ExitCode.INTERRUPTED, True)
    assert stderr.splitlines()[-1] == "lorasweep status: no longer watched; the run itself goes on as it was"
    sandbox.gate.touch()
    process.communicate(timeout=DEADLINE_S)


def test_a_stopped_trial_ends_and_the_rest_goes_on_until_a_retry_takes_it_back(sandbox: Sandbox) -> None:
    sandbox.behaviours = {"B": ["slow", "ok"]}
    process = sandbox.start()
    sandbox.until_running("B")
    stopped = sandbox.verb("stop", str(sandbox.run), "B")
    assert stopped.returncode == 0, stopped.stderr
    process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 1
    assert states(sandbox) == {"A": "succeeded", "B": "stopped", "C": "succeeded"}
    assert sandbox.verb("retry", str(sandbox.run), "B").returncode == 0
    assert sandbox.sweep().returncode == 0
    assert states(sandbox) == {"A": "succeeded", "B": "succeeded", "C": "succeeded"}


def test_a_stopped_run_ends_its_controller_and_run_goes_on(sandbox: Sandbox) -> None:
    sandbox.behaviours = {"A": ["slow", "ok"]}
    process = sandbox.start()
    sandbox.until_running("A")
    assert sandbox.verb("stop", str(sandbox.run)).returncode == 0
    process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 1
    assert states(sandbox) == {"A": "stopped", "B": "stopped", "C": "stopped"}
    assert sandbox.sweep().returncode == 0


def test_a_paused_run_ends_what_runs_and_waits_until_it_is_resumed(sandbox: Sandbox) -> None:
    sandbox.behaviours = {"A": ["gate"]}
    process = sandbox.start()
    sandbox.until_running("A")
    paused = sandbox.verb("pause", str(sandbox.run), "--output", "json")
    ids = sandbox.trial_ids()
    assert json.loads(paused.stdout) == {
        "was": "running",
        "now": "paused",
        "held": [ids["B"], ids["C"]],
        "live": [ids["A"]],
    }
    said = f"paused: 1 trial goes on to the end, nothing new is started; `lorasweep resume {sandbox.run}` goes on\n"
    assert paused.stderr == said
    assert process.stderr is not None
    assert said in iter(process.stderr.readline, "")
    sandbox.gate.touch()
    sandbox.until_ended("A")
    shown = sandbox.verb("status", str(sandbox.run)).stdout
    assert "paused: the run is paused" in shown
    assert f"paused: nothing runs, nothing new is started; `lorasweep resume {sandbox.run}` goes on" in shown
    assert "no controller" not in shown
    assert "B" not in {end.trial_ids[0] for end in sandbox.ends()}
    resumed = sandbox.verb("resume", str(sandbox.run))
    assert resumed.stderr == "demo/main goes on; its controller takes it up at once\n"
    _, talk = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 0
    assert [line for line in talk.splitlines() if line.startswith(("paused: ", "the pause"))] == ["the pause is over"]
    assert states(sandbox) == {"A": "succeeded", "B": "succeeded", "C": "succeeded"}


def test_a_pause_outlives_its_controller_and_run_ends_it(sandbox: Sandbox) -> None:
    sandbox.behaviours = {"A": ["slow", "ok"]}
    process = sandbox.start()
    sandbox.until_running("A")
    assert sandbox.verb("pause", str(sandbox.run)).returncode == 0
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=DEADLINE_S)
    again = sandbox.verb("resume", str(sandbox.spec), "--store", str(sandbox.store))
    command = f"lorasweep run {sandbox.spec} --store {sandbox.store}"
    assert again.stderr == f"demo/main goes on; no controller is running: `{command}`\n"
    assert sandbox.verb("pause", str(sandbox.run)).returncode == 0
    done = sandbox.sweep()
    assert done.returncode == 0
    assert "the run was paused; it goes on" in done.stderr


def test_what_is_stopped_or_finished_is_not_paused(sandbox: Sandbox) -> None:
    assert sandbox.sweep().returncode == 0
    finished = sandbox.verb("pause", str(sandbox.run))
    assert (finished.returncode, "nothing to hold back" in finished.stderr) == (0, True)
    assert sandbox.verb("stop", str(sandbox.run)).returncode == 0
    for verb in ("pause", "resume"):
        refused = sandbox.verb(verb, str(sandbox.run), "--output", "json")
        assert refused.returncode == 2
        assert "was stopped, not paused; `lorasweep run SPEC" in json.loads(refused.stdout)["errors"][0]


def test_a_failed_trial_is_retried_with_new_attempts(sandbox: Sandbox) -> None:
    sandbox.behaviours = {"A": ["80", "ok"]}
    assert sandbox.sweep().returncode == 1
    again = sandbox.sweep()
    assert again.returncode == 1
    assert "nothing to do" in again.stderr
    retried = sandbox.verb("retry", str(sandbox.run), "--output", "json")
    assert json.loads(retried.stdout) == {"retried": [sandbox.trial_ids()["A"]]}
    assert sandbox.sweep().returncode == 0


def test_a_damaged_result_is_a_failure_until_retry_removes_it(sandbox: Sandbox) -> None:
    assert sandbox.sweep().returncode == 0
    trial_id = sandbox.trial_ids()["A"]
    scores = next((sandbox.run / "trials" / trial_id / "attempts").glob("*/scores.json"))
    scores.write_bytes(scores.read_bytes() + b" ")
    shown = json.loads(sandbox.verb("status", str(sandbox.run), "--output", "json").stdout)
    assert [trial["reason"] for trial in shown["trials"]] == ["result_corrupt", None, None]
    assert sandbox.sweep().returncode == 1
    assert sandbox.verb("retry", str(sandbox.run), trial_id[:6]).returncode == 0
    assert not (sandbox.run / Keys.result(trial_id)).exists()
    assert sandbox.sweep().returncode == 0


def test_clean_lists_asks_and_removes_only_what_is_superseded(sandbox: Sandbox) -> None:
    sandbox.behaviours = {"A": ["kill", "ok"]}
    assert sandbox.sweep().returncode == 0
    trial_id = sandbox.trial_ids()["A"]
    checkpoint = sandbox.run / Keys.checkpoint(trial_id, "001-00000000", 2) / "adapter.safetensors"
    checkpoint.parent.mkdir(parents=True)
    checkpoint.write_bytes(b"x" * 1000)
    asked = sandbox.verb("clean", str(sandbox.run), stdin="n\n")
    assert "checkpoints of a finished trial" in asked.stderr
    assert "superseded attempt" in asked.stderr
    assert checkpoint.exists()
    assert sandbox.verb("clean", str(sandbox.run)).returncode == 2  # nobody to answer
    done = sandbox.verb("clean", str(sandbox.run), "--yes")
    assert done.returncode == 0, done.stderr
    assert not checkpoint.exists()
    assert set(states(sandbox).values()) == {"succeeded"}
    assert sandbox.sweep().returncode == 0


def test_clean_all_removes_the_run(sandbox: Sandbox) -> None:
    assert sandbox.sweep().returncode == 0
    assert sandbox.verb("clean", str(sandbox.run), "--all", stdin="yes\n").returncode == 0
    gone = sandbox.verb("status", str(sandbox.run))
    assert gone.returncode == 2
    assert "no run there" in gone.stderr


def test_a_sweep_in_s3_runs_fails_is_retried_and_removed_as_one_in_a_folder(
    sandbox: Sandbox, s3_bucket: S3Bucket
) -> None:
    sandbox.uri, sandbox.extra = f"{s3_bucket.uri}/sweeps", s3_bucket.server.environment()
    sandbox.behaviours = {"B": ["80", "ok"]}
    run = f"{s3_bucket.uri}/sweeps/demo/main"
    first = sandbox.sweep()
    assert first.returncode == 1, first.stderr
    assert f"report: {run}/report/report.html" in first.stdout
    assert sandbox.verb("retry", run, "B").returncode == 0
    assert sandbox.sweep().returncode == 0
    assert "nothing to do" in sandbox.sweep().stderr
    shown = json.loads(sandbox.verb("status", run, "--output", "json").stdout)
    assert {trial["state"] for trial in shown["trials"]} == {"succeeded"}
    assert sandbox.verb("logs", run, "B").stdout.startswith("attempt 002-")
    assert sandbox.verb("clean", run, "--all", "--yes").returncode == 0
    left = s3_bucket.server.client().list_objects_v2(Bucket=s3_bucket.name).get("Contents", [])
    assert [found["Key"] for found in left] == ["sweeps/demo/main/.conditional-put"]  # the store's own, never listed


def test_a_store_that_cannot_be_used_is_refused_before_anything_starts(sandbox: Sandbox, s3_bucket: S3Bucket) -> None:
    sandbox.uri, sandbox.extra = "s3://no-such-bucket-here/sweeps", s3_bucket.server.environment()
    refused = sandbox.sweep()
    assert refused.returncode == 78, refused.stderr
    assert "no-such-bucket-here" in refused.stderr
    assert not (sandbox.root / "state" / "lorasweep" / "runs").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["rnu"], "did you mean 'run'?"),
        (["status", "nowhere/demo/main"], "no run there"),
        (["status", "nowhere"], "neither a spec file nor a run"),
        (["status", "missing.yaml"], "no such file"),
        (["status", "nowhere/demo/main", "--run", "x"], "already names store, sweep and run"),
        (["run", "missing.yaml"], "no such file"),
        (["status", "ftp://x/demo/main"], "`ftp:` is not supported"),
        (["status", "s3:/x/demo/main"], "an S3 address starts with s3://"),
        (["plan", "demo.yaml", "--store", "s3:bucket"], "--store 's3:bucket': an S3 address starts with s3://"),
        (["clean", "demo.yaml", "--all", "--yes", "--store", ""], "--store '': is empty"),
        (["clean", "demo.yaml", "--all", "--yes", "--run", ""], "--run '' is not allowed"),
        (["run", "demo.yaml", "--store", "~nobody-of-this-name/x"], "--store '~nobody-of-this-name/x': is no path"),
        (["status", "~nobody-of-this-name/x/demo/main"], "is no path"),
        (["run", "demo.yaml", "--store", os.fsdecode(b"x\xff")], "is not UTF-8"),
        (["plan", "demo.yaml", "--store", "x" * 256], "255 bytes a name at most"),
        (["status", "x" * 256], "neither a spec file nor a run"),
    ],
)
def test_a_mistake_is_one_message_and_never_a_traceback(sandbox: Sandbox, words: list[str], message: str) -> None:
    done = sandbox.verb(*words)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_a_trial_that_is_not_there_is_answered_with_those_that_are(sandbox: Sandbox) -> None:
    assert sandbox.sweep().returncode == 0
    done = sandbox.verb("logs", str(sandbox.run), "Q")
    assert done.returncode == 2
    assert f"A = {sandbox.trial_ids()['A']}" in done.stderr
