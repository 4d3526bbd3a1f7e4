"""What a job leaves behind when a trial of it fails: an exit code, and the words of the error in its failure."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tiny_request import PROMPT, TinySweep, tiny_rows

from job.__main__ import run_request
from job.attempt import Attempt
from job.contract.config import PlannedTrial, data_id
from job.contract.documents import DOCUMENT_LIMIT_BYTES, Failure, parse
from job.contract.errors import ExitCode
from job.stopping import StopSignal
from job.store import Keys
from job.store.folder import FolderStore

ATTEMPT = "a1"


@pytest.fixture
def sweep(tiny_gpt2_folder: Path, tmp_path: Path) -> TinySweep:
    return TinySweep(model=tiny_gpt2_folder, rows=tiny_rows(tmp_path / "rows"))


def run(sweep: TinySweep, *trials: PlannedTrial, root: Path, attempt: str = ATTEMPT) -> int:
    """The exit code of a job with these trials, whose store is `root`/store."""
    (root / "log.txt").touch()
    of = Attempt(
        sweep.request(*trials),
        store=FolderStore(root / "store"),
        name=attempt,
        work=root / attempt,
        log=root / "log.txt",
        stop=StopSignal(),
    )
    return run_request(of, started_s=time.monotonic())


def failure_of(root: Path, trial: PlannedTrial, attempt: str = ATTEMPT) -> Failure:
    key = Keys.failure(trial.trial_id, attempt)
    return parse(Failure, FolderStore(root / "store").read(key, limit_bytes=DOCUMENT_LIMIT_BYTES), name=key)


def test_a_rank_that_no_memory_holds_is_out_of_memory_and_no_bug(sweep: TinySweep, tmp_path: Path) -> None:
    config = sweep.trained().config
    assert config.lora is not None
    huge = sweep.replanned(config.model_copy(update={"lora": config.lora.model_copy(update={"r": 2**44})}))
    assert run(sweep, huge, root=tmp_path) == ExitCode.GPU_MEMORY
    failure = failure_of(tmp_path, huge)
    assert (failure.reason, failure.permanent) == ("gpu_oom", True)
    assert "can't allocate memory" in failure.message
    assert "lower" in failure.message


def test_rows_that_changed_are_a_cause_that_all_trials_share(sweep: TinySweep, tmp_path: Path) -> None:
    trials = sweep.zero_shot(), sweep.lead()
    rows = Path(sweep.data.location) / "test.jsonl"
    rows.write_bytes(rows.read_bytes() + b"{}\n")
    assert run(sweep, *trials, root=tmp_path) == ExitCode.CONFIGURATION
    assert all(failure_of(tmp_path, trial).shared for trial in trials)


def test_what_is_wrong_with_one_prompt_is_no_cause_that_all_trials_share(sweep: TinySweep, tmp_path: Path) -> None:
    asking = sweep.trained(prompt=PROMPT.model_copy(update={"prompt": "{dialogue} {topic}"}))
    assert run(sweep, asking, root=tmp_path) == ExitCode.DATA
    failure = failure_of(tmp_path, asking)
    assert (failure.reason, failure.permanent, failure.shared) == ("data", True, False)


EXAMPLE = b'{"example_id":"%s","split":"test","input":"A: hi","reference":"A greets."}\n'


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda body: body[: len(body) // 2], id="cut off"),
        pytest.param(lambda body: body.replace(b"they meet", b"they mxet"), id="a flipped byte"),
        pytest.param(lambda body: b"\x00" * len(body), id="zeros"),
        pytest.param(lambda body: b"", id="empty"),
    ],
)
def test_damaged_examples_in_the_store_are_written_anew_from_the_data(
    sweep: TinySweep, tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    lead, other = sweep.lead(), sweep.lead(k=2)
    assert run(sweep, lead, root=tmp_path) == ExitCode.DONE
    path = tmp_path / "store" / Keys.examples(data_id(lead.config.data))
    whole = path.read_bytes()
    path.write_bytes(damage(whole))
    assert path.read_bytes() != whole
    assert run(sweep, other, root=tmp_path) == ExitCode.DONE
    assert path.read_bytes() == whole


def test_examples_of_other_rows_are_left_alone_and_stop_every_trial(sweep: TinySweep, tmp_path: Path) -> None:
    lead = sweep.lead()
    path = tmp_path / "store" / Keys.examples(data_id(lead.config.data))
    path.parent.mkdir(parents=True)
    path.write_bytes(EXAMPLE % b"foreign")
    assert run(sweep, lead, root=tmp_path) == ExitCode.CONFIGURATION
    failure = failure_of(tmp_path, lead)
    assert (failure.permanent, failure.shared) == (True, True)
    assert f"{path} holds other rows" in failure.message
    assert "'foreign' of test" in failure.message
    assert path.read_bytes() == EXAMPLE % b"foreign"


def test_a_bug_fails_its_trial_with_its_own_words_and_spares_the_neighbour(
    sweep: TinySweep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("no rows to divide by")

    monkeypatch.setattr("job.trial.measure_model", broken)
    asked, lead = sweep.zero_shot(), sweep.lead()
    assert run(sweep, asked, lead, root=tmp_path) == ExitCode.DONE, "a mixed group is finished"
    failure = failure_of(tmp_path, asked)
    assert (failure.reason, failure.exit_code) == ("bug", ExitCode.BUG)
    assert failure.message.startswith("ZeroDivisionError: no rows to divide by; this is a bug")
    assert FolderStore(tmp_path / "store").stat(Keys.result(lead.trial_id)) is not None
    assert run(sweep, asked, root=tmp_path, attempt="a2") == ExitCode.BUG
