"""A mistake in the settings is mended, and the same command run again: what waited for the mistake is made anew."""

from __future__ import annotations

import signal

from cluster.sweep import ClusterSweep


def test_a_corrected_image_reaches_the_job_that_waits_for_the_wrong_one(sweep: ClusterSweep) -> None:
    right = sweep.settings["image"]
    sweep.settings["image"] = "localhost/lorasweep-job:misspelled"
    first = sweep.start()
    sweep.until_said(first, "waiting  image: ")
    (waits,) = sweep.jobs()
    first.send_signal(signal.SIGINT)
    assert sweep.finish(first).code == 130
    sweep.settings["image"] = right
    ended = sweep.run()
    assert ended.code == 0, ended.stderr
    assert sorted(end.outcome for end in sweep.ends().values()) == ["done"] * 3
    assert len(sweep.results()) == 3
    uids = {job["metadata"]["name"]: job["metadata"]["uid"] for job in sweep.jobs()}
    assert uids[waits["metadata"]["name"]] != waits["metadata"]["uid"]
