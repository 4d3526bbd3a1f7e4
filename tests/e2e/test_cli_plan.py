"""validate, plan and schema as a person or a script calls them."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from specs import HEAD

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "examples").glob("*.yaml"))
# What `validate` must do without: seconds of imports, and what the controller image lacks.
HEAVY = (
    "torch",
    "transformers",
    "datasets",
    "peft",
    "boto3",
    "botocore",
    "huggingface_hub",
    "jinja2",
    "numpy",
    "rich",
)


def lorasweep(
    *words: str, cwd: Path = ROOT, environ: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "controller", *words],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), **(environ or {})},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    """A folder with a spec, a model and rows; also the cache of hashes."""
    for name, files in {"model": ("config.json", "tokenizer.json"), "rows": ("a.jsonl", "b.jsonl", "c.jsonl")}.items():
        (tmp_path / name).mkdir()
        for file in files:
            (tmp_path / name / file).write_text("{}")
    (tmp_path / "model" / "model.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}")
    text = HEAD.replace("train: a, validation: b, test: c", "train: a.jsonl, validation: b.jsonl, test: c.jsonl")
    (tmp_path / "sweep.yaml").write_text(text + "vary: {grid: {prompt: [v1], lora.r: [8, 8.0, 16]}}\n")
    return tmp_path


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_validate_accepts_each_example(example: Path) -> None:
    ran = lorasweep("validate", str(example))
    assert (ran.returncode, ran.stdout[:4]) == (0, "ok: "), ran.stderr


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_each_example_starts_with_the_command_that_runs_it(example: Path) -> None:
    first, second = example.read_text().splitlines()[:2]
    commands = (
        "lorasweep run ",
        *(f"helm install {name} charts/lorasweep --set-file spec=" for name in ("try", "nightly")),
    )
    assert first.startswith(tuple(f"# {command}examples/{example.name}" for command in commands))
    assert second == "# yaml-language-server: $schema=../docs/sweep.schema.json"


def test_all_examples_are_there() -> None:
    assert {path.stem for path in EXAMPLES} == {"quickstart", "samsum-gpt2", "samsum-smollm2", "kubernetes", "nightly"}


def test_validate_keeps_product_and_talk_apart(sweep: Path) -> None:
    ran = lorasweep("validate", str(sweep / "sweep.yaml"))
    assert (
        ran.stdout == "ok: 3 trials, 1 of each trained configuration; listed again and run once: prompt=v1, lora.r=8\n"
    )
    assert ran.stderr == "warning: no trial uses the prompt v2\n"


def test_validate_answers_scripts(sweep: Path) -> None:
    answer = json.loads(lorasweep("validate", "--output", "json", str(sweep / "sweep.yaml")).stdout)
    assert (answer["ok"], answer["trials"], len(answer["sha256"])) == (True, 3, 64)
    assert answer["duplicates"] == ["prompt=v1, lora.r=8"]
    (sweep / "sweep.yaml").write_text(HEAD.replace("name: small", "name: Small") + "vary: {grid: {lora.rr: [8]}}\n")
    ran = lorasweep("validate", "--output", "json", str(sweep / "sweep.yaml"))
    assert ran.returncode == 2
    assert not json.loads(ran.stdout)["ok"]
    assert "did you mean `lora.r`?" in json.loads(ran.stdout)["errors"][-1]


def test_a_mistake_is_printed_without_a_traceback(sweep: Path) -> None:
    (sweep / "sweep.yaml").write_text(HEAD + "vary: {grid: {prompt: [v1], lora.r: [none]}}\n")
    ran = lorasweep("validate", str(sweep / "sweep.yaml"))
    assert (ran.returncode, ran.stdout) == (2, "")
    assert "sweep.yaml:11:38: vary.grid.lora.r[0]: 'none': must be a number, got text" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_validate_refuses_a_trial_too_large_for_a_request(sweep: Path) -> None:
    text = (sweep / "sweep.yaml").read_text().replace("Sum up.", "Sum up. " * 18_000)
    (sweep / "sweep.yaml").write_text(text)
    ran = lorasweep("validate", str(sweep / "sweep.yaml"))
    assert ran.returncode == 2
    assert "131,072 are allowed" in ran.stderr


@pytest.mark.parametrize("words", [["--help"], ["validate", "--help"], ["validate", str(EXAMPLES[0])]])
def test_answers_at_once_come_without_heavy_imports(words: list[str], tmp_path: Path) -> None:
    # Warm: bytecode may be cached, as on any machine where the package was installed.
    environ = {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(tmp_path)}
    assert lorasweep(*words, environ=environ).returncode == 0
    seconds = min(_cpu_seconds(*words, environ=environ) for _ in range(3))
    assert seconds < 0.5
    ran = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "controller", *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in ran.stderr.splitlines()}
    assert "argparse" in imported
    assert not imported & set(HEAVY)


def _cpu_seconds(*words: str, environ: Mapping[str, str]) -> float:
    before = _children_cpu_s()
    lorasweep(*words, environ=environ)
    return _children_cpu_s() - before


def _children_cpu_s() -> float:
    """Of our processes and not of their neighbours: wall-clock time on a shared machine says little."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def test_plan_says_what_would_run_and_writes_nothing_but_remembered_hashes(sweep: Path) -> None:
    ran = lorasweep("plan", "sweep.yaml", cwd=sweep, environ={"XDG_CACHE_HOME": str(sweep / "cache")})
    assert ran.returncode == 0, ran.stderr
    assert "3: 2 trained (2 configurations x 1 seed), 1 baseline; 3 jobs" in ran.stdout
    assert "prompt=v1, lora.r=8: is a configuration already listed" in ran.stdout
    assert "0 with a result, 3 to run" in ran.stdout
    assert not (sweep / "runs").exists()


