"""What Prometheus reads of a controller: counts by state and reason; no trial is named, as each would be a series."""

from __future__ import annotations

import socket
from collections import Counter as Counts
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from typing import get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, ProcessCollector, start_http_server

from controller.reconcile import Conclusion, Watcher
from controller.regression.document import Status
from controller.states import Situation, TrialStatus
from job.contract.errors import FAILURE_REASONS, PreflightError, TransientError, TrialState

__all__ = ["Metrics"]

_STATES: tuple[TrialState, ...] = get_args(TrialState)
_JUDGED: tuple[Status, ...] = get_args(Status)
_SECONDS = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30)


class Metrics(Watcher):
    """The numbers of one controller, and the page they are read from."""

    def __init__(self, *, sweep: str, run: str, git_commit: str | None) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)  # memory and CPU seconds of this process
        labels = {"sweep": sweep, "run": run}
        self._trials = _gauge(self.registry, "lorasweep_trials", "Trials by state.", "state", labels)
        self._failures = _gauge(self.registry, "lorasweep_failed_trials", "Failed trials by reason.", "reason", labels)
        text = "1 for how the run stands beside earlier ones, once it is judged."
        self._regression = _gauge(self.registry, "lorasweep_regression", text, "status", labels)
        self._requests = Counter(
            "lorasweep_api_requests",
            "Requests to the Kubernetes API by verb, resource and status; status 0: no answer.",
            ["verb", "resource", "status"],
            registry=self.registry,
        )
        self._troubles = Counter(
            "lorasweep_unanswered_looks", "Looks that store or backend did not answer.", registry=self.registry
        )
        self._looks = Histogram(
            "lorasweep_reconcile_duration_seconds",
            "Time of one look at store and backend, with what it led to.",
            buckets=_SECONDS,
            registry=self.registry,
        )
        build = Info("lorasweep_build", "Which controller this is.", registry=self.registry)
        build.info({"version": _version(), "git_commit": git_commit or "", **labels})

    def update(self, situation: Situation, statuses: Mapping[str, TrialStatus]) -> None:
        del situation
        states = Counts(status.state for status in statuses.values())
        for state in _STATES:
            self._trials(state).set(states[state])
        reasons = Counts(status.reason for status in statuses.values() if status.state == "failed")
        for reason in FAILURE_REASONS:
            self._failures(reason).set(reasons[reason])

    def concluded(self, conclusion: Conclusion) -> None:
        if conclusion.regression is not None:
            for status in _JUDGED:
                self._regression(status).set(status == conclusion.regression)

    def trouble(self, error: TransientError, *, since: datetime) -> None:
        del error, since
        self._troubles.inc()

    def looked(self, *, seconds: float) -> None:
        self._looks.observe(seconds)

    def count_request(self, verb: str, resource: str, status: int) -> None:
        """One answer of the API server."""
        self._requests.labels(verb, resource, str(status)).inc()

    @contextmanager
    def served(self, *, port: int, address: str) -> Iterator[int]:
        """Inside, `http://address:port/metrics`, an empty address for all of this machine's; gives the port, which 0
        leaves to the system.

        Raises PreflightError when the port is taken.
        """
        try:
            server, thread = start_http_server(port, addr=address or _everywhere(), registry=self.registry)
        except OSError as err:
            raise PreflightError(
                f"metrics cannot be served on {address}:{port}: {err.strerror}; choose another --metrics-port"
            ) from err
        try:
            yield server.server_port
        finally:
            server.shutdown()
            server.server_close()
            thread.join()


def _everywhere() -> str:
    """IPv4 and IPv6, where the machine has both: a pod's address may be of either kind."""
    return "::" if socket.has_dualstack_ipv6() else "0.0.0.0"  # noqa: S104  (in a pod; its readers are elsewhere)


def _gauge(
    registry: CollectorRegistry, name: str, text: str, label: str, labels: Mapping[str, str]
) -> Callable[[str], Gauge]:
    gauge = Gauge(name, text, [*labels, label], registry=registry)
    return lambda value: gauge.labels(*labels.values(), value)


def _version() -> str:
    try:
        return version("lorasweep")
    except PackageNotFoundError:
        return ""
