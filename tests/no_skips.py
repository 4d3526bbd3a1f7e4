"""Turns a skip into a failure where CI is set: a check that quietly did not run must not pass for one that did.

A test marked `samsum` may still be skipped, since the archive's licence keeps it out of the repository.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Mapping

import pytest

ALLOWED_MARK = "samsum"


def skips_fail(environ: Mapping[str, str]) -> bool:
    """True on a CI machine, which has everything that the tests need."""
    return environ.get("CI", "").lower() not in ("", "0", "false")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if item.get_closest_marker(ALLOWED_MARK) is None:
        _fail_if_skipped(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    _fail_if_skipped(report)
    return report


def _fail_if_skipped(report: pytest.TestReport | pytest.CollectReport) -> None:
    if not report.skipped or hasattr(report, "wasxfail") or not skips_fail(os.environ):
        return
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    report.outcome = "failed"
    report.longrepr = f"CI is set, and nothing may be skipped there: {reason}"
