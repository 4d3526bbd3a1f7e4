"""A spec becomes its trials: in order, each once, with letters and labels that people can use."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from string import ascii_lowercase

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from specs import HEAD, PINS, expanded, load, varied

from controller.planning.configurations import baseline_prompts, count
from controller.planning.draws import draw
from controller.planning.expand import expand, letter
from controller.spec.model import SweepSpec
from controller.spec.varied import admit_value
from controller.spec.vary import RandomRange, written
from job.contract.errors import SpecError

TWO_BY_TWO = "grid: {prompt: [v1, v2], lora.r: [8, 16]}"


def test_the_first_axis_varies_slowest_and_baselines_come_last() -> None:
    trials = expanded(TWO_BY_TWO + "\nbaselines: [zero-shot, lead-3]").trials
    assert [f"{trial.letter} {trial.label}" for trial in trials] == [
        "A prompt=v1, lora.r=8",
        "B prompt=v1, lora.r=16",
        "C prompt=v2, lora.r=8",
        "D prompt=v2, lora.r=16",
        "E zero-shot, prompt=v1",
        "F zero-shot, prompt=v2",
        "G lead-3",
    ]


def test_seeds_share_letter_label_and_configuration() -> None:
    trials = expanded("grid: {prompt: [v1], lora.r: [8, 16]}\nseeds: [0, 1]\nbaselines: []").trials
    assert [(trial.letter, trial.seed) for trial in trials] == [("A", 0), ("A", 1), ("B", 0), ("B", 1)]
    assert trials[0].config_id == trials[1].config_id != trials[2].config_id
    assert len({trial.trial_id for trial in trials}) == len({trial.adapter_id for trial in trials}) == 4
    assert {trial.label for trial in trials[:2]} == {"prompt=v1, lora.r=8"}


def test_pairs_are_zipped_and_then_crossed_with_the_grid() -> None:
    vary = """grid: {prompt: [v1, v2]}
paired: [{lora.r: [8, 64], training.learning_rate: [5e-4, 1e-4]}]
baselines: []"""
    assert [trial.label for trial in expanded(vary).trials] == [
        "prompt=v1, lora.r=8, training.learning_rate=5e-4",
        "prompt=v1, lora.r=64, training.learning_rate=1e-4",
        "prompt=v2, lora.r=8, training.learning_rate=5e-4",
        "prompt=v2, lora.r=64, training.learning_rate=1e-4",
    ]


def test_listed_trials_follow_the_grid_with_the_same_label_order() -> None:
    vary = TWO_BY_TWO + "\ntrials: [{lora.r: 4, prompt: v1}, {lora.r: 4, prompt: v1, lora.use_dora: true}]"
    labels = [trial.label for trial in expanded(vary + "\nbaselines: []").trials]
    assert labels[4:] == ["prompt=v1, lora.r=4", "prompt=v1, lora.r=4, lora.use_dora=true"]


def test_only_listed_trials_make_no_grid_point() -> None:
    trials = expanded("trials: [{prompt: v2, lora.r: 4}]").trials
    assert [trial.label for trial in trials] == ["prompt=v2, lora.r=4", "zero-shot, prompt=v2"]


def test_nothing_varied_is_one_configuration_named_by_its_prompt() -> None:
    text = HEAD.replace("{alpha_ratio: 2}", "{alpha_ratio: 2, r: 8}").replace("trial:", "trial:\n  prompt: v2")
    expansion = expand(load(text).spec, PINS)
    assert [trial.label for trial in expansion.trials] == ["prompt=v2", "zero-shot, prompt=v2"]


def test_equal_configurations_are_one_trial_and_said() -> None:
    expansion = expanded("grid: {prompt: [v1], lora.r: [8, 8.0, 16]}\nbaselines: []")
    assert [trial.label for trial in expansion.trials] == ["prompt=v1, lora.r=8", "prompt=v1, lora.r=16"]
    assert expansion.duplicates == ("prompt=v1, lora.r=8",)
    listed = expanded("grid: {prompt: [v1], lora.r: [8]}\ntrials: [{prompt: v1, lora.r: 8}]\nseeds: [0, 1]")
    assert listed.duplicates == ("prompt=v1, lora.r=8",)
    assert [trial.letter for trial in listed.trials] == ["A", "A", "B"]


def test_a_default_that_is_written_out_is_the_same_trial() -> None:
    plain = expanded("grid: {prompt: [v1], lora.r: [8]}").trials[0]
    spelled = expanded("grid: {prompt: [v1], lora.r: [8], training.weight_decay: [0]}").trials[0]
    assert plain.trial_id == spelled.trial_id


def test_alpha_ratio_scales_with_the_rank() -> None:
    trials = expanded("grid: {prompt: [v1], lora.r: [8, 16]}").trials
    assert [trial.config.lora.lora_alpha for trial in trials if trial.config.lora] == [16.0, 32.0]


def test_a_ratio_and_the_alpha_it_gives_are_one_trial() -> None:
    fixed = HEAD.replace("alpha_ratio: 2", "lora_alpha: 16")
    vary = "vary: {grid: {prompt: [v1], lora.r: [8]}}\n"
    first = expand(load(fixed + vary).spec, PINS).trials[0]
    assert first.trial_id == expand(load(HEAD + vary).spec, PINS).trials[0].trial_id


def test_zero_shot_runs_once_for_each_prompt_in_use() -> None:
    trials = expanded("grid: {prompt: [v2], lora.r: [8, 16]}\nseeds: [0, 1, 2]").trials
    assert [trial.label for trial in trials if trial.kind == "zero-shot"] == ["zero-shot, prompt=v2"]


def test_adapters_are_shared_where_only_writing_differs() -> None:
    vary = "grid: {prompt: [v1], lora.r: [8], generation.num_beams: [1, 4], training.eval_steps: [2, 4]}\nbaselines: []"
    trials = expanded(vary).trials
    assert len({trial.trial_id for trial in trials}) == 4
    assert len({trial.adapter_id for trial in trials}) == 1


@pytest.mark.parametrize(
    ("index", "text"), [(0, "A"), (25, "Z"), (26, "AA"), (51, "AZ"), (52, "BA"), (701, "ZZ"), (702, "AAA")]
)
def test_letters_count_on_after_z(index: int, text: str) -> None:
    assert letter(index) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(5e-4, "5e-4"), (0.0002, "2e-4"), (2.5e-4, "2.5e-4"), (0.1, "0.1"), (0.05, "0.05"), (8.0, "8"), (300, "300"),
     (1e-8, "1e-8"), (-0.5, "-0.5"), (0.0, "0"), (True, "true"), (None, "null"), ("v1", "v1"),
     (("q_proj", "v_proj"), "[q_proj, v_proj]"), (1 / 3, "0.3333333333333333")],
)  # fmt: skip
def test_values_are_written_in_their_shortest_form(value: object, text: str) -> None:
    assert written(value) == text


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_written_number_is_the_number(value: float) -> None:
    assert float(written(value)) == value


SEARCH = (
    "random: {n: 20, seed: 7, ranges: "
    "{lora.r: {low: 4, high: 16}, training.learning_rate: {low: 1e-5, high: 1e-2, log: true}}}"
)


def test_draws_are_the_same_in_every_process() -> None:
    script = """
