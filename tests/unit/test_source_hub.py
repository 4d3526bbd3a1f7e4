"""Hub ids by huggingface_hub itself: over a cache on disk, and against a small hub that speaks its protocol.

It reads its settings at import, so every question is asked in a process of its own.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from tiny_hub import COMMIT, Hub, running_hub
from tiny_sources import write_model, write_rows

HUB_SCRIPT = """
import sys
from pathlib import Path
from job.contract.errors import SweepError
from job.source import fetch_data, fetch_model, pin_data, pin_model
from job.sources.description import describe_model
verb, name, revision, *files = sys.argv[1:]
base, cache, revision = Path.cwd(), Path("cache").absolute(), revision or None
try:
    if verb == "describe":
        found = describe_model(pin_model(name, base=base, revision=revision), cache=cache)
        print(found.weight_bytes, found.config)
    elif verb == "model":
        source = pin_model(name, base=base, revision=revision)
        print(source.digest, fetch_model(source, cache=cache))
    else:
        source = pin_data(name, base=base, revision=revision, files=files)
        print(source.digest, fetch_data(source, files=files, cache=cache))
except SweepError as err:
    print(type(err).__name__, err)
"""


class Answer(NamedTuple):
    """What the process printed: an error's name and message, or a digest and a folder."""

    first: str
    rest: str


def ask(folder: Path, *arguments: str, **environment: str) -> Answer:
    repository = Path(__file__).parents[2]
    variables = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    variables |= {"HF_HOME": str(folder / "hf"), "PYTHONPATH": str(repository), **environment}
    command = [sys.executable, "-c", HUB_SCRIPT, *arguments]
    done = subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, timeout=90, check=True)
    first, _, rest = done.stdout.strip().partition(" ")
    return Answer(first, rest)


def write_hub_cache(folder: Path, repo_folder: str, content: Path) -> Path:
    repo = folder / "hf" / "hub" / repo_folder
    snapshot = repo / "snapshots" / COMMIT
    shutil.copytree(content, snapshot)
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text(COMMIT, encoding="utf-8")
    return snapshot


def test_offline_the_hub_cache_pins_and_serves(tmp_path: Path) -> None:
    model = write_hub_cache(tmp_path, "models--org--tiny", write_model(tmp_path / "m"))
    data = write_hub_cache(tmp_path, "datasets--org--chats", write_rows(tmp_path / "d"))
    assert ask(tmp_path, "model", "org/tiny", "", HF_HUB_OFFLINE="1") == (f"hub:{COMMIT}", str(model))
    assert ask(tmp_path, "data", "org/chats", COMMIT, "train", HF_HUB_OFFLINE="1") == (f"hub:{COMMIT}", str(data))


def test_offline_what_the_cache_lacks_is_named_with_the_command(tmp_path: Path) -> None:
    answer = ask(tmp_path, "model", "org/tiny", "v2", HF_HUB_OFFLINE="1")
    assert answer.first == "ConfigurationError"
    assert "hf download org/tiny --revision v2" in answer.rest
    answer = ask(tmp_path, "data", "org/chats", COMMIT, "train", HF_HUB_OFFLINE="1")
    assert answer.first == "ConfigurationError"
    assert f"hf download org/chats --repo-type dataset --revision {COMMIT}" in answer.rest


def test_a_hub_model_is_checked_as_a_folder_is(tmp_path: Path) -> None:
    own_code = write_model(tmp_path / "m", **{"config.json": b'{"auto_map": {"a": 1}}'})
    write_hub_cache(tmp_path, "models--org--own", own_code)
    answer = ask(tmp_path, "model", "org/own", "", HF_HUB_OFFLINE="1")
    assert answer.first == "ConfigurationError"
    assert "auto_map" in answer.rest


