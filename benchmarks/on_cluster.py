"""What a sweep costs on a cluster besides its training: API requests, memory, and the time to the first step.

`make bench-cluster` as root on Linux: it boots the cluster of the tests, or uses the one that `make cluster-up` left
standing (LORASWEEP_TEST_CLUSTER=standing). It prints a table in Markdown; benchmarks/on_cluster.md keeps one.

Two sweeps through `helm install`: one of many trials whose pods train nothing, for requests and memory; and the tests'
tiny model with the real image, for the time from the command to the first optimizer step.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import secrets
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from cluster.binaries import helm as built_helm
from cluster.cluster import Cluster, boot, standing_cluster
from cluster.controllers import controllers, put_keys, trial_jobs, wait_for_end
from cluster.fixtures import new_namespace
from cluster.folder import standing_folder
from cluster.helm import Helm
from cluster.images import cached_images
from cluster.metrics_page import Samples, page_at_the_end
from cluster.our_images import CONTROLLER_IMAGE, FAKE_JOB_IMAGE, JOB_IMAGE
from cluster.release import Release
from cluster.stage import Stage, make_stage
from cluster.waiting import wait_for
from servers.s3_server import new_bucket
from tiny import write_tiny_gpt2

from job.contract.documents import Progress, parse
from job.store import open_store

WRITES = {"create", "patch", "update", "delete"}
METRICS = ("--set=metrics.enabled=true", "--set=metrics.linger_s=40")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--trials", type=int, default=64, help="of the sweep that trains nothing (default: 64)")
    arguments = parser.parse_args()
    with _cluster() as cluster, tempfile.TemporaryDirectory() as folder:
        images = cached_images(os.environ)
        cluster.import_image(images.base())
        for build in (CONTROLLER_IMAGE, JOB_IMAGE, FAKE_JOB_IMAGE):
            cluster.import_image(images.build(build))
        bucket = new_bucket(cluster.s3)
        os.environ.update(bucket.server.environment())
        stage = make_stage(bucket, Path(folder), model=write_tiny_gpt2(Path(folder) / "gpt2"))
        version = json.loads(cluster.kubectl("version", "--output=json"))["serverVersion"]["gitVersion"]
        rows = [*_overhead(cluster, stage, trials=arguments.trials), *_first_step(cluster, stage)]
    sys.stdout.write(
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, Linux {platform.release()}, "
    )
    sys.stdout.write(f"Kubernetes {version}\n\n| quantity | value |\n|---|---|\n")
    sys.stdout.writelines(f"| {name} | {value} |\n" for name, value in rows)
    return 0


@contextmanager
def _cluster() -> Iterator[Cluster]:
    if os.environ.get("LORASWEEP_TEST_CLUSTER") == "standing":
        yield standing_cluster(standing_folder())
        return
    booted = boot(os.environ)
    try:
        yield booted
    finally:
        booted.down()


@contextmanager
def _release(cluster: Cluster, stage: Stage, *, image: str, env: Mapping[str, str]) -> Iterator[Release]:
    with new_namespace(cluster) as namespace:
        put_keys(namespace, stage.bucket)
        yield Release(
            helm=Helm(built_helm(os.environ, major=4), stage.folder / "helm", cluster.kubeconfig),
            namespace=namespace,
            s3=stage.bucket.server,
            store=f"{stage.bucket.uri}/{secrets.token_hex(4)}",
            job_image=image,
            controller_image=CONTROLLER_IMAGE.name,
            folder=stage.folder,
            trial_env=dict(env),
        )


def _overhead(cluster: Cluster, stage: Stage, *, trials: int) -> Iterator[tuple[str, str]]:
    """Requests and memory of a controller whose pods do nothing."""
    env = {"FAKE_JOB": "{}", "FAKE_JOB_NUMBER": "1"}
    spec = {**stage.spec, "vary": {"grid": {"prompt": ["v1"], "lora.r": list(range(1, trials + 1))}, "baselines": []}}
    path = stage.folder / "many.yaml"
    path.write_text(json.dumps(spec))  # JSON is YAML
    with _release(cluster, stage, image=FAKE_JOB_IMAGE.name, env=env) as release:
        release("install", path, *METRICS)
        (controller,) = controllers(release.namespace)
        page = page_at_the_end(release.namespace, controller, trials=trials)
        made = len(trial_jobs(release.namespace))
    requests = _requests(page)
    writes = {name: count for name, count in requests.items() if name.split()[0] in WRITES}
    yield "trials of the sweep that trains nothing", f"{trials}, {made} Jobs"
    yield "API writes for each trial", f"{sum(writes.values()) / trials:.2f}"
    yield "of them", ", ".join(f"{name}: {count:.0f}" for name, count in sorted(writes.items()))
    yield "API reads for each trial", f"{(sum(requests.values()) - sum(writes.values())) / trials:.2f}"
    (resident,) = (value for name, _, value in page if name == "process_resident_memory_bytes")
    yield "the controller's resident memory at its end", f"{resident / 1e6:.0f} MB"


def _requests(page: Samples) -> Counter[str]:
    counted: Counter[str] = Counter()
    for name, labels, value in page:
        if name == "lorasweep_api_requests_total":
            counted[f"{labels['verb']} {labels['resource']}"] += int(value)
    return counted


def _first_step(cluster: Cluster, stage: Stage) -> Iterator[tuple[str, str]]:
    """From the command to the first optimizer step of the first trial, with images on the node."""
    with _release(cluster, stage, image=JOB_IMAGE.name, env={"OMP_NUM_THREADS": "1"}) as release:
        began = time.time()
        release("install", stage.write_spec())
        installed = time.time()
        uri = f"{release.store}/tiny/main"

        def step() -> Progress | None:
            store = open_store(uri)
            for found in store.list("trials/"):
                if found.key.endswith("/progress.json"):
                    progress = parse(Progress, store.read(found.key, limit_bytes=10**6), name=found.key)
                    if progress.step:
                        return progress
            return None

        first = wait_for("a first step", step, deadline_s=600.0)
        (controller,) = controllers(release.namespace)
        wait_for_end(release.namespace, controller)
        jobs = sorted(job["metadata"]["creationTimestamp"] for job in trial_jobs(release.namespace))
    yield "`helm install` itself", f"{installed - began:.1f} s"
    yield "from the command to the first Job", f"{_seconds(jobs[0]) - began:.0f} s (to the second)"
    yield "from the command to the first optimizer step", f"{first.updated_at.timestamp() - began:.1f} s"


def _seconds(stamp: str) -> float:
    return datetime.fromisoformat(stamp).timestamp()


if __name__ == "__main__":
    sys.exit(main())
