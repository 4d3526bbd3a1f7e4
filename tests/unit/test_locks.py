"""The locks install the same files everywhere: every pin has hashes, no line names a host, and none is left behind."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LOCKS = sorted((ROOT / "requirements").glob("*.txt"))
PIN = re.compile(r"^([a-z0-9][a-z0-9-]*)==(\S+)")


def pins(lock: Path) -> dict[str, str]:
    """Version by name, as the lock pins them."""
    found = (PIN.match(line) for line in lock.read_text(encoding="utf-8").splitlines())
    return {match[1]: match[2] for match in found if match}


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_every_pin_has_a_hash_and_no_line_names_a_host(lock: Path) -> None:
    text = lock.read_text(encoding="utf-8")
    assert "://" not in text
    assert "--index" not in text
    assert "--find-links" not in text
    entries = [entry for entry in re.split(r"\n(?=\S)", text.strip()) if not entry.startswith("#")]
    assert entries
    assert [entry.splitlines()[0] for entry in entries if "--hash=sha256:" not in entry] == []


def test_the_installer_is_the_one_the_lock_pins() -> None:
    assert pins(ROOT / "requirements" / "uv.txt")["uv"] == pins(ROOT / "requirements" / "dev.txt")["uv"]


def test_every_dependency_of_the_project_is_locked() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [
        *project["dependencies"],
        *(line for extra in project["optional-dependencies"].values() for line in extra),
    ]
    names = {re.split(r"[><=~!\[; ]", line)[0].lower() for line in wanted}
    missing = names - pins(ROOT / "requirements" / "dev.txt").keys()
    assert not missing, f"run `make lock`: {sorted(missing)}"
