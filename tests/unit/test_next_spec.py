"""Whatever is varied and whoever is best: the next spec is a valid one, and differs only in what the rules changed."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made import START
from specs import HEAD, PINS, load

from controller.collect import Collected, TrialData
from controller.planning.plan import make_plan
from controller.report.advice.edges import Tried, edges_of
from controller.report.advice.edits import Edit, Spec, at, change_of, edited
from controller.report.advice.next_spec import proposed
from controller.report.advice.rules import Finding
from controller.spec.yaml_text import yaml_text
from controller.spec.yaml_tree import TreeValue, parse_yaml
from job.contract.errors import SpecError

NUMBERS: dict[str, st.SearchStrategy[TreeValue]] = {
    "lora.r": st.sampled_from([1, 2, 8, 64, 2048, 4095, 4096]),
    "lora.alpha_ratio": st.sampled_from([0.5, 1, 2, 3.3]),
    "lora.lora_dropout": st.sampled_from([0, 0.05, 0.5, 0.99]),
    "lora.use_dora": st.booleans(),
    "training.learning_rate": st.sampled_from([2e-7, 1e-5, 3e-4, 1.0, 1e300]),
    "training.lr_scheduler_type": st.sampled_from(["linear", "polynomial"]),
    "training.adam_beta2": st.sampled_from([0.9, 0.999, 0.9999999]),
    "training.max_steps": st.sampled_from([1, 4, 9_999_999, 10_000_000]),
    "generation.min_new_tokens": st.sampled_from([0, 1, 32, 64]),
    "prompt": st.sampled_from(["v1", "v2"]),
}


@st.composite
def sweeps(draw: st.DrawFn) -> dict[str, TreeValue]:
    """A spec's tree: a few paths, each on the grid, in pairs, drawn or listed."""
    paths = draw(st.lists(st.sampled_from(sorted(NUMBERS)), min_size=1, max_size=4, unique=True))
    values = {path: draw(st.lists(NUMBERS[path], min_size=2, max_size=3, unique=True)) for path in paths}
    how = draw(st.sampled_from(["grid", "paired", "random", "trials"]))
    grid: dict[str, TreeValue] = {
        path: {"values": listed} if draw(st.booleans()) else listed for path, listed in values.items()
    }
    seeds: list[TreeValue] = draw(st.sampled_from([[0], [3, 5]]))
    vary: dict[str, TreeValue] = {"grid": grid, "seeds": seeds}
    first, *others = paths
    if how == "paired":
        vary = {"paired": [{path: listed[:2] for path, listed in values.items()}]}
    elif how == "random" and first in ("lora.r", "lora.lora_dropout", "training.learning_rate"):
        low, high = sorted(values[first][:2])  # type: ignore[type-var]  # numbers, of these paths
        ranges: TreeValue = {first: {"low": low, "high": high, "log": bool(low) and draw(st.booleans())}}
        vary = {"random": {"n": draw(st.integers(2, 5)), "ranges": ranges}, "grid": {p: grid[p] for p in others}}
    elif how == "trials":
        vary = {"trials": [{path: listed[row] for path, listed in values.items()} for row in (0, 1)]}
    tree = parse_yaml(HEAD.encode(), name="head").value
    assert isinstance(tree, dict)
    defaults: dict[str, TreeValue] = {"prompt": "v1"}
    lora: dict[str, TreeValue] = {"r": 8, "alpha_ratio": 2}
    training: dict[str, TreeValue] = {"max_steps": 4}
    for section, owner in (("lora", lora), ("training", training)):
        for path in paths:
            owner.pop(path.removeprefix(f"{section}."), None)
    trial: dict[str, TreeValue] = {**({} if "prompt" in paths else defaults), "lora": lora, "training": training}
    return {**tree, "trial": trial, "vary": vary}


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow])
@given(tree=sweeps(), best=st.integers(0, 10**6), more=st.integers(1, 3))
def test_the_next_spec_is_valid_and_differs_only_where_it_is_said(tree: Spec, best: int, more: int) -> None:
    try:
        loaded = load(yaml_text(tree))
    except SpecError:
        return  # a spec that nobody could have run
    plan = make_plan(loaded, pins=PINS, earlier=[], run="main", now=START)
    trials = tuple(TrialData(trial, "succeeded") for trial in plan.trials)
    letters = list(dict.fromkeys(trial.letter for trial in plan.trials if trial.kind == "lora"))
    tried = Tried.of(trials, top=[letters[best % len(letters)]], compared=letters)
    edges = tuple(edit for edge in edges_of(loaded.spec, tree, tried) for edit in edge.edits)
    seeds = at(tree, ("vary", "seeds"))
    widened = Edit(("vary", "seeds"), [*(seeds if isinstance(seeds, list) else [0]), *range(100, 100 + more)])
    findings = (Finding("best_at_edge", ("x",), edges), Finding("tied", ("y",), (widened,)))
    collected = Collected(plan=plan, spec=loaded.spec, place="runs/small/main", trials=trials)
    found = proposed(findings, collected, tree)
    assert found.next_sweep is not None
    kept = [edit for finding in found.findings for edit in finding.edits]
    after = parse_yaml(found.next_sweep.spec.encode(), name="next").value
    load(found.next_sweep.spec)
    assert after == edited(tree, kept)
    assert all(
        change_of(tree, edit).before != change_of(tree, edit).after for edit in kept if edit.path[-1] != "trials"
    )
    assert found.next_sweep.trials > len(plan.trials)


def test_a_change_that_the_rules_of_a_spec_refuse_is_left_out_and_said() -> None:
    tree = parse_yaml((HEAD + "vary: {grid: {prompt: [v1], lora.r: [8, 16]}}\n").encode(), name="x").value
    assert isinstance(tree, dict)
    loaded = load(yaml_text(tree))
    plan = make_plan(loaded, pins=PINS, earlier=[], run="main", now=START)
    collected = Collected(plan=plan, spec=loaded.spec, place="x", trials=())
    refused = Finding("loss_still_falling", ("s",), (Edit(("trial", "training", "max_steps"), 10**9),))
    fine = Finding("best_at_edge", ("t",), (Edit(("vary", "grid", "lora.r"), [8, 16, 32]),))
    found = proposed((refused, fine), collected, tree)
    assert found.findings[0].edits == ()
    assert "The spec's rules refuse that change: " in found.findings[0].sentences[-1]
    assert found.next_sweep is not None
    assert "max_steps: 4" in found.next_sweep.spec
    assert "lora.r: [8, 16, 32]" in found.next_sweep.spec
