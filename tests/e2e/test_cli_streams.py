"""stdout, stderr and the working directory of a command are not what it hopes for."""

from __future__ import annotations

import json
import shlex
import signal
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from sandbox import DEADLINE_S, Sandbox, make_sandbox

LORASWEEP = shlex.join([sys.executable, "-m", "controller"])
VERBS = ["report RUN", "status RUN --output json", "logs RUN A"]
QUESTION = "Wie gro\u00df? \u2191 \U0001f600"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Sandbox:
    """A run of which nothing is left to do."""
    sandbox = make_sandbox(tmp_path_factory.mktemp("finished"))
    sandbox.spec.write_text(f"{sandbox.spec.read_text()}description: '{QUESTION}'\n")
    assert sandbox.sweep().returncode == 0
    return sandbox


def shell(sandbox: Sandbox, line: str, *, cwd: Path | None = None) -> subprocess.CompletedProcess[bytes]:
    """A line of sh, in which `lorasweep`, RUN and SPEC are what they say."""
    words = {"lorasweep": LORASWEEP, "RUN": shlex.quote(str(sandbox.run)), "SPEC": shlex.quote(str(sandbox.spec))}
    line = " ".join(words.get(word, word) for word in line.split())
    return subprocess.run(
        ["/bin/sh", "-c", line],
        env=sandbox.environment(),
        cwd=cwd or sandbox.root,
        capture_output=True,
        check=False,
    )


@pytest.mark.parametrize("verb", [*VERBS, "status RUN", "schema", "validate SPEC"])
def test_a_product_that_cannot_be_written_is_one_message_and_exit_75(finished: Sandbox, verb: str) -> None:
    done = shell(finished, f"lorasweep {verb} > /dev/full")
    assert done.returncode == 75
    (said,) = [line for line in done.stderr.decode().splitlines() if "stdout" in line]
    assert said.startswith(f"lorasweep {verb.split()[0]}: stdout cannot be written: No space left on device")
    assert b"Traceback" not in done.stderr
    assert b"Exception ignored" not in done.stderr


@pytest.mark.parametrize("verb", VERBS)
def test_streams_that_nobody_reads_are_no_mistake(finished: Sandbox, verb: str) -> None:
    whole = shell(finished, f"lorasweep {verb}")
    assert whole.returncode == 0, whole.stderr
    assert shell(finished, f"lorasweep {verb} >&-").returncode == 0
    talk_lost = shell(finished, f"lorasweep {verb} 2>/dev/full")
    assert (talk_lost.returncode, talk_lost.stdout) == (0, whole.stdout)
    assert shell(finished, f"lorasweep {verb} <&- 2>&-").returncode == 0
    cut = shell(finished, f"lorasweep {verb} | head -c 1")
    assert (cut.returncode, cut.stdout) == (0, whole.stdout[:1])
    assert b"Broken pipe" not in cut.stderr


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_where_the_encoding_lacks_a_character_text_has_a_question_mark_and_json_is_utf8(
    finished: Sandbox, encoding: str
) -> None:
    poor = f"LC_ALL=C PYTHONIOENCODING={encoding}"
    text = shell(finished, f"{poor} lorasweep report RUN")
    assert text.returncode == 0, text.stderr
    assert "ROUGE-L ?" in text.stdout.decode(encoding)
    document = shell(finished, f"{poor} lorasweep report RUN --output json")
    assert json.loads(document.stdout.decode())["description"] == QUESTION


def test_nobody_is_asked_where_there_is_no_stdin(finished: Sandbox) -> None:
    done = shell(finished, "lorasweep clean RUN --all <&-")
    assert done.returncode == 2
    assert b"say --yes" in done.stderr
    assert finished.run.exists()


@pytest.mark.parametrize("words", ["validate SPEC", "status RUN", "run demo.yaml"])
def test_a_working_directory_that_is_gone_is_a_mistake(finished: Sandbox, tmp_path: Path, words: str) -> None:
    done = shell(finished, f"rmdir {tmp_path} && lorasweep {words}", cwd=tmp_path)
    assert done.returncode == 2
    assert b"the current directory is gone" in done.stderr
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["status", "nowhere/demo/main"], 2, "no run there"),
        (["clean", "demo.yaml", "--all", "--yes", "--run", ""], 2, "--run '' is not allowed"),
        (["validate", "broken.yaml"], 2, "unknown key; did you mean `model`?"),
        (["plan", "unpinned.yaml"], 78, "config.json"),
    ],
)
def test_a_script_that_asked_for_json_reads_the_error_as_json(
    sandbox: Sandbox, words: list[str], code: int, said: str
) -> None:
    text = sandbox.spec.read_text()
    (sandbox.root / "broken.yaml").write_text(text + "modle: x\nvaary: y\n")
    (sandbox.root / "empty").mkdir()
    (sandbox.root / "unpinned.yaml").write_text(text.replace("id: model", "id: empty"))
    done = sandbox.verb(*words, "--output", "json")
    answer = json.loads(done.stdout)
    assert (done.returncode, answer["ok"], answer["exit_code"]) == (code, False, code)
    assert any(said in line for line in answer["errors"])
    assert "\n".join(answer["errors"]) in done.stderr


def test_an_interrupted_run_says_so_in_json_too(sandbox: Sandbox) -> None:
    sandbox.behaviours = {"A": ["slow"]}
    process = sandbox.start("--output", "json")
    sandbox.until_running("A")
    process.send_signal(signal.SIGTERM)
    stdout, _ = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 85
    answer = json.loads(stdout)
    assert (answer["ok"], answer["exit_code"]) == (False, 85)
    assert answer["errors"][0].startswith("stopped by SIGTERM: 0 of 3 trials are done")


def test_the_version_is_the_package_s(sandbox: Sandbox) -> None:
    assert sandbox.verb("--version").stdout == f"lorasweep {version('lorasweep')}\n"


PRESSED_AT_THE_END = """
import atexit, os, signal, sys
from controller import __main__

def interrupted(arguments):
    raise KeyboardInterrupt

__main__._function = lambda verb: interrupted
atexit.register(os.kill, os.getpid(), signal.SIGINT)
sys.exit(__main__.main(["schema"]))
"""


def test_ctrl_c_while_an_interrupted_command_ends_is_no_traceback() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", PRESSED_AT_THE_END], capture_output=True, text=True, check=False, timeout=60
    )
    assert ended.stderr == "lorasweep schema: interrupted\n"
    assert ended.returncode == -signal.SIGINT
