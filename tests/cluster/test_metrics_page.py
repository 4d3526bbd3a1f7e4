"""Prometheus's view of a release, with pods that train nothing."""

from __future__ import annotations

from cluster.controllers import controllers, wait_for_end
from cluster.metrics_page import page_at_the_end
from cluster.release import Release
from cluster.sweep import ClusterSweep

MIB = 2**20


def test_a_controller_can_be_read_after_its_last_trial_and_names_no_trial(
    sweep_release: Release, sweep: ClusterSweep
) -> None:
    spec, _ = sweep.write()
    sweep_release("install", spec, "--set=metrics.enabled=true,metrics.linger_s=15")
    (controller,) = controllers(sweep.namespace)
    seen = page_at_the_end(sweep.namespace, controller, trials=3)
    creates = [
        value
        for name, labels, value in seen
        if name == "lorasweep_api_requests_total" and (labels["verb"], labels["resource"]) == ("create", "jobs")
    ]
    assert sum(creates) >= 3
    assert {"lorasweep_build_info", "lorasweep_failed_trials"} <= {name for name, _, _ in seen}
    (resident,) = (value for name, _, value in seen if name == "process_resident_memory_bytes")
    assert 20 * MIB < resident < 1024 * MIB
    told = " ".join(text for _, labels, _ in seen for text in labels.values())
    assert not [trial_id for trial_id in sweep.trial_ids().values() if trial_id in told]
    assert wait_for_end(sweep.namespace, controller) == "Complete"
