"""Fixtures of the end-to-end tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sandbox import Sandbox, make_sandbox


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    """A sweep of three trials: lora.r 1, 2 and 3."""
    made = make_sandbox(tmp_path)
    yield made
    made.gate.touch()
