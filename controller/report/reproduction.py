"""How to run a report's sweep again. Pure."""

from __future__ import annotations

import shlex
from typing import NamedTuple

from controller.report.document import Report
from job.store import Keys

__all__ = ["Reproduction", "reproduction_of"]


class Reproduction(NamedTuple):
    """What to type, and what it rests on."""

    commands: tuple[str, ...]
    said: str


def reproduction_of(report: Report) -> Reproduction:
    """The commands: code, sweep and report, each in a line."""
    commits = dict.fromkeys(source.git_commit for source in report.provenance.sources if source.git_commit)
    checkout = [f"git checkout {shlex.quote(commit)}" for commit in commits] if len(commits) == 1 else []
    named = [] if report.run == "main" else ["--run", report.run]
    spec = Keys.spec(report.spec_sha256)
    return Reproduction(
        commands=(
            *checkout,
            shlex.join(["lorasweep", "run", "SPEC", *named, "--store", "ANOTHER"]),
            shlex.join(["lorasweep", "report", report.place]),
        ),
        said=(
            f"SPEC is the file that this run keeps as {spec}, in its old place, as its relative paths start there. In "
            "another store everything is trained again, and equal bytes of model and data, as named above, give equal "
            "trial ids; in the present one nothing is left to do. The last line writes this report once more."
        ),
    )
