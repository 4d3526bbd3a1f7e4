"""`python -m cluster up` leaves a cluster standing for a person with kubectl; `... down` takes it down."""

from __future__ import annotations

import os
import sys

from servers.go_tool import BuildFailedError, MissingGoError

from cluster.binaries import AssetsMissingError
from cluster.cluster import Cluster, NoClusterError, boot, standing_cluster
from cluster.folder import ClusterStandsError, standing_folder
from cluster.images import ImageBuildError
from cluster.namespaces import NamespacesError
from cluster.prerequisites import MissingPrerequisiteError
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
        case ["up"]:
            command = up
        case ["down"]:
            command = down
        case _:
            sys.stderr.write("usage: python -m cluster up|down\n")
            return 2
    try:
        command()
    except UNABLE as error:
        sys.stderr.write("\n".join([str(error), *getattr(error, "__notes__", [])]) + "\n")
        return 1
    return 0


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
            "  tests with it:   LORASWEEP_TEST_CLUSTER=standing make test-cluster",
            "",
        ]
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
