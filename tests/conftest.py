"""Fixtures that several suites share."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from sandbox import Sandbox, make_sandbox

if TYPE_CHECKING:
    from evaluated import Loaded

pytest_plugins = ["no_skips", "servers.fixtures", "cluster.fixtures"]


@pytest.fixture(autouse=True)
def _root_log_level() -> Iterator[None]:
    """A command that sets up its logging in this process leaves the next test's as it was."""
    level = logging.getLogger().level
    yield
    logging.getLogger().setLevel(level)


@pytest.fixture(scope="session")
def tiny_gpt2_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random two-layer GPT-2 with dropout 0.1 and no chat template; read only."""
    from tiny import write_tiny_gpt2  # torch takes seconds, and most suites need none

    return write_tiny_gpt2(tmp_path_factory.mktemp("tiny") / "gpt2")


@pytest.fixture(scope="session")
def tiny_llama_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random two-layer Llama with a chat template; read only."""
    from tiny import write_tiny_llama

    return write_tiny_llama(tmp_path_factory.mktemp("tiny") / "llama")


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    """A sweep of three trials: lora.r 1, 2 and 3."""
    made = make_sandbox(tmp_path)
    yield made
    made.gate.touch()


@pytest.fixture(params=["gpt2", "llama"])
def loaded(request: pytest.FixtureRequest) -> Loaded:
    """A tiny model with its tokenizer, of both architectures in turn."""
    from evaluated import load_tiny

    return load_tiny(request.getfixturevalue(f"tiny_{request.param}_folder"))
