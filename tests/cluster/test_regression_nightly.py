"""Three runs of a CronJob, one of them with a broken prompt, with pods that draw scores by seed and prompt."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from cluster.controllers import log_of, wait_for_end
from cluster.release import Release
from cluster.sweep import ClusterSweep
from cluster.waiting import wait_for
from controller.regression.document import Regression
from job.contract.documents import DATA_LIMIT_BYTES, parse
from job.store import Keys, open_store

CRON = ("--set=schedule.cron=30 2 * * *", "--set=schedule.suspend=true")  # the test asks for each run itself
GOOD, BROKEN = "Summarize: {dialogue}", "Translate: {dialogue}"


@pytest.mark.timeout(1800)
def test_of_three_nights_only_the_one_with_a_broken_prompt_fails_and_its_report_says_why(
    sweep_release: Release, sweep: ClusterSweep
) -> None:
    release, namespace = sweep_release, sweep_release.namespace
    release.trial_env["FAKE_JOB_SCORES"] = "drawn"
    sweep.spec["vary"] = {"grid": {"lora.r": [1]}, "rotating_seeds": 3, "baselines": []}
    sweep.spec["regression"] = {"reference": "previous"}
    ends, made = [], datetime.now(UTC)
    for number, prompt in enumerate((GOOD, BROKEN, GOOD)):
        sweep.spec["prompts"]["v1"]["prompt"] = prompt
        spec, _ = sweep.write()
        if number:
            _wait_for_the_minute_after(made)
        release("upgrade" if number else "install", spec, *CRON)
        namespace.kubectl("create", "job", "--from=cronjob/nightly-lorasweep", f"night-{number}")
        ends.append(wait_for_end(namespace, f"night-{number}"))
        made = datetime.fromisoformat(namespace.kubectl.get("job", f"night-{number}")["metadata"]["creationTimestamp"])
    assert ends == ["Complete", "Failed", "Complete"], log_of(namespace, "night-1")
    store = open_store(f"{release.store}/demo")
    runs = sorted({found.key.split("/")[0] for found in store.list("") if "/" in found.key})
    first, broken, last = (_judged(f"{release.store}/demo/{run}") for run in runs)
    assert [one.status for one in (first, broken, last)] == ["no_reference", "regression", "ok"]
    assert last.reference == (runs[0],)
    (cause,) = [cause for cause in broken.causes if cause.what == "prompt"]
    assert (cause.name, cause.before, cause.after) == ("prompt.v1.prompt", GOOD, BROKEN)
    page = store.read(f"{runs[1]}/{Keys.report('report.md')}", limit_bytes=DATA_LIMIT_BYTES).decode()
    assert "## Regression: ROUGE-L is 0." in page
    assert BROKEN in page.split("What changed since")[1]


def _wait_for_the_minute_after(made: datetime) -> None:
    """A run by hand is called by the minute in which it was made, and would join another one of that minute."""
    minute = made.astimezone(UTC).replace(second=0, microsecond=0) + timedelta(minutes=1)
    wait_for("another minute", lambda: datetime.now(UTC) >= minute)


def _judged(run: str) -> Regression:
    key = Keys.report("regression.json")
    return parse(Regression, open_store(run).read(key, limit_bytes=DATA_LIMIT_BYTES), name=key)
