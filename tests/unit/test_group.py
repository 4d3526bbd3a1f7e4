"""Which trials share a Job: every trial once, only what is compatible, in order, and what was grouped stays."""

from __future__ import annotations

from dataclasses import replace

import pytest
from fake_sweep import NOW
from hypothesis import given, settings
from hypothesis import strategies as st
from known_model import KNOWN
from specs import HEAD, PINS, expanded, load

from controller.planning.base_model import BaseModel
from controller.planning.engine import packing_key
from controller.planning.group import Packing, group, group_id, part_of
from controller.planning.place import CLUSTER, local_place
from controller.planning.plan import make_plan
from controller.planning.request import TRIALS_LIMIT_BYTES, request_of
from job.contract.config import JobExecution, PlannedTrial
from job.contract.documents import Group, Plan, parse, to_json

RANKS = "grid: {prompt: [v1], lora.r: [1, 2, 3, 4, 5]}\n"
TWO = Packing(2, model=KNOWN)
AUTO = Packing("auto", model=KNOWN)


def grouped(
    trials: tuple[PlannedTrial, ...], packing: Packing = TWO, *, earlier: tuple[Group, ...] = ()
) -> tuple[Group, ...]:
    return group(trials, packing=packing, earlier=earlier, limit_bytes=TRIALS_LIMIT_BYTES)


def said(trials: tuple[PlannedTrial, ...], groups: tuple[Group, ...]) -> list[tuple[str, str]]:
    """Engine and letters of each group."""
    letters = {trial.trial_id: trial.letter for trial in trials}
    return [(found.engine, "".join(letters[trial] for trial in found.trial_ids)) for found in groups]


def test_one_a_job_is_the_reference_engine() -> None:
    trials = expanded(RANKS).trials
    groups = grouped(trials, Packing(1, packed=False, model=KNOWN))
    assert said(trials, groups) == [("reference", letter) for letter in "ABCDEF"]
    assert {found.why for found in groups} == {"execution.trials_per_job is 1"}


def test_the_engine_goes_by_the_trial_and_not_by_who_shares_its_job() -> None:
    """Or a laptop and a cluster would train one spec to other numbers."""
    trials = expanded(RANKS + "baselines: [zero-shot]").trials
    alone = grouped(trials, Packing(1, model=KNOWN))
    assert said(trials, alone) == [*[("lanes", letter) for letter in "ABCDE"], ("reference", "F")]


def test_a_number_fills_groups_of_compatible_trials_and_baselines_ride_along() -> None:
    trials = expanded(RANKS + "baselines: [zero-shot, lead-3, lead-2]").trials
    groups = grouped(trials)
    assert said(trials, groups) == [("lanes", "AB"), ("lanes", "CD"), ("lanes", "EF"), ("reference", "GH")]
    assert [found.why for found in groups] == ["execution.trials_per_job is 2"] * 3 + ["they ask no model"]
    assert groups[0].group_id == group_id(groups[0].trial_ids)


def test_precision_parts_trials_and_what_cannot_be_packed_is_alone_with_its_reason() -> None:
    trials = expanded("grid: {prompt: [v1], lora.r: [1], lora.use_dora: [true, false], training.bf16: [true, false]}\n"
                      "seeds: [0, 1]\nbaselines: []").trials  # fmt: skip
    groups = grouped(trials, Packing(8, model=KNOWN))
    assert said(trials, groups) == [*[("reference", letter) for letter in "AABB"], ("lanes", "CC"), ("lanes", "DD")]
    assert groups[0].why == "lora.use_dora is true"


def test_an_odd_one_out_is_alone_and_a_group_without_training_is_the_reference_engines() -> None:
    trials = expanded("grid: {prompt: [v1, v2], lora.r: [1]}\nbaselines: [zero-shot]").trials
    groups = grouped(trials, Packing(3, model=KNOWN))
    assert said(trials, groups) == [("lanes", "ABC"), ("reference", "D")]
    assert groups[1].why == "nothing is trained"
    rest = grouped(trials[2:], Packing(3, model=KNOWN))
    assert said(trials, rest) == [("reference", "CD")]
    assert rest[0].why == "nothing is trained"


