"""A real cluster with one node: booted, used, and taken down again."""

from __future__ import annotations

import http.client
import json
import os
import secrets
import ssl
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from servers.s3_server import S3Server

from cluster.binaries import Binaries, cluster_binaries
from cluster.certificates import NODE, make_certificates
from cluster.control_plane import control_plane
from cluster.folder import ClusterFolder, lives, make_cgroups, new_folder, remove
from cluster.images import cached_images
from cluster.kubeconfig import API_PORT, write_kubeconfig
from cluster.kubectl import Kubectl
from cluster.namespaces import FirstProcess, Namespaces, NamespacesError, end_first_process, start_namespaces
from cluster.node import CONTAINERD_SOCKET, node
from cluster.prerequisites import require
from cluster.programs import Program, Programs
from cluster.waiting import wait_for

GPU = "nvidia.com/gpu"
GPUS = "2"
S3 = "versitygw"
S3_PORT = 7070
READY_AFTER_S = 120.0  # it takes 10 s on an idle machine; the rest is for a busy one
IMPORT_AFTER_S = 900.0


class NoClusterError(Exception):
    """No cluster stands; the message names the remedy."""


@dataclass
class Cluster:
    """A cluster that lives, and what a test does with it."""

    folder: ClusterFolder
    inside: Namespaces
    binaries: Binaries
    programs: Programs
    kubectl: Kubectl
    s3: S3Server
    """Reached under the same address from pods and from this machine."""
    first: FirstProcess | None = None
    lock: int | None = None

    @property
    def kubeconfig(self) -> Path:
        """Of the cluster's administrator; works from this machine."""
        return self.folder.kubeconfig

    def import_image(self, archive: Path) -> None:
        """Pods can name the archive's image from then on, with `imagePullPolicy: Never` or `IfNotPresent`."""
        with tarfile.open(archive) as packed:
            index = packed.extractfile("index.json")
            digests = [made["digest"] for made in json.load(index)["manifests"]] if index else []
        there = self.ctr("image", "list")
        if not all(digest in there for digest in digests):
            self.ctr("image", "import", str(archive), timeout_s=IMPORT_AFTER_S)

    def set_gpus(self, count: str) -> None:
        """The node advertises so many GPUs, and the scheduler counts them. A restarted kubelet forgets them."""
        patch = [
            {"op": "add", "path": f"/status/{where}/{GPU.replace('/', '~1')}", "value": count}
            for where in ("capacity", "allocatable")
        ]
        self.kubectl("patch", "node", NODE, "--subresource=status", "--type=json", f"--patch={json.dumps(patch)}")
        wait_for(f"{count} GPUs on the node", lambda: _allocatable(self).get(GPU) == count)

    def ctr(self, *arguments: str, timeout_s: float = 60.0) -> str:
        """What containerd's own client printed. Raises NamespacesError."""
        client = [str(self.binaries["ctr"]), "--address", CONTAINERD_SOCKET, "--namespace", "k8s.io"]
        return self.inside.enter(*client, *arguments, timeout_s=timeout_s)

    def wait_until_ready(self) -> None:
        """Returns when the API server answers and the node is ready. Raises WaitedInVainError, ProgramEndedError."""
        wait_for("kube-apiserver", lambda: _api_is_ready(self), deadline_s=READY_AFTER_S)
        wait_for("the node to be ready", lambda: _node_is_ready(self), deadline_s=READY_AFTER_S)

    def down(self) -> None:
        """End every process of the cluster and remove all that it left. Only what this harness started is touched."""
        if self.first:
            self.first.end()
        else:
            end_first_process(self.inside.first_pid)
        if self.lock is not None:
            os.close(self.lock)
        remove(self.folder)


def boot(environ: Mapping[str, str], *, standing: bool = False) -> Cluster:
    """A cluster whose node is ready and has GPUs; it ends with this process unless it is left standing.

    Raises MissingPrerequisiteError, ClusterStandsError, ProgramEndedError, WaitedInVainError and the builds' errors.
    """
    require(user_id=os.geteuid())
    binaries = cluster_binaries(environ)
    pause = cached_images(environ).pause(binaries["pause"])
    folder, lock = new_folder(standing=standing)
    try:
        make_cgroups(folder)
        first, inside = start_namespaces(folder, lock=lock, stay=standing)
    except BaseException:
        os.close(lock)
        remove(folder)
        raise
    cluster = _written(folder, inside=inside, binaries=binaries)
    cluster.first, cluster.lock = first, lock
    try:
        _start(cluster, pause=pause)
    except BaseException as error:
        error.add_note(cluster.programs.tails())
        cluster.down()
        raise
    _write_record(cluster)
    return cluster