def test_offline_a_model_in_the_cache_is_described_by_its_files(tmp_path: Path) -> None:
    write_hub_cache(tmp_path, "models--org--tiny", write_model(tmp_path / "m"))
    weights = (tmp_path / "m" / "model.safetensors").stat().st_size
    answer = ask(tmp_path, "describe", "org/tiny", "", HF_HUB_OFFLINE="1")
    assert answer == (str(weights), "{'model_type': 'gpt2'}")
    assert ask(tmp_path, "describe", "org/other", COMMIT, HF_HUB_OFFLINE="1").first == "ConfigurationError"


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    model = write_model(tmp_path / "served", **{"pytorch_model.bin": b"pickle", "run.py": b"code"})
    with running_hub(model=model, rows=write_rows(tmp_path / "served_rows")) as running:
        yield running


def test_a_hub_model_is_described_without_its_weights(tmp_path: Path, hub: Hub) -> None:
    weights = (tmp_path / "served" / "model.safetensors").stat().st_size
    assert ask(tmp_path, "describe", "org/tiny", "", HF_ENDPOINT=hub.url) == (str(weights), "{'model_type': 'gpt2'}")
    assert not [request for request in hub.asked if "safetensors" in request]


def test_a_hub_model_is_fetched_without_code_or_pickles_and_then_needs_no_network(tmp_path: Path, hub: Hub) -> None:
    answer = ask(tmp_path, "model", "org/tiny", "v1", HF_ENDPOINT=hub.url)
    assert answer.first == f"hub:{COMMIT}"
    assert sorted(path.name for path in Path(answer.rest).iterdir()) == [
        "config.json",
        "model.safetensors",
        "tokenizer.json",
    ]
    hub.asked.clear()
    assert ask(tmp_path, "model", "org/tiny", COMMIT, HF_ENDPOINT=hub.url) == answer
    assert hub.asked == []


def test_of_hub_rows_only_the_files_that_splits_name_are_fetched(tmp_path: Path, hub: Hub) -> None:
    named = ask(tmp_path, "data", "org/chats", "", "train.jsonl", HF_ENDPOINT=hub.url)
    assert named.first == f"hub:{COMMIT}"
    assert [path.name for path in Path(named.rest).iterdir()] == ["train.jsonl"]
    by_split = ask(tmp_path, "data", "org/chats", "", "train", "test", HF_ENDPOINT=hub.url)
    assert sorted(path.name for path in Path(by_split.rest).iterdir()) == ["test.jsonl", "train.jsonl"]


@pytest.mark.parametrize(
    ("repo", "revision", "kind", "words"),
    [
        pytest.param(
            "org/gated", "", "ConfigurationError", "accept its terms on its hub page, and set HF_TOKEN", id="gated"
        ),
        pytest.param("org/unknown", "", "ConfigurationError", "set HF_TOKEN if it is private", id="unknown"),
        pytest.param("org/tiny", "gone", "ConfigurationError", "no such revision", id="revision"),
        pytest.param("org/down", "", "TransientError", "the hub answered 503", id="down"),
    ],
)
def test_what_the_hub_refuses_is_said_with_the_remedy(
    tmp_path: Path, hub: Hub, repo: str, revision: str, kind: str, words: str
) -> None:
    answer = ask(tmp_path, "model", repo, revision, HF_ENDPOINT=hub.url, HF_TOKEN="hf_secretcanary")
    assert answer.first == kind
    assert words in answer.rest
    assert repr(repo) in answer.rest
    assert "secretcanary" not in answer.rest


@pytest.fixture
def silent_server() -> Iterator[str]:
    """A server that accepts every connection and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.parametrize("revision", ["", COMMIT])
def test_a_silent_hub_is_given_up_within_seconds(tmp_path: Path, silent_server: str, revision: str) -> None:
    start = time.monotonic()
    answer = ask(tmp_path, "model", "org/tiny", revision, HF_ENDPOINT=silent_server)
    assert time.monotonic() - start < 60
    assert answer.first == "TransientError"
    assert "'org/tiny'" in answer.rest
    assert "HF_HUB_OFFLINE=1" in answer.rest


def test_a_hub_that_cannot_be_reached_is_said_at_once(tmp_path: Path) -> None:
    start = time.monotonic()
    answer = ask(tmp_path, "data", "org/chats", "", "train", HF_ENDPOINT="http://127.0.0.1:9")
    assert time.monotonic() - start < 30
    assert answer.first == "TransientError"
    assert "does not answer" in answer.rest
