"""Which code a run was made with."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path

from job.contract.config import Provenance

__all__ = ["provenance_of"]


def provenance_of(folder: Path, environ: Mapping[str, str]) -> Provenance:
    """The commit of the checkout that the package in `folder` runs from, and the image if there is one."""
    commit = environ.get("LORASWEEP_GIT_COMMIT") or _git_commit(folder)
    return Provenance(git_commit=commit, image=environ.get("LORASWEEP_IMAGE"))


def _git_commit(folder: Path) -> str | None:
    if not (folder.parent / ".git").exists():
        return None
    try:
        found = subprocess.run(
            ["git", "-C", str(folder), "rev-parse", "HEAD"],  # noqa: S607  (git is wherever the person has it)
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip()
