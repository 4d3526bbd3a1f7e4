"""What this machine lacks for a cluster, each with its remedy.

`debian_packages.txt` has a line for each Debian package: its name, and a command or a path that shows that it is there.
`.ci/run` installs from the same list.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

DEBIAN_PACKAGES = Path(__file__).resolve().parent / "debian_packages.txt"


class MissingPrerequisiteError(Exception):
    """The machine lacks something; the message has a line for each, with its remedy."""


def missing_packages(lines: str, *, is_there: Callable[[str], bool]) -> tuple[str, ...]:
    """The packages of a list whose sign is not there."""
    rows = [line.split() for line in lines.splitlines() if line.strip()]
    return tuple(package for package, sign in rows if not is_there(sign))


def missing_prerequisites(*, user_id: int) -> tuple[str, ...]:
    """A sentence for each thing that this machine lacks; none if a cluster can start."""
    sentences = []
    if user_id != 0:
        sentences.append("a cluster makes namespaces, mounts and cgroups, and you are not root: sudo make test-cluster")
    packages = missing_packages(DEBIAN_PACKAGES.read_text(encoding="utf-8"), is_there=_is_there)
    if packages:
        sentences.append(f"missing {', '.join(packages)}: apt-get install --no-install-recommends {' '.join(packages)}")
    return tuple(sentences)


def require(*, user_id: int) -> None:
    """Raises MissingPrerequisiteError."""
    if sentences := missing_prerequisites(user_id=user_id):
        raise MissingPrerequisiteError("\n".join(sentences))


def _is_there(sign: str) -> bool:
    return Path(sign).exists() if sign.startswith("/") else shutil.which(sign) is not None


__all__ = ["MissingPrerequisiteError", "missing_packages", "missing_prerequisites", "require"]