import json, sys
sys.path.insert(0, "tests")
from specs import expanded
print(json.dumps([trial.trial_id for trial in expanded(sys.argv[1]).trials]))
"""
    vary = SEARCH.replace("random: {", "grid: {prompt: [v1]}\nrandom: {")
    ran = subprocess.run([sys.executable, "-c", script, vary], capture_output=True, text=True, check=True)
    assert json.loads(ran.stdout) == [trial.trial_id for trial in expanded(vary).trials]


def test_draws_of_a_seed_are_pinned() -> None:
    rates = RandomRange(low=1e-5, high=1e-2, log=True)
    ranks = RandomRange(low=4, high=16)
    path = "training.learning_rate"
    assert [draw(rates, seed=7, path=path, index=index, whole=False) for index in range(4)] == PINNED_RATES
    assert [draw(ranks, seed=7, path="lora.r", index=index, whole=True) for index in range(8)] == PINNED_RANKS


PINNED_RATES = [3.609e-05, 0.0006977, 0.004076, 7.953e-05]
PINNED_RANKS = [6, 4, 5, 4, 12, 13, 16, 10]


def test_a_longer_search_keeps_its_points_and_a_new_range_changes_no_other() -> None:
    short = expanded("grid: {prompt: [v1]}\n" + SEARCH).trials
    longer = expanded("grid: {prompt: [v1]}\n" + SEARCH.replace("n: 20", "n: 30")).trials
    assert [trial.trial_id for trial in longer[: len(short) - 1]] == [trial.trial_id for trial in short[:-1]]
    wider = expanded(
        "grid: {prompt: [v1]}\n" + SEARCH.replace("ranges: {", "ranges: {lora.lora_dropout: {low: 0, high: 0.5}, ")
    )
    ranks = [trial.config.lora.r for trial in short if trial.config.lora]
    assert [trial.config.lora.r for trial in wider.trials if trial.config.lora] == ranks


@given(
    low=st.integers(1, 50),
    width=st.integers(1, 50),
    log=st.booleans(),
    seed=st.integers(0, 99),
    index=st.integers(0, 999),
)
def test_whole_draws_stay_in_their_range(low: int, width: int, log: bool, seed: int, index: int) -> None:
    bounds = RandomRange(low=low, high=low + width, log=log)
    value = draw(bounds, seed=seed, path="lora.r", index=index, whole=True)
    assert isinstance(value, int)
    assert low <= value <= low + width


def test_uniform_draws_cover_the_range_evenly() -> None:
    bounds = RandomRange(low=0, high=1)
    values = sorted(draw(bounds, seed=0, path="lora.lora_dropout", index=index, whole=False) for index in range(2_000))
    # Kolmogorov-Smirnov at 1 %: 1.63 / sqrt(n)
    gap = max(abs(value - (rank + 0.5) / 2_000) for rank, value in enumerate(values))
    assert gap < 1.63 / 2_000**0.5


@st.composite
def specs(draws: st.DrawFn) -> SweepSpec:
    """Sweeps of every shape that `vary` has, without duplicates."""
    ranks = draws(st.lists(st.integers(1, 64), min_size=1, max_size=3, unique=True))
    rates = draws(st.lists(st.sampled_from([1e-4, 2e-4, 5e-4, 1e-3]), min_size=1, max_size=3, unique=True))
    prompts = draws(st.lists(st.sampled_from(["v1", "v2"]), min_size=1, max_size=2, unique=True))
    listed = draws(st.lists(st.integers(65, 99), max_size=3, unique=True))
    seeds = draws(st.lists(st.integers(0, 2**40), min_size=1, max_size=3, unique=True))
    baselines = draws(st.lists(st.sampled_from(["zero-shot", "lead-1", "lead-3"]), max_size=3, unique=True))
    lines = [f"grid: {{prompt: [{', '.join(prompts)}], lora.r: {ranks}}}"]
    if draws(st.booleans()):
        lines.append(f"paired: [{{training.learning_rate: {rates}, training.warmup_steps: {list(range(len(rates)))}}}]")
        point = "prompt: v1, training.learning_rate: 1e-2, training.warmup_steps: 9"
    else:
        point = "prompt: v1"
    lines.append(f"trials: [{', '.join(f'{{{point}, lora.r: {rank}}}' for rank in listed)}]")
    lines.append(f"seeds: {seeds}")
    lines.append(f"baselines: [{', '.join(baselines)}]")
    return varied("\n".join(lines)).spec


@settings(deadline=None, max_examples=60)
@given(spec=specs())
def test_the_count_from_sizes_is_the_number_of_trials(spec: SweepSpec) -> None:
    expansion = expand(spec, PINS)
    assert not expansion.duplicates
    assert count(spec) == len(expansion.trials)
    assert len({trial.trial_id for trial in expansion.trials}) == len(expansion.trials)


@settings(deadline=None, max_examples=60)
@given(spec=specs())
def test_letters_are_in_order_and_each_names_one_configuration(spec: SweepSpec) -> None:
    trials = expand(spec, PINS).trials
    by_letter = {trial.letter: trial.config_id for trial in trials}
    assert list(by_letter) == [letter(index) for index in range(len(by_letter))]
    assert len(set(by_letter.values())) == len(by_letter)
    assert len({trial.label for trial in trials}) == len(by_letter)
    assert set(baseline_prompts(spec)) >= {trial.prompt_name for trial in trials if trial.kind == "zero-shot"}


@given(st.text(ascii_lowercase + ".", max_size=30))
def test_an_unknown_path_is_refused_whatever_it_is(path: str) -> None:
    try:
        admit_value(path, 1)
    except ValueError as err:
        assert str(err)


def test_a_grid_over_the_limit_is_refused_before_it_is_made() -> None:
    values = tuple(range(1, 1001))
    spec = varied("grid: {prompt: [v1], lora.r: [8]}").spec
    axes = {
        path: {"values": values}
        for path in ("lora.r", "training.warmup_steps", "generation.top_k", "training.max_steps")
    }
    wide = spec.model_copy(update={"vary": type(spec.vary).model_validate({"grid": axes})})
    start = time.process_time()
    assert count(wide) == 10**12 + 1
    with pytest.raises(SpecError, match="1,000,000,000,001 trials"):
        expand(wide, PINS)
    assert time.process_time() - start < 0.1


def test_ten_thousand_trials_are_expanded_in_time() -> None:
    ranks, rates = list(range(1, 101)), [f"{number}e-6" for number in range(1, 101)]
    start = time.process_time()
    trials = expanded(f"grid: {{prompt: [v1], lora.r: {ranks}, training.learning_rate: [{', '.join(rates)}]}}").trials
    assert len(trials) == 10_001
    assert time.process_time() - start < 5.0
