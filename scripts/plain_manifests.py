"""Writes k8s/rights.yaml, job.yaml and cronjob.yaml: the chart, rendered for people without Helm.

The ConfigMap is not among them: `kubectl create configmap --from-file` makes it from the two files, byte for byte.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "k8s"
STANDS_IN = "name: stands in a ConfigMap of its own\nstore: {root: s3://bucket}\n"
NAME = "lorasweep"
"""Of the namespace, the ConfigMap and the prefix of all else."""
# Of a release, which these are not; and empty lines, of which each release of Helm prints its own number.
_HELM_LINES = re.compile(r"^((# Source| *(helm\.sh/chart|app\.kubernetes\.io/managed-by)): .*)?\n", re.MULTILINE)
_ONE_SHOT_NAME = re.compile(rf"^  name: {NAME}-[0-9a-f]{{8}}$", re.MULTILINE)


def rendered(helm: Path) -> dict[str, str]:
    """The text of each file of k8s/ that comes from the chart. Raises CalledProcessError where Helm fails."""
    job = _template(helm, "job.yaml")
    return {
        "rights.yaml": _document(
            "accounts, and what the controller may do", _template(helm, "accounts.yaml", "role.yaml")
        ),
        # `kubectl create` gives each its own name; another one waits until the first has ended.
        "job.yaml": _document(
            "one run of the sweep: kubectl create -f", _ONE_SHOT_NAME.sub(f"  generateName: {NAME}-", job)
        ),
        "cronjob.yaml": _document(
            "a run every night", _template(helm, "cronjob.yaml", "--set=schedule.cron=30 2 * * *")
        ),
    }


def _document(purpose: str, text: str) -> str:
    document = text.removeprefix("---\n")
    return f"# Rendered from charts/lorasweep by `make manifests`: {purpose}.\n{document}"


def _template(helm: Path, *words: str) -> str:
    """Some templates of the chart as Helm prints them, without what only Helm needs."""
    shown = [f"--show-only=templates/{word}" for word in words if not word.startswith("--")]
    command = [str(helm), "template", NAME, str(ROOT / "charts" / NAME), f"--namespace={NAME}", "--kube-version=1.37"]
    command += [f"--values={FOLDER / 'values.yaml'}", f"--set-literal=spec={STANDS_IN}", *shown]
    command += [word for word in words if word.startswith("--")]
    printed = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ}).stdout
    return _HELM_LINES.sub("", printed)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--helm", type=Path, default=Path("helm"), help="the program (default: the one on PATH)")
    for name, text in rendered(parser.parse_args(arguments).helm).items():
        (FOLDER / name).write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
