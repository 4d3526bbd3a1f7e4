"""A connection to one API server, from a kubeconfig or from inside a pod."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import urllib3
import yaml  # of the client library, which lets its errors through
from kubernetes import client, config
from kubernetes.config.config_exception import ConfigException

from job.contract.errors import PreflightError

__all__ = ["Connection", "connect"]

_NAMESPACE_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
_IN_CLUSTER = "KUBERNETES_SERVICE_HOST"
_POOL = 16  # two watches, a lease, and writes beside them


@dataclass(frozen=True)
class Connection:
    """Where requests go."""

    client: Any
    """kubernetes.client.ApiClient; the package has no types."""
    namespace: str


def connect(
    *, context: str | None = None, namespace: str | None = None, environ: Mapping[str, str] = os.environ
) -> Connection:
    """A connection as kubectl would make it: $KUBECONFIG or ~/.kube/config; without one, the pod's own account.

    Raises PreflightError when there is no usable configuration.
    """
    settings = client.Configuration()
    # A request is tried again by who asked, who knows whether it may have been carried out.
    settings.retries = urllib3.Retry(0, redirect=0)
    settings.connection_pool_maxsize = _POOL
    settings.keep_alive = True
    try:
        if context is None and _IN_CLUSTER in environ and "KUBECONFIG" not in environ:
            config.load_incluster_config(client_configuration=settings)
            found = _NAMESPACE_FILE.read_text(encoding="utf-8").strip()
        else:
            file = environ.get("KUBECONFIG")  # the library reads the variable once, when it is imported
            config.load_kube_config(file, context=context, client_configuration=settings, persist_config=False)
            found = _namespace_of(context, file=file)
    except (ConfigException, yaml.YAMLError, OSError, ValueError, TypeError, KeyError, AttributeError) as err:
        raise PreflightError(
            f"no usable Kubernetes configuration: {_first_line(err)}; set KUBECONFIG, or name a context of it with "
            "--context"
        ) from err
    return Connection(client.ApiClient(settings), namespace or found)


def _namespace_of(context: str | None, *, file: str | None) -> str:
    contexts, active = config.list_kube_config_contexts(file)
    chosen = next((one for one in contexts if one["name"] == context), active)
    return str(chosen["context"].get("namespace") or "default")


def _first_line(error: BaseException) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        return f"{error.problem_mark.name}, line {error.problem_mark.line + 1}: {error.problem}"
    return str(error).strip().partition("\n")[0] or type(error).__name__