def _written(folder: ClusterFolder, *, inside: Namespaces, binaries: Binaries) -> Cluster:
    """A cluster that is not started yet: its certificates and settings are in its folder."""
    address = inside.node_address
    certificates = make_certificates(folder.certificates, node_address=address)
    write_kubeconfig(folder.kubeconfig, certificates=certificates, client="admin", node_address=address)
    s3 = S3Server(
        endpoint=f"http://{address}:{S3_PORT}",
        access_key=f"test{secrets.token_hex(8)}",
        secret_key=secrets.token_hex(20),
    )
    programs = [
        *control_plane(binaries, folder=folder, certificates=certificates, node_address=address),
        *node(binaries, folder=folder, certificates=certificates, node_address=address),
        _s3_program(binaries, folder=folder, s3=s3),
    ]
    return _cluster(folder, inside=inside, binaries=binaries, programs=programs, s3=s3)


def standing_cluster(folder: ClusterFolder) -> Cluster:
    """The cluster that another process left standing in that folder. Raises NoClusterError."""
    if not lives(folder):
        raise NoClusterError(f"no cluster stands in {folder.path}: make cluster-up")
    record = json.loads(folder.record.read_text(encoding="utf-8"))
    return _cluster(
        folder,
        inside=Namespaces(**record["inside"]),
        binaries=Binaries({name: Path(path) for name, path in record["binaries"].items()}),
        programs=[Program(**program) for program in record["programs"]],
        s3=S3Server(**record["s3"]),
    )


def _write_record(cluster: Cluster) -> None:
    record = {
        "inside": asdict(cluster.inside),
        "binaries": {name: str(path) for name, path in cluster.binaries.paths.items()},
        "programs": [asdict(program) for program in cluster.programs.by_name.values()],
        "s3": asdict(cluster.s3),
    }
    cluster.folder.record.touch(mode=0o600)
    cluster.folder.record.write_text(json.dumps(record, indent=1), encoding="utf-8")


def _cluster(
    folder: ClusterFolder, *, inside: Namespaces, binaries: Binaries, programs: Sequence[Program], s3: S3Server
) -> Cluster:
    return Cluster(
        folder=folder,
        inside=inside,
        binaries=binaries,
        programs=Programs(inside, folder, {program.name: program for program in programs}),
        kubectl=Kubectl(binaries["kubectl"], folder.kubeconfig),
        s3=s3,
    )


def _s3_program(binaries: Binaries, *, folder: ClusterFolder, s3: S3Server) -> Program:
    address = s3.endpoint.removeprefix("http://")
    return Program(
        S3,
        [str(binaries[S3]), "--port", address, "--region", s3.region, "--quiet", "posix", str(folder.buckets)],
        {"ROOT_ACCESS_KEY": s3.access_key, "ROOT_SECRET_KEY": s3.secret_key},
    )


def _start(cluster: Cluster, *, pause: Path) -> None:
    programs = cluster.programs
    for name in ("etcd", "kube-apiserver", "containerd", S3):
        programs.start(name)
    wait_for("containerd", lambda: _runtime_answers(cluster), deadline_s=READY_AFTER_S)
    cluster.import_image(pause)
    wait_for("kube-apiserver", lambda: _api_is_ready(cluster), deadline_s=READY_AFTER_S)
    for name in ("kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy"):
        programs.start(name)
    wait_for("the node", lambda: _node_exists(cluster), deadline_s=READY_AFTER_S)
    cluster.set_gpus(GPUS)
    cluster.wait_until_ready()


def _runtime_answers(cluster: Cluster) -> bool:
    cluster.programs.require_running()
    try:
        cluster.ctr("version")
    except NamespacesError:
        return False
    return True


def _api_is_ready(cluster: Cluster) -> bool:
    cluster.programs.require_running()
    # Not with kubectl: a start would spend as much on it as on the API server.
    trusted = ssl.create_default_context(cafile=str(cluster.folder.certificates / "ca.crt"))
    api = http.client.HTTPSConnection(cluster.inside.node_address, API_PORT, timeout=5, context=trusted)
    try:
        api.request("GET", "/readyz")
        return api.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        api.close()


def _node_exists(cluster: Cluster) -> bool:
    cluster.programs.require_running()
    return bool(cluster.kubectl.list_of("nodes"))


def _node_is_ready(cluster: Cluster) -> bool:
    cluster.programs.require_running()
    conditions = cluster.kubectl.get("node", NODE)["status"]["conditions"]
    return any(seen["type"] == "Ready" and seen["status"] == "True" for seen in conditions)


def _allocatable(cluster: Cluster) -> dict[str, str]:
    found: dict[str, str] = cluster.kubectl.get("node", NODE)["status"]["allocatable"]
    return found


__all__ = ["GPU", "GPUS", "Cluster", "NoClusterError", "boot", "standing_cluster"]
