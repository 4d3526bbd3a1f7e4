"""`plan` says what exists, what would run and what it can cost at most, before anything is created."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from fake_sweep import publish
from known_model import KNOWN
from memory_store import MemoryStore
from specs import HEAD, PINS, load, varied

from controller.names import Naming
from controller.planning.outlook import Outlook, outlook_of
from controller.planning.outlook_text import outlook_text
from controller.planning.plan import Preview, make_plan
from controller.spec.file import LoadedSpec
from job.contract.documents import Plan
from job.store import Keys

NAMING = Naming(root="/runs", sweep="small", run="main")
VARY = "grid: {prompt: [v1, v2], lora.r: [8, 16]}\nbaselines: [lead-3]"


def plan_of(loaded: LoadedSpec) -> Plan:
    return make_plan(loaded, pins=PINS, earlier=[], run="main", now=datetime(2026, 1, 2, tzinfo=UTC), model=KNOWN)


def look(loaded: LoadedSpec, store: MemoryStore, *, slots: int = 8) -> Outlook:
    return outlook_of(loaded.spec, Preview(plan_of(loaded), stored=False), store=store, naming=NAMING, slots=slots)


def test_what_exists_is_counted_and_what_is_damaged_is_said() -> None:
    loaded, store = varied(VARY), MemoryStore()
    plan = plan_of(loaded)
    publish(store, plan.trials[0], "one")
    publish(store, plan.trials[1], "two")
    store.put(Keys.attempt_file(plan.trials[1].trial_id, "two", "scores.json"), b"cut")
    outlook = look(loaded, store)
    assert [trial.state for trial in outlook.trials] == ["done", "damaged", "new", "new", "new"]
    assert (outlook.counts.done, outlook.counts.damaged, outlook.counts.new) == (1, 1, 3)
    assert "1 with a result, 3 to run, 1 with a damaged result" in outlook_text(outlook)


def test_an_empty_store_is_asked_once() -> None:
    store = MemoryStore()
    look(varied(VARY), store)
    assert store.reads == [Keys.TRIALS]


def test_bounds_count_what_is_missing() -> None:
    execution = "execution: {parallelism: 2, gpus: 2, trial_timeout_s: 1800, price_per_gpu_hour: 3}\n"
    loaded, store = load(HEAD + f"vary: {{{', '.join(VARY.splitlines())}}}\n" + execution), MemoryStore()
    bounds = look(loaded, store).bounds
    assert (bounds.steps, bounds.rows_per_step) == ((4, 4), (8, 8))
    assert bounds.wall_s == 3 * 1800  # five jobs, two at a time
    assert bounds.gpu_hours == 5 * 0.5 * 2
    assert bounds.cost == 15
    publish(store, plan_of(loaded).trials[0], "one")
    assert look(loaded, store).bounds.wall_s == 2 * 1800


def test_a_machine_with_fewer_slots_than_parallelism_bounds_the_time_and_is_said() -> None:
    loaded = load(HEAD + f"vary: {{{', '.join(VARY.splitlines())}}}\nexecution: {{parallelism: 2, gpus: 0}}\n")
    outlook = look(loaded, MemoryStore(), slots=1)
    assert (outlook.bounds.parallelism, outlook.bounds.wall_s) == (1, 5 * 3600)
    assert outlook.warnings[0].startswith("execution.parallelism is 2, but this machine has 1 device slot")
    enough = look(loaded, MemoryStore(), slots=2)
    assert (enough.bounds.parallelism, enough.bounds.wall_s) == (2, 3 * 3600)
    assert "execution.parallelism" not in " ".join(enough.warnings)


def test_packed_trials_share_a_job_and_its_time() -> None:
    loaded = load(HEAD + f"vary: {{{', '.join(VARY.splitlines())}}}\nexecution: {{trials_per_job: 4}}\n")
    outlook = look(loaded, MemoryStore())
    assert outlook.counts.jobs == 2
    assert len({trial.job for trial in outlook.trials}) == 2
    assert outlook.bounds.wall_s == 2 * 4 * 3600


def test_each_group_says_its_engine_its_trials_and_why() -> None:
    vary = "grid: {prompt: [v1], lora.r: [8, 16], lora.use_dora: [true, false]}\nbaselines: [lead-3, lead-2]"
    loaded = load(HEAD + f"vary: {{{', '.join(vary.splitlines())}}}\nexecution: {{trials_per_job: 4}}\n")
    outlook = look(loaded, MemoryStore())
    assert [(one.engine, one.lanes, one.letters, one.why) for one in outlook.groups] == [
        ("reference", 1, ("A",), "lora.use_dora is true"),
        ("lanes", 2, ("B", "D"), "execution.trials_per_job is 4"),
        ("reference", 1, ("C",), "lora.use_dora is true"),
        ("reference", 2, ("E", "F"), "they ask no model"),
    ]
    lines = [line for line in outlook_text(outlook).splitlines() if line.startswith("group")]
    assert lines == [
        "group   lanes, B, D: 2 together on one base model (execution.trials_per_job is 4)",
        "group   reference, E, F: 2 one after the other (they ask no model)",
        "group   reference, A, C: one a Job (lora.use_dora is true)",
    ]


@pytest.mark.parametrize(
    ("axis", "line"),
    [
        ("training.gradient_accumulation_steps: [1, 4]", "4 optimizer steps x 8 to 32 rows a trial"),
        ("training.warmup_steps: [1]", "4 optimizer steps x 8 rows a trial"),
    ],
)
def test_the_text_gives_the_span_of_steps_and_rows(axis: str, line: str) -> None:
    text = outlook_text(look(varied(f"grid: {{prompt: [v1], lora.r: [8], {axis}}}"), MemoryStore()))
    assert line in text


def test_epochs_have_no_step_count() -> None:
    loaded = load(HEAD.replace("max_steps: 4", "num_train_epochs: 2") + "vary: {grid: {prompt: [v1], lora.r: [8]}}\n")
    outlook = look(loaded, MemoryStore())
    assert outlook.bounds.steps is None
    assert "epochs x 8 rows a trial" in outlook_text(outlook)


def test_the_text_names_every_trial_its_job_and_its_duplicates() -> None:
    outlook = look(varied("grid: {prompt: [v1], lora.r: [8, 8.0]}"), MemoryStore())
    text = outlook_text(outlook)
    for trial in outlook.trials:
        (row,) = [line for line in text.splitlines() if trial.trial_id in line]
        assert row.split()[0] == trial.letter
        assert row.endswith(trial.label)
        assert trial.job in row
    assert "prompt=v1, lora.r=8: is a configuration already listed" in text