def test_trials_that_share_an_adapter_are_not_lanes_of_one_group() -> None:
    trials = expanded("grid: {generation.max_new_tokens: [4, 8], prompt: [v1], lora.r: [1, 2]}\nbaselines: []").trials
    assert said(trials, grouped(trials, Packing(8, model=KNOWN))) == [("lanes", "AB"), ("lanes", "CD")]


def test_a_model_that_is_not_known_leaves_every_trial_alone_and_says_why() -> None:
    trials = expanded(RANKS + "baselines: []").trials
    groups = grouped(trials, Packing(4, model=BaseModel(unknown="no answer")))
    assert {(found.engine, len(found.trial_ids), found.why) for found in groups} == {
        ("reference", 1, "the model's config.json could not be read: no answer")
    }
    shapeless = grouped(trials, Packing("auto", model=replace(KNOWN, shape=None, unknown="no 'vocab_size'")))
    assert {found.why for found in shapeless} == {"what they would take together is not known: no 'vocab_size'"}


@pytest.mark.parametrize("parallelism", [1, 2, 3, 6, 9])
def test_auto_packs_a_small_model_evenly_and_leaves_no_place_empty(parallelism: int) -> None:
    trials = expanded(RANKS).trials
    groups = grouped(trials, Packing("auto", model=KNOWN, at_a_time=parallelism))
    sizes = [len(found.trial_ids) for found in groups]
    assert len(groups) == min(parallelism, len(trials))
    assert max(sizes) - min(sizes) <= 1


def test_groups_end_before_a_request_would_be_too_large() -> None:
    trials = expanded("grid: {prompt: [v1], lora.r: [1, 2, 3, 4]}\nbaselines: []").trials
    size = len(trials[0].model_dump_json(indent=1))
    groups = group(trials, packing=Packing(4, model=KNOWN), limit_bytes=int(size * 2.5))
    assert [len(found.trial_ids) for found in groups] == [2, 2]


def test_earlier_groups_stay_and_the_rest_is_packed_around_them() -> None:
    trials = expanded("grid: {prompt: [v1], lora.r: [1, 2, 3, 4]}\nbaselines: []").trials
    earlier = grouped(trials[1:3])
    assert said(trials, grouped(trials, earlier=earlier)) == [("lanes", "AD"), ("lanes", "BC")]
    assert earlier[0] in grouped(trials, AUTO, earlier=earlier)


def test_an_earlier_group_with_a_trial_that_is_gone_is_taken_apart() -> None:
    trials = expanded("grid: {prompt: [v1], lora.r: [1, 2, 3]}\nbaselines: []").trials
    groups = grouped(trials[:2], Packing(1), earlier=grouped(trials, Packing(3, model=KNOWN)))
    assert [found.trial_ids for found in groups] == [(trials[0].trial_id,), (trials[1].trial_id,)]


def test_an_earlier_group_that_the_packed_engine_no_longer_takes_is_taken_apart() -> None:
    trials = expanded("grid: {prompt: [v1], lora.r: [1, 2, 3, 4]}\nbaselines: []").trials
    checkpointing = replace(TWO, execution=JobExecution(gradient_checkpointing=True))
    groups = grouped(trials, checkpointing, earlier=grouped(trials))
    assert {(found.engine, found.why) for found in groups} == {("reference", "training.gradient_checkpointing is true")}


AXES: dict[str, list[object]] = {
    "lora.r": [4, 8, 16],
    "training.bf16": [True, False],
    "lora.use_dora": [True, False],
    "generation.max_new_tokens": [8, 16],
}
sweeps = st.fixed_dictionaries(
    {path: st.lists(st.sampled_from(values), min_size=1, unique=True) for path, values in AXES.items()}
)
packings = st.builds(
    Packing,
    st.one_of(st.integers(1, 5), st.just("auto")),
    model=st.sampled_from([KNOWN, BaseModel()]),
    at_a_time=st.integers(1, 4),
    has_gpu=st.booleans(),
)


def trials_of(axes: dict[str, list[object]], baselines: str = "[zero-shot, lead-3]") -> tuple[PlannedTrial, ...]:
    grid = ", ".join(f"{path}: {str(values).lower()}" for path, values in axes.items())
    return expanded(f"grid: {{prompt: [v1, v2], {grid}}}\nbaselines: {baselines}").trials


