"""What can be said about the two images without building them: locks, Dockerfile, what enters a build."""

from __future__ import annotations

import ast
import json
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from dockerfile import ROOT, Instruction, enters, lineage, locked, read_stages

TARGETS = ("job", "controller")
LOCKS = ("job.txt", "controller.txt", "build.txt", "uv.txt")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
STAGES = read_stages()
WITHOUT = frozenset({"pyarrow", "bitsandbytes", "mlflow", "tensorboard"})  # looked for before they are imported


@pytest.mark.parametrize("lock", LOCKS)
def test_an_image_has_the_versions_that_the_tests_ran_with(lock: str) -> None:
    tested = _versions("dev.txt")
    assert _versions(lock)
    assert {name: version for name, version in _versions(lock).items() if tested.get(name) != version} == {}


def _versions(lock: str) -> dict[str, str]:
    """Without the condition: what more packages need may be locked for more systems."""
    return {name: version.partition(" ;")[0] for name, version in locked(lock).items()}


@pytest.mark.parametrize("lock", LOCKS)
def test_every_locked_package_has_a_hash_and_no_address(lock: str) -> None:
    text = (ROOT / "requirements" / lock).read_text(encoding="utf-8")
    blocks = re.split(r"^(?=[a-z])", text, flags=re.MULTILINE)[1:]
    assert [block.split()[0] for block in blocks if "--hash=sha256:" not in block] == []
    assert "://" not in text
    assert "--index" not in text


@pytest.mark.parametrize("target", TARGETS)
def test_a_lock_has_what_pyproject_asks_for(target: str) -> None:
    wanted = [*PROJECT["dependencies"], *PROJECT["optional-dependencies"][target]]
    assert {re.split(r"[<>=~]", one)[0] for one in wanted} <= locked(f"{target}.txt").keys()


def test_the_controller_has_no_torch_and_the_job_no_kubernetes_client() -> None:
    heavy = {"accelerate", "datasets", "peft", "scipy", "tensorboard", "torch", "transformers", "triton"}
    assert locked("controller.txt").keys() & heavy == set()
    assert [name for name in locked("controller.txt") if name.startswith(("nvidia-", "cuda-"))] == []
    assert locked("job.txt").keys() & {"kubernetes", "prometheus-client"} == set()


@pytest.mark.parametrize(
    ("target", "folders"),
    [("job", ["job"]), ("controller", ["controller", "job/contract", "job/store", "job/sources"])],
)
def test_whatever_the_code_of_an_image_imports_is_in_its_lock(target: str, folders: list[str]) -> None:
    homes = packages_distributions()
    imported = {name for folder in folders for path in (ROOT / folder).rglob("*.py") for name in _imports(path)}
    foreign = imported - sys.stdlib_module_names - {"job", "controller"} - WITHOUT
    there = locked(f"{target}.txt").keys()
    assert {name for name in foreign if not {_normal(home) for home in homes[name]} & there} == set()


@pytest.mark.parametrize("target", TARGETS)
def test_python_is_process_1_of_a_user_without_a_name(target: str) -> None:
    made = lineage(STAGES, target)
    words = {"job": ["python", "-m", "job"], "controller": ["lorasweep"]}
    assert json.loads(_last(made, "ENTRYPOINT").rest) == words[target]
    assert "lorasweep" in PROJECT["scripts"]
    assert not [one for one in made if one.word == "CMD"]
    user, group = _last(made, "USER").rest.split(":")
    assert int(user) > 0
    assert int(group) > 0


@pytest.mark.parametrize("target", TARGETS)
def test_the_source_is_the_last_layer_of_files_and_the_commit_comes_after_it(target: str) -> None:
    made = lineage(STAGES, target)
    layers = [one for one in made if one.word == "COPY"]
    assert layers[-1].operands == ["/opt/lorasweep", "/opt/lorasweep"]
    assert layers[-2].operands == ["/opt/venv", "/opt/venv"]
    assert made.index(layers[-1]) < made.index(Instruction("ARG", 'GIT_COMMIT=""'))
    assert Instruction("ENV", "LORASWEEP_GIT_COMMIT=${GIT_COMMIT}") in made


@pytest.mark.parametrize("target", TARGETS)
def test_an_image_gets_its_files_by_copies_alone(target: str) -> None:
    """A RUN would leave behind what a builder mounts for it, such as an empty /etc/pip.conf."""
    assert [one.rest for one in lineage(STAGES, target) if one.word in ("RUN", "ADD")] == []


def test_images_carry_the_version_of_the_package() -> None:
    labels = [one.rest for one in lineage(STAGES, "job") if one.word == "LABEL"]
    assert re.findall(r"image\.version=(\S+)", " ".join(labels)) == [PROJECT["version"]]


def test_every_stage_starts_from_the_one_base_image() -> None:
    assert {stage.base for stage in STAGES.values()} - STAGES.keys() == {"${PYTHON_IMAGE}"}


def test_packages_are_installed_by_hash_alone() -> None:
    installs = [
        command
        for stage in STAGES.values()
        for one in stage.instructions
        if one.word == "RUN"
        for command in one.rest.split("&&")
        if "pip install" in command
    ]
    assert len(installs) == 4
    assert [command for command in installs if not re.search(r"--require-hashes|--no-index .*--no-deps", command)] == []


def test_what_a_build_copies_exists_and_enters_it() -> None:
    copied = [
        path
        for stage in STAGES.values()
        for one in stage.instructions
        if one.word == "COPY" and "from" not in one.flags
        for path in one.operands[:-1]
    ]
    assert copied
    assert [path for path in copied if not (ROOT / path).exists() or not enters(path.rstrip("/"))] == []


def test_nothing_else_enters_a_build() -> None:
    known = {"requirements", "pyproject.toml", "README.md", "LICENSE", "job", "controller"}
    assert {path.name for path in ROOT.iterdir() if enters(path.name)} == known
    kept_out = [
        ".git/config",
        ".venv/bin/python",
        ".demo/a",
        "runs/a",
        "tests/unit/a.py",
        ".env",
        "job/__pycache__/a.pyc",
    ]
    assert [path for path in kept_out if enters(path)] == []
    assert enters("controller/report/templates/report.html")


def _imports(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    found |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) if node.module}
    return {name.partition(".")[0] for name in found}


def _normal(distribution: str) -> str:
    return re.sub(r"[-_.]+", "-", distribution).lower()


def _last(made: list[Instruction], word: str) -> Instruction:
    return [one for one in made if one.word == word][-1]
