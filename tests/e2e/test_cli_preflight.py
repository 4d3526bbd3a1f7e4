"""preflight as a person or a script calls it; with a cluster it is in tests/cluster."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from servers.fault_proxy import Answer, FaultProxy
from servers.s3_server import S3Bucket
from specs import HEAD

ROOT = Path(__file__).parents[2]
CONFIG = {
    "hidden_size": 64,
    "intermediate_size": 256,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "vocab_size": 1000,
}
ROW = '{"id": "1", "dialogue": "Ann: hi", "summary": "Ann greets."}\n'


def preflight(folder: Path, *words: str, verb: str = "preflight") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "controller", verb, "sweep.yaml", *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(folder / "cache")},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A spec with a model that can be pinned, and rows."""
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text(json.dumps(CONFIG))
    (tmp_path / "model" / "tokenizer.json").write_text("{}")
    (tmp_path / "model" / "model.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}")
    (tmp_path / "rows").mkdir()
    for name in ("a.jsonl", "b.jsonl", "c.jsonl"):
        (tmp_path / "rows" / name).write_text(ROW)
    text = HEAD.replace("train: a, validation: b, test: c", "train: a.jsonl, validation: b.jsonl, test: c.jsonl")
    (tmp_path / "sweep.yaml").write_text(text + "vary: {grid: {prompt: [v1], lora.r: [8]}}\nstore: {root: runs}\n")
    return tmp_path


def test_a_place_that_takes_the_run_is_said_to_and_no_document_stays_there(folder: Path) -> None:
    done = preflight(folder)
    assert done.returncode == 0, done.stderr
    outcomes = {line[13:].split(":")[0]: line[:13].strip() for line in done.stdout.splitlines()}
    assert outcomes == {
        "store": "ok",
        "right to delete": "ok",
        "store's clock": "not checked",
        "sources": "ok",
        "GPU memory": "ok",
    }
    assert "for A (" in done.stdout
    assert "activations 0." in done.stdout
    assert [path.name for path in (folder / "runs").rglob("*") if path.is_file()] == [".store.lock"]


def test_sources_that_are_not_there_fail_with_their_field_in_text_and_in_json(folder: Path) -> None:
    (folder / "rows" / "b.jsonl").unlink()
    done = preflight(folder, "--output", "json")
    assert done.returncode == 78
    found = json.loads(done.stdout)
    assert not found["ok"]
    assert [check["name"] for check in found["checks"] if check["outcome"] == "failed"] == ["sources"]
    assert "b.jsonl" in found["checks"][-1]["text"]
    assert preflight(folder).stdout.splitlines()[-1].startswith("failed       sources: ")


def test_memory_of_a_gpu_is_not_checked_where_none_is_asked_for_or_the_model_does_not_say_its_widths(
    folder: Path,
) -> None:
    (folder / "model" / "config.json").write_text("{}")
    assert "not checked  GPU memory: config.json has no 'hidden_size'" in preflight(folder).stdout
    with (folder / "sweep.yaml").open("a") as spec:
        spec.write("execution: {gpus: 0}\n")
    assert "not checked  GPU memory: no GPU is asked for" in preflight(folder).stdout


def test_a_store_that_cannot_be_written_fails_with_its_path(folder: Path) -> None:
    (folder / "runs").write_text("a file is in the way")
    done = preflight(folder)
    assert done.returncode == 78, done.stdout + done.stderr
    assert "failed" in done.stdout
    assert str(folder / "runs") in done.stdout


def test_a_cluster_without_settings_is_a_mistake_that_names_the_option(folder: Path) -> None:
    done = preflight(folder, "--backend", "kubernetes")
    assert done.returncode == 2
    assert "--cluster FILE" in done.stderr


def test_a_run_warns_of_a_store_that_takes_no_deletes_and_goes_on(
    folder: Path, s3_bucket: S3Bucket, proxy: FaultProxy
) -> None:
    proxy.inject(Answer(403, "AccessDenied"), method="DELETE", times=10_000)
    (folder / "rows" / "b.jsonl").unlink()
    done = preflight(folder, "--store", s3_bucket.uri, verb="run")
    first, *rest = done.stderr.splitlines()
    assert first.startswith("warning: right to delete: DeleteObject ")
    assert "b.jsonl" in "".join(rest)


def test_a_store_that_does_not_answer_is_no_refusal_but_a_reason_to_try_again(
    folder: Path, s3_bucket: S3Bucket, proxy: FaultProxy
) -> None:
    proxy.go_down()
    done = preflight(folder, "--store", s3_bucket.uri)
    assert done.returncode == 75, done.stdout + done.stderr
    assert "failed       store: " in done.stdout


def test_a_canary_is_a_child_that_looks_and_leaves_nothing(folder: Path) -> None:
    done = preflight(folder, "--canary", "--output", "json")
    assert done.returncode == 0, done.stdout + done.stderr
    found = {check["name"]: check for check in json.loads(done.stdout)["checks"]}
    assert found["canary: request"]["text"] == "1 trials of small/main"
    assert found["canary: libraries"]["outcome"] == "ok"
    assert found["canary: device"]["outcome"] in {"ok", "warning"}
    assert [path.name for path in (folder / "runs").rglob("*") if path.is_file()] == [".store.lock"]


def test_a_canary_waits_until_all_else_is_well(folder: Path) -> None:
    (folder / "runs").write_text("a file is in the way")
    done = preflight(folder, "--canary")
    assert done.returncode == 78
    assert "canary: libraries" not in done.stdout


def test_a_canary_ends_with_who_asked_for_it(folder: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "controller", "preflight", "sweep.yaml", "--canary"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(folder / "cache"), "TMPDIR": str(folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    while "GPU memory" not in process.stdout.readline():
        assert process.poll() is None
    deadline = time.monotonic() + 60
    while not list(folder.glob("lorasweep-canary-*/request.json")):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    children = set(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split())
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    while [child for child in children if Path(f"/proc/{child}").exists()]:  # who inherits the dead takes a moment
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert not list(folder.glob("lorasweep-canary-*"))
