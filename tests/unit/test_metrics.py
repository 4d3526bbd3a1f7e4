"""The page that Prometheus reads."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator
from dataclasses import replace

import pytest
from fake_world import World
from prometheus_client.parser import text_string_to_metric_families

from controller.metrics import Metrics
from controller.reconcile import Conclusion
from controller.states import Situation, TrialStatus, states
from job.contract.errors import PreflightError


@pytest.fixture
def metrics() -> Metrics:
    return Metrics(sweep="demo", run="main", git_commit="0123abc")


@pytest.fixture
def page(metrics: Metrics) -> Iterator[str]:
    with metrics.served(port=0, address="127.0.0.1") as port:
        yield f"http://127.0.0.1:{port}/metrics"


def read(page: str) -> dict[str, float]:
    """Values by name and labels, as a scrape sees them."""
    with urllib.request.urlopen(page, timeout=10) as answer:  # noqa: S310  (an address of this machine)
        text = answer.read().decode()
    samples = (sample for family in text_string_to_metric_families(text) for sample in family.samples)
    return {
        f"{sample.name}{{{','.join(f'{key}={value}' for key, value in sorted(sample.labels.items()))}}}": sample.value
        for sample in samples
    }


def a_situation() -> tuple[Situation, dict[str, TrialStatus]]:
    world = World()
    plan = world.plan
    situation = Situation(plan, world.reader.read(live=()), (), replace(world.limits), world.now)
    return situation, states(situation)


def test_trials_are_counted_by_state_and_failures_by_reason(metrics: Metrics, page: str) -> None:
    situation, statuses = a_situation()
    first, second, *_ = statuses
    metrics.update(situation, statuses | {first: TrialStatus("failed", "diverged"), second: TrialStatus("succeeded")})
    seen = read(page)
    assert seen["lorasweep_trials{run=main,state=failed,sweep=demo}"] == 1
    assert seen["lorasweep_trials{run=main,state=succeeded,sweep=demo}"] == 1
    assert seen["lorasweep_trials{run=main,state=pending,sweep=demo}"] == len(statuses) - 2
    assert seen["lorasweep_failed_trials{reason=diverged,run=main,sweep=demo}"] == 1
    assert seen["lorasweep_failed_trials{reason=crash,run=main,sweep=demo}"] == 0


def test_a_state_that_nothing_is_in_any_more_goes_back_to_zero(metrics: Metrics, page: str) -> None:
    situation, statuses = a_situation()
    first = next(iter(statuses))
    metrics.update(situation, statuses | {first: TrialStatus("running")})
    metrics.update(situation, statuses | {first: TrialStatus("succeeded")})
    assert read(page)["lorasweep_trials{run=main,state=running,sweep=demo}"] == 0


def test_no_series_names_a_trial(metrics: Metrics, page: str) -> None:
    situation, statuses = a_situation()
    metrics.update(situation, statuses)
    assert not [name for name in read(page) if any(trial_id in name for trial_id in statuses)]


def test_requests_looks_and_the_build_are_told(metrics: Metrics, page: str) -> None:
    metrics.count_request("create", "jobs", 201)
    metrics.count_request("create", "jobs", 201)
    metrics.count_request("watch", "pods", 0)
    metrics.looked(seconds=0.02)
    seen = read(page)
    assert seen["lorasweep_api_requests_total{resource=jobs,status=201,verb=create}"] == 2
    assert seen["lorasweep_api_requests_total{resource=pods,status=0,verb=watch}"] == 1
    assert seen["lorasweep_reconcile_duration_seconds_count{}"] == 1
    assert any(name.startswith("lorasweep_build_info{git_commit=0123abc,") for name in seen)


def test_how_the_run_stands_beside_earlier_ones_is_told_once_it_is_judged(metrics: Metrics, page: str) -> None:
    metrics.concluded(Conclusion({}, report="", leading=""))
    assert not [name for name in read(page) if name.startswith("lorasweep_regression")]
    metrics.concluded(Conclusion({}, report="", leading="", regression="regression"))
    assert read(page)["lorasweep_regression{run=main,status=regression,sweep=demo}"] == 1
    assert read(page)["lorasweep_regression{run=main,status=ok,sweep=demo}"] == 0


def test_a_port_that_is_taken_is_refused_with_the_option_to_change(metrics: Metrics, page: str) -> None:
    port = int(page.split(":")[2].split("/")[0])
    with pytest.raises(PreflightError, match="--metrics-port"), metrics.served(port=port, address="127.0.0.1"):
        raise AssertionError("served twice")
