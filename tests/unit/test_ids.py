"""Identity: what decides a trial's numbers is in its id, and nothing else is; ids stay what they are.

An id that changed without a new IDENTITY_VERSION would make every stored result a stranger. Where the version was
raised on purpose, UPDATE_GOLDEN=1 writes the new ids.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from specs import HEAD, PINS, expanded, load

from controller.planning.expand import Pins, expand
from controller.spec.file import load_spec
from job.contract.base import canonical_json
from job.contract.config import IDENTITY_VERSION, PlannedTrial, Source, TrialConfig, adapter_id, config_id, trial_id

GOLDEN = Path(__file__).with_name("golden_ids.json")
UPDATE = "UPDATE_GOLDEN=1 python -m pytest tests/unit/test_ids.py"

VARY = "vary: {grid: {prompt: [v1], lora.r: [8]}, baselines: [zero-shot, lead-3]}\n"


def test_golden_ids_hold() -> None:
    found = {
        "identity_version": IDENTITY_VERSION,
        "sweeps": {
            path.stem: [
                [trial.label, trial.seed, trial.trial_id, trial.config_id, trial.adapter_id]
                for trial in expand(load_spec(path).spec, PINS).trials
            ]
            for path in sorted((Path(__file__).parent / "golden_specs").glob("*.yaml"))
        },
    }
    if os.environ.get("UPDATE_GOLDEN"):
        GOLDEN.write_text(json.dumps(found, indent=1) + "\n")
    assert json.loads(GOLDEN.read_text()) == found, f"ids changed; only with a new IDENTITY_VERSION run: {UPDATE}"


def test_the_canonical_form_is_written_down() -> None:
    trial = expanded("grid: {prompt: [v1], lora.r: [8]}").trials[0]
    canonical = canonical_json(trial.config.model_dump(mode="json", exclude_defaults=True)).decode()
    assert canonical == (
        '{"data":{"columns":{"input":"dialogue","target":"summary"},"digest":"sha256:' + "2" * 64 + '",'
        '"splits":{"test":"c","train":"a","validation":"b"}},"generation":{},'
        '"lora":{"lora_alpha":16.0,"r":8},"model":{"digest":"sha256:' + "1" * 64 + '"},'
        '"prompt":{"completion":" {summary}","prompt":"Sum up.\\n{dialogue}\\n"},"seed":0,"training":{"max_steps":4}}'
    )


# A change to the spec, and whether it makes other trials.
CHANGES = {
    "dtype": ("model: {id: model}", "model: {id: model, dtype: bfloat16}", True),
    "dropout": ("model: {id: model}", "model: {id: model, dropout: keep}", True),
    "four bits": ("model: {id: model}", "model: {id: model, load_in_4bit: true}", True),
    "rows": ("summary}}", "summary}, limits: {train: 8}}", True),
    "row seed": ("summary}}", "summary}, seed: 1}", True),
    "overflow": ("summary}}", "summary}, overflow: cut_left}", True),
    "prompt text": ("Sum up.", "Sum it up.", True),
    "chat": ('v1: {prompt: "Sum up.', 'v1: {chat: true, prompt: "Sum up.', True),
    "dropout of the adapter": ("{alpha_ratio: 2}", "{alpha_ratio: 2, lora_dropout: 0.1}", True),
    "steps": ("{max_steps: 4}", "{max_steps: 5}", True),
    "evaluation cadence": ("{max_steps: 4}", "{max_steps: 4, eval_steps: 2}", True),
    "name": ("name: small", "name: other", False),
    "description": ("version: 1", "version: 1\ndescription: other words", False),
    "place of the model": ("model: {id: model}", "model: {id: ../elsewhere/model}", False),
    "name of a prompt nobody uses": ("v2:", "v3:", False),
    "checkpointing": ("{max_steps: 4}", "{max_steps: 4, gradient_checkpointing: true}", False),
    "workers": ("{max_steps: 4}", "{max_steps: 4, dataloader_num_workers: 2}", False),
    "logging": ("{max_steps: 4}", "{max_steps: 4, logging_steps: 5}", False),
    "default written out": ("{max_steps: 4}", "{max_steps: 4, learning_rate: 5e-5, bf16: false}", False),
    "execution": ("version: 1", "version: 1\nexecution: {eval_batch_size: 4, checkpoint_every: 2, gpus: 0}", False),
    "store": ("version: 1", "version: 1\nstore: {root: elsewhere}", False),
    "objective": ("version: 1", "version: 1\nobjective: {metric: rouge1}", False),
    "alpha written out": ("{alpha_ratio: 2}", "{lora_alpha: 16}", False),
}


@pytest.mark.parametrize("case", CHANGES)
def test_an_id_changes_with_what_decides_the_numbers_and_with_nothing_else(case: str) -> None:
    old, new, other = CHANGES[case]
    assert old in HEAD
    before = expand(load(HEAD + VARY).spec, PINS).trials[0]
    after = expand(load(HEAD.replace(old, new) + VARY).spec, PINS).trials[0]
    assert (before.trial_id != after.trial_id) is other


def test_ids_follow_bytes_and_not_places() -> None:
    spec = load(HEAD + VARY).spec
    moved = Pins(
        model=Source(kind="s3", location="s3://bucket/model", digest=PINS.model.digest),
        data=Source(kind="path", location="/other/place", digest=PINS.data.digest),
    )
    changed = moved._replace(data=Source(kind="path", location="/other/place", digest="sha256:" + "3" * 64))
    ids = [[trial.trial_id for trial in expand(spec, pins).trials] for pins in (PINS, moved, changed)]
    assert ids[0] == ids[1]
    assert not set(ids[0]) & set(ids[2])


def test_the_seed_is_in_the_trial_and_not_in_the_configuration() -> None:
    first = expanded("grid: {prompt: [v1], lora.r: [8]}").trials[0].config
    second = first.model_copy(update={"seed": 1})
    assert trial_id(first) != trial_id(second)
    assert adapter_id(first) != adapter_id(second)
    assert config_id(first) == config_id(second)


def test_writing_and_scoring_are_in_the_trial_and_not_in_the_adapter() -> None:
    first = expanded("grid: {prompt: [v1], lora.r: [8]}").trials[0].config
    assert first.generation is not None
    second = first.model_copy(update={"generation": first.generation.model_copy(update={"num_beams": 4})})
    assert trial_id(first) != trial_id(second)
    assert adapter_id(first) == adapter_id(second)


def test_a_planned_trial_whose_ids_are_not_its_own_is_refused() -> None:
    trial = expanded("grid: {prompt: [v1], lora.r: [8]}").trials[0]
    forged = trial.model_dump(mode="json") | {"trial_id": "0" * 12}
    with pytest.raises(ValueError, match="do not match"):
        PlannedTrial.model_validate_json(json.dumps(forged))


@settings(deadline=None, max_examples=50)
@given(data=st.data())
def test_ids_do_not_depend_on_the_order_of_keys(data: st.DataObject) -> None:
    config = expanded("grid: {prompt: [v1], lora.r: [8], lora.target_modules: [[q_proj, v_proj]]}").trials[0].config

    def shuffled(value: object) -> object:
        if not isinstance(value, dict):
            return value
        keys = data.draw(st.permutations(list(value)))
        return {key: shuffled(value[key]) for key in keys}

    again = TrialConfig.model_validate(shuffled(config.model_dump()))
    assert (trial_id(again), config_id(again), adapter_id(again)) == (
        trial_id(config),
        config_id(config),
        adapter_id(config),
    )


def test_the_order_of_target_modules_says_nothing() -> None:
    first, second = (
        expanded(f"grid: {{prompt: [v1], lora.r: [8], lora.target_modules: [{modules}]}}").trials[0].trial_id
        for modules in ("[q_proj, v_proj]", "[v_proj, q_proj]")
    )
    assert first == second