def test_plan_says_why_a_machine_without_gpus_runs_one_trial_at_a_time(sweep: Path) -> None:
    (sweep / "sweep.yaml").write_text((sweep / "sweep.yaml").read_text() + "execution: {parallelism: 2, gpus: 0}\n")
    ran = lorasweep("plan", "sweep.yaml", cwd=sweep, environ={"XDG_CACHE_HOME": str(sweep / "cache")})
    assert "at most 3 h 00 min at 3,600 s a trial and parallelism 1" in ran.stdout
    assert "warning: execution.parallelism is 2, but this machine has 1 device slot" in ran.stderr
    words = ["sweep.yaml", "--backend", "kubernetes"]
    ran = lorasweep("plan", *words, cwd=sweep, environ={"XDG_CACHE_HOME": str(sweep / "cache")})
    assert "at most 2 h 00 min at 3,600 s a trial and parallelism 2" in ran.stdout
    assert "device slot" not in ran.stderr


def test_plan_answers_scripts(sweep: Path) -> None:
    words = ["--output", "json", "--store", str(sweep / "elsewhere"), "--run", "nightly"]
    ran = lorasweep("plan", "sweep.yaml", *words, cwd=sweep, environ={"XDG_CACHE_HOME": str(sweep / "cache")})
    answer = json.loads(ran.stdout)
    assert answer["store"] == str(sweep / "elsewhere" / "small" / "nightly")
    assert [trial["letter"] for trial in answer["trials"]] == ["A", "B", "C"]
    assert answer["counts"]["new"] == 3
    assert answer["stored"] is False


def test_ten_thousand_trials_are_planned_in_under_five_seconds(sweep: Path) -> None:
    grid = f"{{prompt: [v1], lora.r: {list(range(1, 101))}, training.warmup_steps: {list(range(10))}}}"
    vary = f"{{grid: {grid}, seeds: {list(range(10))}}}"
    text = (sweep / "sweep.yaml").read_text().partition("vary:")[0]
    (sweep / "sweep.yaml").write_text(f"{text}vary: {vary}\n")
    before = _children_cpu_s()
    ran = lorasweep("plan", "sweep.yaml", cwd=sweep, environ={"XDG_CACHE_HOME": str(sweep / "cache")})
    assert "10,001: 10,000 trained (1,000 configurations x 10 seeds)" in ran.stdout
    assert _children_cpu_s() - before < 5


def test_plan_names_the_field_of_a_place_that_is_not_there(sweep: Path) -> None:
    (sweep / "model").rename(sweep / "other")
    (sweep / "sweep.yaml").write_text((sweep / "sweep.yaml").read_text().replace("id: model", "id: ./model"))
    ran = lorasweep("plan", "sweep.yaml", cwd=sweep, environ={"XDG_CACHE_HOME": str(sweep / "cache")})
    assert ran.returncode == 2
    assert "model.id: './model'" in ran.stderr
    assert "Traceback" not in ran.stderr
    assert "warning: model.id: ./model does not exist" in lorasweep("validate", "sweep.yaml", cwd=sweep).stderr


def test_schema_prints_the_schema_that_ships() -> None:
    ran = lorasweep("schema")
    assert ran.stdout == (ROOT / "docs" / "sweep.schema.json").read_text(encoding="utf-8")
