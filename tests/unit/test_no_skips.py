"""On a CI machine a skipped test fails; elsewhere it is skipped with its reason."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import no_skips
import pytest

CASES = """
import pytest

def test_passes():
    pass

def test_skipped():
    pytest.skip("no go: install it")

@pytest.mark.samsum
def test_needs_the_archive():
    pytest.skip("no archive")

@pytest.mark.xfail(reason="known")
def test_known():
    assert False
"""


def summary(folder: Path, *, ci: str, source: str = CASES) -> str:
    """What pytest prints for the source in a process of its own."""
    (folder / "test_cases.py").write_text(source, encoding="utf-8")
    (folder / "pytest.ini").write_text("[pytest]\nmarkers = samsum\n", encoding="utf-8")
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-rs", "-p", "no_skips", "-p", "no:cacheprovider", str(folder)],
        env={**os.environ, "CI": ci, "PYTHONPATH": str(Path(no_skips.__file__).parent), "PYTEST_ADDOPTS": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    return ended.stdout


def test_on_ci_a_skip_fails_with_its_reason(tmp_path: Path) -> None:
    printed = summary(tmp_path, ci="true")
    assert "1 failed, 1 passed, 1 skipped, 1 xfailed" in printed
    assert "nothing may be skipped there: Skipped: no go: install it" in printed


def test_elsewhere_a_skip_is_a_skip(tmp_path: Path) -> None:
    assert "1 passed, 2 skipped, 1 xfailed" in summary(tmp_path, ci="")


def test_on_ci_a_skipped_file_fails(tmp_path: Path) -> None:
    source = 'import pytest\npytest.importorskip("no_such_package_here")\n'
    assert "1 error" in summary(tmp_path, ci="1", source=source)
    assert "1 skipped" in summary(tmp_path, ci="0", source=source)


@pytest.mark.parametrize(("value", "expected"), [("true", True), ("1", True), ("", False), ("false", False)])
def test_the_variable_is_read_as_ci_systems_set_it(value: str, expected: bool) -> None:
    assert no_skips.skips_fail({"CI": value}) is expected
    assert not no_skips.skips_fail({})
