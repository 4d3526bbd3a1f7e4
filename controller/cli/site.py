"""The place of a run, from the words of a command."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from datetime import UTC, datetime

from controller.local.site import LocalSite
from controller.names import Naming
from controller.site import Site
from controller.streams import tell
from job.contract.errors import SpecError

__all__ = ["site_of"]

_CLUSTER_OPTIONS = ("cluster", "context", "namespace", "owner")


def site_of(
    args: argparse.Namespace,
    naming: Naming,
    *,
    sleep: Callable[[float], None],
    count_request: Callable[[str, str, int], None] | None,
) -> Site:
    """Where `args` wants the run; `sleep` may be cut short by a signal, `count_request` hears of API requests.

    Raises SpecError for options that do not go together, and for cluster settings with a mistake.
    """
    if args.backend == "local":
        given = [name for name in _CLUSTER_OPTIONS if getattr(args, name) is not None]
        if given:
            raise SpecError(f"--{given[0]} is about a cluster; add --backend kubernetes, or leave it out")
        return LocalSite(naming.run_uri, environ=os.environ, now=_now)
    # The Kubernetes client takes half a second to import, which a run on this machine need not wait for.
    from controller.kube.settings_file import load_settings
    from controller.kube.site import ClusterAddress, KubeSite

    if args.cluster is None:
        raise SpecError("--backend kubernetes needs --cluster FILE, which names at least the image of trials")
    return KubeSite(
        naming,
        address=ClusterAddress(context=args.context, namespace=args.namespace, release=args.owner),
        settings=load_settings(args.cluster),
        now=_now,
        sleep=sleep,
        say=lambda text: tell(f"{text}\n"),
        count=count_request or (lambda verb, resource, status: None),
    )


def _now() -> datetime:
    return datetime.now(UTC)
