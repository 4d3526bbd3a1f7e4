"""`python -m cluster up` leaves a cluster standing for a person with kubectl; `... down` takes it down.

`python -m cluster build` makes all that is kept between clusters, which takes minutes where nothing is kept yet.
"""

from __future__ import annotations

import os
import sys

from servers.go_tool import BuildFailedError, MissingGoError

from cluster.binaries import HELM, AssetsMissingError, cluster_binaries, helm, schemas
from cluster.cluster import Cluster, NoClusterError, boot, standing_cluster
from cluster.folder import ClusterStandsError, standing_folder
from cluster.images import ImageBuildError, cached_images
from cluster.namespaces import NamespacesError
from cluster.our_images import CONTROLLER_IMAGE, FAKE_JOB_IMAGE, JOB_IMAGE
from cluster.prerequisites import MissingPrerequisiteError, require
from cluster.programs import ProgramEndedError
from cluster.waiting import WaitedInVainError

UNABLE = (
    AssetsMissingError,
    BuildFailedError,
    ClusterStandsError,
    ImageBuildError,
    MissingGoError,
    MissingPrerequisiteError,
    NamespacesError,
    NoClusterError,
    ProgramEndedError,
    WaitedInVainError,
)


def main(arguments: list[str]) -> int:
    match arguments:
        case ["build"]:
            command = build
        case ["up"]:
            command = up
        case ["down"]:
            command = down
        case _:
            sys.stderr.write("usage: python -m cluster build|up|down\n")
            return 2
    try:
        command()
    except UNABLE as error:
        sys.stderr.write("\n".join([str(error), *getattr(error, "__notes__", [])]) + "\n")
        return 1
    return 0


def build() -> None:
    require(user_id=os.geteuid())
    binaries = cluster_binaries(os.environ)
    for major in HELM:
        helm(os.environ, major=major)
    schemas(os.environ)
    images = cached_images(os.environ)
    images.base()
    images.pause(binaries["pause"])
    for image in (CONTROLLER_IMAGE, JOB_IMAGE, FAKE_JOB_IMAGE):
        images.build(image)


def up() -> None:
    sys.stdout.write(how_to_use(boot(os.environ, standing=True)))


def down() -> None:
    standing_cluster(standing_folder()).down()


def how_to_use(cluster: Cluster) -> str:
    return "\n".join(
        [
            "the cluster stands; `make cluster-down` takes it down",
            f"  export KUBECONFIG={cluster.kubeconfig} PATH={cluster.binaries['kubectl'].parent}:$PATH",
            f"  its namespaces:  {' '.join(cluster.inside.command())}",
            f"  its S3 server:   {cluster.s3.endpoint}, keys in {cluster.folder.record}",
            f"  its logs:        {cluster.folder.logs}",
            "  tests with it:   LORASWEEP_TEST_CLUSTER=standing make test-cluster CLUSTER_WORKERS=0",
            "",
        ]
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
