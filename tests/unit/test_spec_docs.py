"""docs/spec.md has every key with its default and place in an identity, and every refused argument with its reason."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from controller.spec.schema import schema_text
from controller.spec.training_arguments import EXECUTION_ARGUMENTS, REFUSED_ARGUMENTS
from controller.spec.varied import VARIED_PATHS
from controller.spec.vary import written

TEXT = (Path(__file__).parents[2] / "docs" / "spec.md").read_text(encoding="utf-8")
ROWS = {
    match["path"]: match["rest"].split(" | ")
    for match in re.finditer(r"^\| `(?P<path>[^`]+)` \| (?P<rest>.*) \|$", TEXT, re.MULTILINE)
}
SECTIONS = {
    "ModelSection": "model",
    "DataSection": "data",
    "PromptTemplate": "prompts.<name>",
    "TrialSection": "trial",
    "LoraSection": "trial.lora",
    "TrainingSection": "trial.training",
    "GenerationOptions": "trial.generation",
    "EvaluationSection": "trial.evaluation",
    "Vary": "vary",
    "RandomSearch": "vary.random",
    "RandomRange": "vary.random.ranges.<path>",
    "Objective": "objective",
    "ExecutionSection": "execution",
    "StoreSection": "store",
    "Regression": "regression",
}


def keys() -> dict[str, dict[str, Any]]:
    """Every key that is no section, with its schema."""
    schema = json.loads(schema_text())
    owners = {"": schema, **{f"{path}.": schema["definitions"][name] for name, path in SECTIONS.items()}}
    return {
        prefix + name: field | {"required": name in owner.get("required", [])}
        for prefix, owner in owners.items()
        for name, field in owner["properties"].items()
        if "$ref" not in field
    }


def test_every_key_is_documented_and_no_other() -> None:
    documented = {path for path in ROWS if path not in REFUSED_ARGUMENTS and "`, `" not in path}
    assert documented == set(keys())


@pytest.mark.parametrize("path", list(keys()))
def test_defaults_and_effects_are_the_schemas(path: str) -> None:
    field = keys()[path]
    _, default, effect, *_ = ROWS[path]
    if field["required"]:
        assert default == "required"
    else:
        value = field.get("default", {})
        assert default == f"`{written(value) if isinstance(value, float) else json.dumps(value)}`"
    assert effect == field["description"].replace("\n", " ").replace("|", "\\|")


def test_identity_is_said_of_what_may_be_varied_and_denied_of_execution() -> None:
    for path in VARIED_PATHS:
        assert ROWS[f"trial.{path}"][3] in ("yes", "as lora_alpha", "its texts"), path
        assert f"`{path}`" in TEXT
    for path, row in ROWS.items():
        if path.startswith(("execution.", "store.", "objective.", "regression.")):
            assert row[3] == "no", path
    for name in EXECUTION_ARGUMENTS:
        assert ROWS[f"trial.training.{name}"][3] == "no"


def test_every_refused_argument_is_listed_with_its_reason() -> None:
    for name, reason in REFUSED_ARGUMENTS.items():
        (row,) = [line for line in TEXT.splitlines() if f"`{name}`" in line and reason in line]
        assert row.startswith("| ")
