"""`python -m job --check` as a pod or a person starts it: what is found, one line each, and the exit code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from servers.fault_proxy import Answer, FaultProxy
from servers.s3_server import S3Bucket
from tiny_request import TinySweep, tiny_rows
from tiny_sources import put_folder

from job.contract.config import Request
from job.contract.errors import ExitCode

NAMES = [
    "request", "folder of HOME", "folder of temporary files", "folder of caches", "shared memory", "store",
    "right to delete", "store's clock", "model", "data", "libraries", "device",
]  # fmt: skip


class Checked(NamedTuple):
    code: int
    found: dict[str, dict[str, Any]]
    """By the name of the check."""
    said: str


def check(folder: Path, *arguments: str, **environment: str) -> Checked:
    done = subprocess.run(
        [sys.executable, "-m", "job", *arguments, "--check"],
        env={**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "HOME": str(folder), **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    lines = [json.loads(line) for line in done.stderr.splitlines() if line.startswith("{")]
    checks = [line["check"] for line in lines if "check" in line]
    return Checked(done.returncode, {one["name"]: one for one in checks}, done.stderr)


@pytest.fixture(scope="module")
def request_of_all(tiny_gpt2_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Request:
    sweep = TinySweep(model=tiny_gpt2_folder, rows=tiny_rows(tmp_path_factory.mktemp("rows")))
    return sweep.request(sweep.trained(), sweep.zero_shot(), sweep.lead())


def asked(folder: Path, request: Request) -> tuple[str, ...]:
    path = folder / "request.json"
    path.write_text(request.model_dump_json(), encoding="utf-8")
    return (str(path), "--run-uri", str(folder / "run"), "--attempt", "canary")


def test_a_place_where_a_trial_could_run_is_0_and_has_a_line_for_everything(
    tmp_path: Path, request_of_all: Request
) -> None:
    done = check(tmp_path, *asked(tmp_path, request_of_all))
    assert done.code == ExitCode.DONE, done.said
    assert list(done.found) == NAMES
    assert {one["outcome"] for one in done.found.values()} <= {"ok", "warning", "not checked"}
    assert done.found["request"]["text"] == "3 trials of tiny/main"
    assert "torch " in done.found["libraries"]["text"]
    assert "computes in float32" in done.found["device"]["text"]
    assert [path.name for path in (tmp_path / "run").rglob("*") if path.is_file()] == [".store.lock"]


def test_without_a_request_and_a_store_the_process_itself_is_looked_at(tmp_path: Path) -> None:
    done = check(tmp_path)
    assert done.code == ExitCode.DONE, done.said
    missing = {name for name, one in done.found.items() if one["outcome"] == "not checked"}
    assert missing == {"request", "store", "model", "data"}


def test_everything_that_is_missing_is_named_at_once_and_is_78(tmp_path: Path, request_of_all: Request) -> None:
    arguments = asked(tmp_path, request_of_all)
    gone = request_of_all.model_copy(
        update={
            "model": request_of_all.model.model_copy(update={"location": str(tmp_path / "no-model")}),
            "data": request_of_all.data.model_copy(update={"location": str(tmp_path / "no-rows")}),
        }
    )
    asked(tmp_path, gone)
    (tmp_path / "run").write_text("in the way")
    (tmp_path / "cache").write_text("in the way")
    done = check(tmp_path, *arguments, XDG_CACHE_HOME=str(tmp_path / "cache"))
    assert done.code == ExitCode.CONFIGURATION
    failed = {name for name, one in done.found.items() if one["outcome"] == "failed"}
    assert failed == {"folder of caches", "store", "model", "data"}
    assert done.found["device"]["outcome"] != "failed"
    assert "no-rows is not here" in done.found["data"]["text"]


def test_a_request_that_is_no_request_is_78_with_its_path(tmp_path: Path) -> None:
    (tmp_path / "request.json").write_text("{}")
    done = check(tmp_path, str(tmp_path / "request.json"))
    assert done.code == ExitCode.CONFIGURATION
    assert str(tmp_path / "request.json") in done.found["request"]["text"]


def test_a_store_that_does_not_answer_is_75(
    tmp_path: Path, request_of_all: Request, proxy: FaultProxy, s3_bucket: S3Bucket
) -> None:
    path, *_ = asked(tmp_path, request_of_all)
    proxy.inject(Answer(503, "SlowDown"), times=10_000)
    done = check(tmp_path, path, "--run-uri", f"{s3_bucket.uri}/tiny/main")
    assert done.code == ExitCode.TRY_AGAIN, done.said
    assert done.found["store"]["passing"]


def test_sources_in_a_bucket_are_reached_without_being_fetched(
    tmp_path: Path, request_of_all: Request, proxy: FaultProxy, s3_bucket: S3Bucket
) -> None:
    model = put_folder(s3_bucket, Path(request_of_all.model.location), "models/tiny")
    rows = put_folder(s3_bucket, Path(request_of_all.data.location), "rows")
    remote = request_of_all.model_copy(
        update={
            "model": request_of_all.model.model_copy(update={"kind": "s3", "location": model}),
            "data": request_of_all.data.model_copy(update={"kind": "s3", "location": rows}),
        }
    )
    path, *_ = asked(tmp_path, remote)
    done = check(tmp_path, path, "--run-uri", f"{s3_bucket.uri}/tiny/main")
    assert done.code == ExitCode.DONE, done.said
    read = [seen.target for seen in proxy.seen if seen.method == "GET" and "list-type" not in seen.target]
    assert not [target for target in read if target.endswith((".safetensors", ".jsonl"))]


def test_training_still_needs_its_arguments(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-m", "job", str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == ExitCode.USAGE
    assert "--run-uri, --attempt" in done.stderr
