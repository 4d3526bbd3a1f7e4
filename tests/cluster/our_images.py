"""The images under test, as the Dockerfile makes them on the tests' base, and one with a job that trains nothing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cluster.images import BASE_IMAGE, Build

__all__ = ["CONTROLLER_IMAGE", "FAKE_JOB_IMAGE", "JOB_IMAGE"]

ROOT = Path(__file__).resolve().parents[2]
TESTS = ROOT / "tests"
_OF_THE_JOB = ("requirements", "pyproject.toml", "README.md", "LICENSE", "job")


def _ours(target: str, *, sources: Sequence[str]) -> Build:
    return Build(
        f"localhost/lorasweep-{target}:test",
        ROOT / "Dockerfile",
        ROOT,
        target=target,
        arguments={"PYTHON_IMAGE": BASE_IMAGE},
        sources=sources,
    )


JOB_IMAGE = _ours("job", sources=_OF_THE_JOB)
CONTROLLER_IMAGE = _ours("controller", sources=(*_OF_THE_JOB, "controller"))
FAKE_JOB_IMAGE = Build(
    "localhost/lorasweep-fake-job:test",
    TESTS / "cluster" / "fake_job" / "Dockerfile",
    TESTS,
    arguments={"CONTROLLER_IMAGE": CONTROLLER_IMAGE.name},
)
