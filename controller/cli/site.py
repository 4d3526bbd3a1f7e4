"""The place of a run, from the words of a command."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from controller.local.site import LocalSite
from controller.names import Naming
from controller.program import default_backend
from controller.site import Site
from controller.streams import tell
from job.contract.errors import SpecError

if TYPE_CHECKING:
    from controller.kube.onlook import Onlook
    from controller.kube.settings import ClusterSettings
    from controller.kube.site import ClusterAddress

__all__ = ["cluster_of", "onlook_of", "run_name_of", "site_of"]

_CLUSTER_OPTIONS = ("cluster", "context", "namespace", "owner", "run_from_job")


def site_of(
    args: argparse.Namespace,
    naming: Naming,
    *,
    now: Callable[[], datetime],
    sleep: Callable[[float], None],
    count_request: Callable[[str, str, int], None] | None,
) -> Site:
    """Where `args` wants the run; `sleep` may be cut short by a signal, `count_request` hears of API requests.

    Raises SpecError for options that do not go together, and for cluster settings with a mistake.
    """
    if args.backend == "local":
        given = [name for name in _CLUSTER_OPTIONS if getattr(args, name) is not None]
        if given:
            option = given[0].replace("_", "-")
            raise SpecError(f"--{option} is about a cluster; add --backend kubernetes, or leave it out")
        return LocalSite(naming.run_uri, environ=os.environ, now=now)
    # The Kubernetes client takes half a second to import, which a run on this machine need not wait for.
    from controller.kube.site import KubeSite

    address, settings = cluster_of(args)
    return KubeSite(
        naming,
        address=address,
        settings=settings,
        now=now,
        sleep=sleep,
        say=lambda text: tell(f"{text}\n"),
        count=count_request or (lambda verb, resource, status: None),
    )


def run_name_of(args: argparse.Namespace) -> str | None:
    """The run's name, as given or by the time of the Job that the command runs in; None for the default.

    Raises SpecError for both, NotFoundError for a Job that is not there.
    """
    given: str | None = args.run
    if args.run_from_job is None:
        return given
    if given is not None:
        raise SpecError(f"--run {given!r} and --run-from-job both name the run; give one of them")
    if args.backend == "local":
        raise SpecError("--run-from-job is about a cluster; add --backend kubernetes, or leave it out")
    from controller.kube.rights import JOBS
    from controller.kube.scheduled import scheduled_run
    from controller.kube.site import open_api

    address, settings = cluster_of(args)
    return scheduled_run(open_api(address, settings.api).get(JOBS, args.run_from_job))


def cluster_of(args: argparse.Namespace) -> tuple[ClusterAddress, ClusterSettings]:
    """Which cluster `args` names, and what is decided about it. Raises SpecError without a file or with a mistake."""
    from controller.kube.settings_file import load_settings
    from controller.kube.site import ClusterAddress

    if args.cluster is None:
        raise SpecError("--backend kubernetes needs --cluster FILE, which names at least the image of trials")
    address = ClusterAddress(context=args.context, namespace=args.namespace, release=args.owner)
    return address, load_settings(args.cluster)


def onlook_of(args: argparse.Namespace, naming: Naming) -> Onlook | None:
    """The run on the cluster that `args` names; None where none is named, or the run is not there, which stderr says.

    Raises PreflightError without usable credentials, TransientError when the API server does not answer.
    """
    if args.context is None and args.namespace is None and default_backend() == "local":
        return None
    from controller.kube.onlook import Onlook
    from controller.kube.settings import ApiLimits
    from controller.kube.site import ClusterAddress, open_api

    address = ClusterAddress(context=args.context, namespace=args.namespace)
    onlook = Onlook(open_api(address, ApiLimits()), naming, now=_now)
    if onlook.is_there():
        return onlook
    tell(f"{naming.run_uri} has no object in namespace {onlook.namespace!r}; this is from its store alone\n")
    return None


def _now() -> datetime:
    return datetime.now(UTC)
