"""The first run fixes pins and groups; a restart reads them; a widened spec adds and never moves."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import count as counter
from pathlib import Path

import pytest
from specs import HEAD, PINS, load, varied

from controller.planning.pins import check_pins
from controller.planning.plan import earlier_plans, make_plan, open_plan, preview_plan
from controller.planning.request import REQUEST_LIMIT_BYTES, request_of
from controller.spec.file import LoadedSpec, parse_spec
from controller.stored import DamagedError
from job.contract.base import sha256_hex
from job.contract.config import Provenance
from job.contract.documents import Plan, parse, to_json
from job.contract.errors import PreflightError, SpecError
from job.store import Keys, Store, open_store

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
NARROW = "vary: {grid: {prompt: [v1], lora.r: [8]}, baselines: [lead-3]}\n"
WIDE = "vary: {grid: {prompt: [v1, v2], lora.r: [8, 16]}, baselines: [lead-3]}\n"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a model and rows as a spec names them."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    model, rows = tmp_path / "model", tmp_path / "rows"
    model.mkdir()
    rows.mkdir()
    (model / "config.json").write_text("{}")
    (model / "tokenizer.json").write_text("{}")
    (model / "model.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}")
    for split in ("a", "b", "c"):
        (rows / f"{split}.jsonl").write_text('{"dialogue": "A: hi", "summary": "A greets."}\n')
    return tmp_path


@pytest.fixture
def store(place: Path) -> Store:
    return open_store(str(place / "runs" / "small" / "main"))


@pytest.fixture
def now() -> Callable[[], datetime]:
    """A clock that goes on by a minute whenever it is read."""
    minutes = counter()
    return lambda: NOW + timedelta(minutes=next(minutes))


def spec_in(place: Path, vary: str = NARROW, *, head: str = HEAD) -> LoadedSpec:
    text = head
    for split in ("a", "b", "c"):
        text = text.replace(f": {split}", f": {split}.jsonl", 1)
    return parse_spec((text + vary).encode(), name="sweep.yaml", folder=place)


def test_the_first_plan_is_stored_with_its_spec(place: Path, store: Store, now: Callable[[], datetime]) -> None:
    loaded = spec_in(place)
    plan = open_plan(store, loaded, run="main", now=now)
    assert store.read(Keys.spec(loaded.sha256), limit_bytes=10**6) == loaded.text
    assert parse(Plan, store.read(Keys.plan(loaded.sha256), limit_bytes=10**6), name="plan") == plan
    assert plan.model.location == str(place / "model")
    assert [trial.label for trial in plan.trials] == ["prompt=v1, lora.r=8", "lead-3"]


def test_a_restart_reads_the_plan_and_looks_nothing_up(place: Path, store: Store, now: Callable[[], datetime]) -> None:
    first = open_plan(store, spec_in(place), run="main", now=now)
    (place / "rows" / "a.jsonl").write_text("{}\n")
    assert open_plan(store, spec_in(place), run="main", now=now) == first


def test_a_preview_writes_nothing(place: Path, store: Store, now: Callable[[], datetime]) -> None:
    preview = preview_plan(store, spec_in(place), run="main", now=now)
    assert not preview.stored
    assert not (place / "runs").exists()
    open_plan(store, spec_in(place), run="main", now=now)
    assert preview_plan(store, spec_in(place), run="main", now=now).stored


def test_a_widened_spec_keeps_pins_and_groups_and_adds(place: Path, store: Store, now: Callable[[], datetime]) -> None:
    first = open_plan(store, spec_in(place), run="main", now=now)
    wide = open_plan(store, spec_in(place, WIDE), run="main", now=now)
    assert (wide.model, wide.data) == (first.model, first.data)
    assert set(first.groups) <= set(wide.groups)
    assert {trial.trial_id for trial in first.trials} <= {trial.trial_id for trial in wide.trials}
    assert len(wide.trials) == 5


def test_bytes_that_changed_since_are_refused_until_repinned(
    place: Path, store: Store, now: Callable[[], datetime]
) -> None:
    first = open_plan(store, spec_in(place), run="main", now=now)
    (place / "rows" / "a.jsonl").write_text('{"dialogue": "B: no", "summary": "B declines."}\n')
    with pytest.raises(PreflightError, match=r"rows changed since this run was planned.*--repin"):
        open_plan(store, spec_in(place, WIDE), run="main", now=now)
    again = open_plan(store, spec_in(place, WIDE), run="main", repin=True, now=now)
    assert again.data.digest != first.data.digest
    assert not {trial.trial_id for trial in first.trials} & {trial.trial_id for trial in again.trials}


def _other_rows(place: Path) -> None:
    (place / "rows" / "a.jsonl").write_text('{"dialogue": "B: no", "summary": "B declines."}\n')


def _no_split(place: Path) -> None:
    (place / "rows" / "b.jsonl").unlink()


def _no_rows(place: Path) -> None:
    shutil.rmtree(place / "rows")


def _other_model(place: Path) -> None:
    (place / "model" / "config.json").write_text('{"width": 1}')


def _no_model(place: Path) -> None:
    shutil.rmtree(place / "model")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_other_rows, r"^data\.source: .*/rows changed .*it holds sha256:.* the plan has sha256:"),
        (_no_split, r"^data\.source: .*/rows changed .*no file 'b\.jsonl'.*the plan has sha256:"),
        (_no_rows, r"^data\.source: .*/rows is gone; .*sha256:"),
        (_other_model, r"^model\.id: .*/model changed .*it holds sha256:.* the plan has sha256:"),
        (_no_model, r"^model\.id: .*/model is gone; .*sha256:"),
    ],
)
def test_a_restart_on_other_bytes_is_refused_with_both_ways_out(
    place: Path, store: Store, now: Callable[[], datetime], change: Callable[[Path], None], words: str
) -> None:
    loaded = spec_in(place)
    check_pins(open_plan(store, loaded, run="main", now=now), loaded)
    change(place)
    plan = open_plan(store, loaded, run="main", now=now)
    with pytest.raises(PreflightError, match=words) as caught:
        check_pins(plan, loaded)
    assert "`--run NAME`" in str(caught.value)
    assert "`--repin`" in str(caught.value)


def test_repinning_replaces_the_plan_of_the_same_spec(place: Path, store: Store, now: Callable[[], datetime]) -> None:
    first = open_plan(store, spec_in(place), run="main", now=now)
    assert open_plan(store, spec_in(place), run="main", repin=True, now=now) == first
    (place / "rows" / "a.jsonl").write_text('{"dialogue": "B: no", "summary": "B declines."}\n')
    second = open_plan(store, spec_in(place), run="main", repin=True, now=now)
    assert second.data.digest != first.data.digest
    assert open_plan(store, spec_in(place), run="main", now=now) == second


def test_a_checkout_that_moved_finds_its_files_again(place: Path, store: Store, now: Callable[[], datetime]) -> None:
    first = open_plan(store, spec_in(place), run="main", now=now)
    (place / "moved").mkdir()
    for name in ("model", "rows"):
        (place / name).rename(place / "moved" / name)
    moved = open_plan(store, spec_in(place / "moved"), run="main", now=now)
    assert moved.model.location == str(place / "moved" / "model")
    assert moved.trials == first.trials
    wide = open_plan(store, spec_in(place / "moved", WIDE), run="main", now=now)
    assert {trial.trial_id for trial in first.trials} <= {trial.trial_id for trial in wide.trials}


def test_controllers_that_start_together_get_one_plan(place: Path, store: Store) -> None:
    clock = counter()
    with ThreadPoolExecutor(8) as pool:
        plans = list(
            pool.map(
                lambda _: open_plan(
                    store, spec_in(place), run="main", now=lambda: NOW + timedelta(seconds=next(clock))
                ),
                range(8),
            )
        )
    assert len({to_json(plan) for plan in plans}) == 1


def test_a_digest_in_the_spec_is_held_to(place: Path, store: Store, now: Callable[[], datetime]) -> None:
    head = HEAD.replace("{id: model}", "{id: model, digest: 'sha256:" + "0" * 64 + "'}")
    with pytest.raises(SpecError, match=r"model.digest expects sha256:0000.*holds sha256:"):
        open_plan(store, spec_in(place, head=head), run="main", now=now)


def test_an_absolute_path_of_elsewhere_needs_its_digest(place: Path, store: Store, now: Callable[[], datetime]) -> None:
    head = HEAD.replace("{id: model}", "{id: /volumes/model}")
    with pytest.raises(SpecError, match=r"model.id: '/volumes/model'"):
        open_plan(store, spec_in(place, head=head), run="main", now=now)
    head = head.replace("/volumes/model", "/volumes/model, digest: 'sha256:" + "0" * 64 + "'")
    plan = open_plan(store, spec_in(place, head=head), run="main", now=now)
    assert (plan.model.location, plan.model.digest) == ("/volumes/model", "sha256:" + "0" * 64)


def test_a_missing_place_is_named_by_its_field(place: Path, store: Store, now: Callable[[], datetime]) -> None:
    head = HEAD.replace("source: rows", "source: ./nothing")
    with pytest.raises(SpecError, match=r"^data.source: './nothing'"):
        open_plan(store, spec_in(place, head=head), run="main", now=now)


def test_a_damaged_plan_is_refused_by_name(place: Path, store: Store, now: Callable[[], datetime]) -> None:
    loaded = spec_in(place)
    store.put(Keys.plan(loaded.sha256), b'{"schema_version": 2}')
    with pytest.raises(DamagedError, match=rf"{loaded.sha256}.*move it out of the run: the spec is planned anew"):
        open_plan(store, loaded, run="main", now=now)


def test_what_lies_beside_the_plans_is_no_plan(place: Path, store: Store, now: Callable[[], datetime]) -> None:
    for key in ("plans/notes.txt", "plans/old.json"):
        store.put(key, b"{")
    open_plan(store, spec_in(place), run="main", now=now)
    assert len(earlier_plans(store)) == 1


def test_a_plan_of_another_identity_version_asks_for_repin(
    place: Path, store: Store, now: Callable[[], datetime]
) -> None:
    loaded = spec_in(place)
    plan = open_plan(store, loaded, run="main", now=now)
    store.put(Keys.plan(loaded.sha256), to_json(plan.model_copy(update={"identity_version": 99})))
    with pytest.raises(SpecError, match=r"identity version 99.*--repin"):
        open_plan(store, loaded, run="main", now=now)
    assert open_plan(store, loaded, run="main", repin=True, now=now).identity_version == 1


def planned(loaded: LoadedSpec) -> Plan:
    return make_plan(loaded, pins=PINS, earlier=[], run="main", now=NOW)


def test_a_request_holds_its_trials_their_adapters_and_how_to_work() -> None:
    head = HEAD.replace("{max_steps: 4}", "{max_steps: 4, gradient_checkpointing: true, logging_steps: 3}")
    loaded = load(head + NARROW + "execution: {trial_timeout_s: 60, eval_batch_size: 4, checkpoint_every: 2}\n")
    plan = planned(loaded)
    trial = plan.trials[0]
    request = request_of(
        loaded.spec,
        plan,
        plan.groups[0],
        provenance=Provenance(git_commit="abc"),
        adapters={trial.trial_id: "trials/x/attempts/y/", "0" * 12: "trials/z/"},
    )
    assert request.trials == (trial,)
    assert request.adapters == {trial.trial_id: "trials/x/attempts/y/"}
    assert (request.sweep, request.run, request.spec_sha256) == ("small", "main", sha256_hex(loaded.text))
    assert request.execution.model_dump() == {
        "trial_timeout_s": 60,
        "checkpoint_every": 2,
        "eval_batch_size": 4,
        "gradient_checkpointing": True,
        "dataloader_num_workers": 0,
        "logging_steps": 3,
    }
    assert request.provenance.git_commit == "abc"


def test_a_trial_too_large_for_a_request_is_a_mistake_with_sizes() -> None:
    loaded = load(HEAD.replace("Be brief.", "Be brief. " * 14_000) + WIDE)
    with pytest.raises(SpecError, match=r"trial [CD] \(prompt=v2.* 1[45]\d,\d{3} bytes, 131,072 are allowed.*'v2'"):
        planned(loaded)


def test_the_largest_trial_that_fits_is_planned() -> None:
    loaded = load(HEAD.replace("Be brief.", "x" * 125_000) + WIDE)
    plan = planned(loaded)
    sizes = [len(to_json(request_of(loaded.spec, plan, found))) for found in plan.groups]
    assert 125_000 < max(sizes) <= REQUEST_LIMIT_BYTES


def test_duplicates_and_warnings_are_in_the_plan() -> None:
    text = HEAD.replace("alpha_ratio: 2", "lora_alpha: 16")
    plan = planned(load(text + "vary: {grid: {prompt: [v1], lora.r: [8, 8.0, 16]}}\n"))
    assert plan.duplicates == ("prompt=v1, lora.r=8",)
    assert len(plan.warnings) == 2


def test_a_plan_says_the_same_whenever_it_is_made() -> None:
    loaded = varied("grid: {prompt: [v1, v2], lora.r: [8, 16]}")
    assert to_json(planned(loaded)) == to_json(planned(loaded))
