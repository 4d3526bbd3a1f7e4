"""A Dockerfile and its .dockerignore, read as far as our own go."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Instruction:
    word: str
    rest: str

    @property
    def flags(self) -> dict[str, str]:
        """`--from=builder` as {"from": "builder"}."""
        return dict(re.findall(r"--(\w+)=(\S+)", self.rest)) if self.word == "COPY" else {}

    @property
    def operands(self) -> list[str]:
        return [word for word in shlex.split(self.rest) if not word.startswith("--")]


@dataclass(frozen=True)
class Stage:
    base: str
    instructions: tuple[Instruction, ...]


def read_stages(path: Path = ROOT / "Dockerfile") -> dict[str, Stage]:
    """The stages by name, each with what it is made FROM."""
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if not line.lstrip().startswith("#")]
    stages: dict[str, Stage] = {}
    name = base = ""
    collected: list[Instruction] = []
    for line in "\n".join(lines).replace("\\\n", " ").splitlines():
        word, _, rest = line.strip().partition(" ")
        if word == "FROM":
            base, _, name = rest.split()
            collected = []
        elif word and name:
            collected.append(Instruction(word, rest.strip()))
        if name:
            stages[name] = Stage(base, tuple(collected))
    return stages


def lineage(stages: dict[str, Stage], target: str) -> list[Instruction]:
    """Every instruction that makes `target`, from the first stage on."""
    stage = stages.get(target)
    return [] if stage is None else [*lineage(stages, stage.base), *stage.instructions]


def enters(path: str, ignore: Path = ROOT / ".dockerignore") -> bool:
    """Whether `path` is sent to the builder: the last pattern that matches it, or a folder above it, decides."""
    inside = True
    for line in ignore.read_text(encoding="utf-8").splitlines():
        pattern = line.strip().rstrip("/")
        if not pattern or pattern.startswith("#"):
            continue
        parts = path.split("/")
        above = ["/".join(parts[: n + 1]) for n in range(len(parts))]
        wanted = pattern.removeprefix("!")
        anywhere = wanted.removeprefix("**/")
        if any(
            _matches(one, wanted) or (anywhere != wanted and _matches(one.rsplit("/")[-1], anywhere)) for one in above
        ):
            inside = pattern.startswith("!")
    return inside


def _matches(path: str, pattern: str) -> bool:
    return path.count("/") == pattern.count("/") and fnmatchcase(path, pattern)


def locked(lock: str) -> dict[str, str]:
    """Of requirements/`lock`: name to version, with the condition if there is one."""
    text = (ROOT / "requirements" / lock).read_text(encoding="utf-8")
    return {name: version.strip() for name, version in re.findall(r"^([\w.-]+)==(.+?)\s*\\$", text, re.MULTILINE)}