@settings(max_examples=30, deadline=None)
@given(axes=sweeps, packing=packings, count=st.integers(0, 100))
def test_every_trial_is_in_one_group_with_compatible_ones_and_in_order(
    axes: dict[str, list[object]], packing: Packing, count: int
) -> None:
    trials = trials_of(axes)
    by_id = {trial.trial_id: trial for trial in trials}
    earlier = grouped(trials[:count], packing)
    groups = grouped(trials, packing, earlier=earlier)
    assert set(earlier) <= set(groups)
    assert sorted(trial for found in groups for trial in found.trial_ids) == sorted(by_id)
    order = {trial.trial_id: index for index, trial in enumerate(trials)}
    assert [order[found.trial_ids[0]] for found in groups] == sorted(order[found.trial_ids[0]] for found in groups)
    for found in groups:
        held = [by_id[trial] for trial in found.trial_ids]
        assert list(found.trial_ids) == sorted(found.trial_ids, key=order.__getitem__)
        assert packing.trials_per_job == "auto" or len(held) <= packing.trials_per_job
        adapters = [trial.adapter_id for trial in held if trial.adapter_id]
        assert len(set(adapters)) == len(adapters)
        keys = {packing_key(trial.config) for trial in held if trial.kind != "lead"}
        assert len({key for key in keys if "bf16" in key}) <= 1
        assert len({key.partition(" bf16")[0] for key in keys}) <= 1
        assert len({trial.kind == "lead" for trial in held}) == 1
        assert found.engine == "reference" or adapters
        assert found.why


def plan() -> Plan:
    loaded = load(HEAD + "vary: {grid: {prompt: [v1], lora.r: [1, 2, 3]}}\nexecution: {trials_per_job: 4}\n")
    return make_plan(loaded, pins=PINS, earlier=[], run="main", now=NOW, model=KNOWN)


def test_what_is_left_of_a_group_is_asked_of_its_engine() -> None:
    (whole,), spec = plan().groups, load(HEAD + "vary: {grid: {prompt: [v1], lora.r: [1, 2, 3]}}\n").spec
    assert (whole.engine, len(whole.trial_ids)) == ("lanes", 4)
    left = part_of(plan(), whole.trial_ids[1:3])
    request = request_of(spec, plan(), left)
    assert request.engine == "lanes"
    assert tuple(trial.trial_id for trial in request.trials) == whole.trial_ids[1:3]


def test_what_is_left_without_training_is_the_reference_engines() -> None:
    (whole,) = plan().groups
    assert part_of(plan(), whole.trial_ids[3:]).engine == "reference"


def test_the_backends_default_counts_where_the_spec_has_none() -> None:
    loaded = load(HEAD + "vary: {grid: {prompt: [v1], lora.r: [1, 2, 3]}}\n")
    made = [
        make_plan(loaded, pins=PINS, earlier=[], run="main", now=NOW, model=KNOWN, place=place)
        for place in (CLUSTER, CLUSTER._replace(trials_per_job=2))
    ]
    assert [len(one.groups) for one in made] == [4, 2]


def test_one_machine_has_no_more_groups_than_it_runs_at_a_time() -> None:
    vary = "vary: {grid: {prompt: [v1], lora.r: [1, 2, 3, 4, 5, 6]}, baselines: []}\n"
    loaded = load(HEAD + vary + "execution: {parallelism: 4}\n")
    for gpus, slots in ((0, 1), (2, 2)):
        place = local_place(gpus=gpus, slots=slots)
        made = make_plan(loaded, pins=PINS, earlier=[], run="main", now=NOW, model=KNOWN, place=place)
        assert len(made.groups) == slots


def test_a_stored_group_of_an_earlier_release_is_the_reference_engines() -> None:
    body = b'{"group_id": "g-1", "trial_ids": ["0123456789ab"]}'
    found = parse(Group, body, name="plan")
    assert (found.engine, found.why) == ("reference", "")
    assert parse(Plan, to_json(plan()), name="plan") == plan()
