"""The API server in seven verbs over plain JSON objects, with our errors for its answers.

Objects go over the wire as dicts, as they stand in its documentation. The client library brings credentials, TLS and
connections; its typed models would cost a conversion in both directions and say nothing more.

Errors
- NotFoundError: 404. ConflictError: 409. GoneError: 410, a list or watch that is too old.
- QuotaError: 403 of a quota that counts such objects.
- PreflightError: any other 403, naming verb, resource and namespace; 401 with credentials that were read anew; and a
  name that does not resolve or a certificate that is not accepted, of a server that has not answered before.
- ConfigurationError: 400 and 422, an object that the server does not accept.
- PlaceEndingError: a namespace that is being removed. TransientError: 429, 5xx, and no answer at all.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Mapping
from copy import copy
from http import HTTPStatus
from typing import Any, NamedTuple

import urllib3
from kubernetes.client.exceptions import ApiException
from kubernetes.client.rest import RESTResponse
from kubernetes.config.config_exception import ConfigException

from controller.backend import PlaceEndingError
from controller.kube.connection import Connection
from controller.kube.pacing import TokenBucket
from controller.kube.unanswered import innermost, wrong_address
from job.contract.errors import (
    ConfigurationError,
    ConflictError,
    NotFoundError,
    PreflightError,
    SweepError,
    TransientError,
)

__all__ = ["GoneError", "KubeApi", "Listing", "Object", "QuotaError", "Resource"]

Object = dict[str, Any]
"""A Kubernetes object in the API's JSON form."""

_CONNECT_S = 10.0
_ANSWER_S = 30.0
_PAGE = 500
_LINE_LIMIT_BYTES = 4 * 2**20  # an object is at most 1.5 MiB in etcd
_TRIES = 5
_WAIT_LIMIT_S = 60.0


class GoneError(TransientError):
    """A resource version that the server has forgotten; list again."""


class QuotaError(TransientError):
    """A quota on the objects themselves leaves no room for another; there will be when one of them goes."""


class Resource(NamedTuple):
    """One kind of objects."""

    group: str
    """`api/v1`, or `apis/<group>/<version>`."""
    plural: str
    namespaced: bool = True

    def path(self, namespace: str, name: str | None = None) -> str:
        """Of the collection, or of one object in it."""
        place = f"namespaces/{namespace}/{self.plural}" if self.namespaced else self.plural
        whole = f"/{self.group}/{place}".rstrip("/")
        return whole if name is None else f"{whole}/{name}"

    @property
    def api_group(self) -> str:
        """As a Role names it: empty for the core."""
        return self.group.split("/")[1] if self.group.startswith("apis/") else ""


class Listing(NamedTuple):
    """All objects of a selection, as of one moment."""

    objects: tuple[Object, ...]
    resource_version: str


class KubeApi:
    """Requests to one namespace. May be used by several threads."""

    def __init__(
        self,
        connection: Connection,
        *,
        reconnect: Callable[[], Connection],
        writes: TokenBucket,
        sleep: Callable[[float], None],
        count: Callable[[str, str, int], None] = lambda verb, resource, status: None,
    ) -> None:
        """`reconnect` reads the credentials anew; `count` hears of every answer, with status 0 for none."""
        self.namespace = connection.namespace
        self._client = connection.client
        self._reconnect = reconnect
        self._writes = writes
        self._sleep = sleep
        self._count = count
        self._answered = False
        self._answer_s = _ANSWER_S

    def within(self, answer_s: float) -> KubeApi:
        """The same, for requests whose answer is of no use any more after so many seconds."""
        hasty = copy(self)
        hasty._answer_s = answer_s
        return hasty

    def get(self, resource: Resource, name: str) -> Object:
        """The object of that name."""
        return self._json(_Call("get", "GET", resource, name))

    def list(self, resource: Resource, *, labels: str = "", fields: str = "") -> Listing:
        """All objects with these labels and fields."""
        pages = list(self.pages(resource, labels=labels, fields=fields))
        return Listing(tuple(found for page in pages for found in page.objects), pages[-1].resource_version)

    def pages(self, resource: Resource, *, labels: str = "", fields: str = "") -> Iterator[Listing]:
        """As `list`, in parts for who keeps less of an object than all: every page is of the same moment."""
        query = [("labelSelector", labels), ("fieldSelector", fields), ("limit", str(_PAGE))]
        while True:
            call = _Call("list", "GET", resource, query=tuple(query))
            page = self._json(call)
            found, version = page.get("items") or [], page["metadata"].get("resourceVersion")
            if not isinstance(found, list) or not isinstance(version, str):
                raise TransientError(f"{call.text(self.namespace)}: the answer is no list")
            yield Listing(tuple(found), version)
            rest = page["metadata"].get("continue")
            if not rest:
                return
            query = [*query[:3], ("continue", rest)]

    def watch(self, resource: Resource, *, labels: str, since: str, for_s: float) -> Iterator[tuple[str, Object]]:
        """Each change after the resource version `since`, as (type, object), until the server ends the stream.

        A stream that brings nothing for longer than `for_s` is taken for dead. Lines that are no JSON are passed over.
        """
        query = (
            ("labelSelector", labels),
            ("watch", "true"),
            ("allowWatchBookmarks", "true"),
            ("resourceVersion", since),
            ("timeoutSeconds", str(int(for_s))),
        )
        call = _Call("watch", "GET", resource, query=query)
        answer = self._answer(call, read_s=for_s + _CONNECT_S)
        try:
            for line in _lines(answer):
                if (event := _event(line)) is None:
                    continue
                kind, found = event
                if kind == "ERROR":
                    code = found.get("code")
                    raise _error(call, self.namespace, code if isinstance(code, int) else 500, found)
                yield kind, found
        except (urllib3.exceptions.HTTPError, OSError) as err:
            raise TransientError(f"watching {resource.plural}: {err}") from err
        finally:
            answer.response.close()
            answer.response.release_conn()

    def create(self, resource: Resource, body: Object, *, dry_run: bool = False) -> Object:
        """The object as the server made it, or with `dry_run` as it would.

        A dry run refuses (ConfigurationError) a field that the server does not know, and would drop without a word.
        """
        query = (("dryRun", "All"), ("fieldValidation", "Strict")) if dry_run else ()
        return self._json(_Call("create", "POST", resource, query=query, body=body))

    def replace(self, resource: Resource, body: Object) -> Object:
        """The object with a new content; ConflictError when it changed since it was read."""
        return self._json(_Call("update", "PUT", resource, body["metadata"]["name"], body=body))

    def patch(self, resource: Resource, name: str, changes: Object) -> Object:
        """The object with `changes` merged into it."""
        return self._json(_Call("patch", "PATCH", resource, name, body=changes))

    def delete(self, resource: Resource, name: str, *, uid: str, grace_s: int | None = None) -> None:
        """Begin to remove the object of that name and UID, and after it what it owns.

        Nothing happens when it is gone; ConflictError when another has its name.
        """
        body: Object = {"propagationPolicy": "Background", "preconditions": {"uid": uid}}
        if grace_s is not None:
            body["gracePeriodSeconds"] = grace_s
        try:
            self._json(_Call("delete", "DELETE", resource, name, body=body))
        except NotFoundError:
            return

    def log(self, pod: str, *, container: str, limit_bytes: int) -> bytes:
        """The end of what a container wrote; at most about `limit_bytes`."""
        resource = Resource("api/v1", "pods")
        # The server's own limitBytes keeps the beginning; lines are cut from the end here.
        query = (("container", container), ("tailLines", str(max(1, limit_bytes // 100))))
        call = _Call("get", "GET", resource, f"{pod}/log", query=query)
        return bytes(self._body(self._answer(call, read_s=self._answer_s), call))[-limit_bytes:]

    def server_date(self) -> str | None:
        """The Date header of the server's answer to a question that needs no right."""
        call = _Call("get", "GET", Resource("version", "", namespaced=False))
        answer = self._answer(call, read_s=self._answer_s)
        self._body(answer, call)
        date = answer.response.headers.get("Date")
        return None if date is None else str(date)

    def _json(self, call: _Call) -> Object:
        body = self._body(self._answer(call, read_s=self._answer_s), call)
        try:
            parsed = json.loads(body)
        except ValueError as err:
            raise TransientError(f"{call.text(self.namespace)}: the answer is not JSON: {body[:200]!r}") from err
        # All that the API server says has metadata; what stands in front of it may answer with anything.
        if not isinstance(parsed, dict) or not isinstance(parsed.get("metadata"), dict):
            raise TransientError(f"{call.text(self.namespace)}: the answer is no object: {body[:200]!r}")
        return parsed

    def _body(self, answer: RESTResponse, call: _Call) -> bytes:
        try:
            return bytes(answer.read())
        except (urllib3.exceptions.HTTPError, OSError) as err:
            raise TransientError(f"{call.text(self.namespace)}: {err}") from err

    def _answer(self, call: _Call, *, read_s: float) -> RESTResponse:
        """An answer of 2xx. A server that asks for patience (429 with Retry-After) gets it."""
        renewed = False
        for last in (*[False] * (_TRIES - 1), True):
            answer = self._send(call, read_s=read_s)
            if answer.status < HTTPStatus.MULTIPLE_CHOICES:
                return answer
            status = _status_object(self._body(answer, call))
            if answer.status == HTTPStatus.UNAUTHORIZED and not renewed and not last:
                renewed = True
                self._client = self._reconnect().client
            elif answer.status == HTTPStatus.TOO_MANY_REQUESTS and not last:
                self._sleep(_retry_after_s(answer) * random.uniform(1.0, 1.25))  # noqa: S311  (spreads load, no secret)
            else:
                raise _error(call, self.namespace, answer.status, status)
        raise AssertionError("unreachable")  # pragma: no cover

    def _send(self, call: _Call, *, read_s: float) -> RESTResponse:
        if call.method != "GET":
            self._writes.take()
        try:
            request = self._client.param_serialize(
                call.method,
                call.resource.path(self.namespace, call.name),
                query_params=list(call.query),
                header_params=call.headers,
                body=call.body,
                auth_settings=["BearerToken"],
            )
        except (ConfigException, OSError) as err:  # a token that is renewed for each request, from a file or a service
            raise TransientError(f"{call.text(self.namespace)}: the credentials cannot be read: {err}") from err
        try:
            answer = self._client.call_api(*request, _request_timeout=(_CONNECT_S, read_s))
        except (ApiException, urllib3.exceptions.HTTPError, OSError) as err:  # an ApiException has status 0: TLS
            self._count(call.verb, call.resource.plural, 0)
            raise self._unanswered(call, err) from err
        self._answered = True
        self._count(call.verb, call.resource.plural, answer.status)
        return answer

    def _unanswered(self, call: _Call, err: Exception) -> SweepError:
        """A server that was reached once may be so again; one that never was may be called by a wrong name."""
        said = f"{call.text(self.namespace)}: no answer from {self._client.configuration.host}: {innermost(err)}"
        wrong = wrong_address(err)
        if wrong is not None and not self._answered:
            return PreflightError(f"{said}; {wrong}")
        remedy = wrong or "check the server in the kubeconfig and the network, or run this again later"
        return TransientError(f"{said}; {remedy}")


class _Call(NamedTuple):
    verb: str
    """As in a Role."""
    method: str
    resource: Resource
    name: str | None = None
    query: tuple[tuple[str, str], ...] = ()
    body: Object | None = None

    @property
    def headers(self) -> Mapping[str, str]:
        kind = "application/merge-patch+json" if self.method == "PATCH" else "application/json"
        return {"Accept": "application/json, */*", "Content-Type": kind}

    def text(self, namespace: str) -> str:
        what = self.resource.plural if self.name is None else f"{self.resource.plural} {self.name!r}"
        return f"API server, {self.verb} {what} in namespace {namespace!r}"


def _lines(answer: RESTResponse) -> Iterator[bytes]:
    kept = b""
    for piece in answer.response.stream(2**16):
        *whole, kept = (kept + piece).split(b"\n")
        yield from whole
        if len(kept) > _LINE_LIMIT_BYTES:
            raise TransientError(f"a watch event is longer than {_LINE_LIMIT_BYTES} bytes")


def _event(line: bytes) -> tuple[str, Object] | None:
    try:
        event = json.loads(line)
        kind, found = event["type"], event["object"]
    except (ValueError, KeyError, TypeError):
        return None
    return (kind, found) if isinstance(kind, str) and isinstance(found, dict) else None


def _status_object(body: bytes) -> Object:
    """The server's Status; what stands in front of it may answer with anything."""
    try:
        status = json.loads(body)
    except ValueError:
        status = None
    return status if isinstance(status, dict) else {"message": body[:500].decode(errors="replace")}


def _retry_after_s(answer: RESTResponse) -> float:
    try:
        asked_s = float(answer.getheader("Retry-After") or 1)
    except ValueError:
        return 1.0
    return min(max(asked_s, 0.1), _WAIT_LIMIT_S)


def _error(call: _Call, namespace: str, code: int, status: Object) -> SweepError:
    message = f"{call.text(namespace)}: {status.get('message') or code}"
    if _has_cause(status, "NamespaceTerminating"):
        return PlaceEndingError(f"{message}; the namespace is being removed: use another, or wait and run this again")
    match code:
        case HTTPStatus.NOT_FOUND if f'namespaces "{namespace}" not found' in message:
            return NotFoundError(f"{message}; make it (kubectl create namespace {namespace}), or name another")
        case HTTPStatus.NOT_FOUND:
            return NotFoundError(message)
        case HTTPStatus.CONFLICT:
            return ConflictError(message)
        case HTTPStatus.GONE:
            return GoneError(message)
        case HTTPStatus.UNAUTHORIZED:
            return PreflightError(f"{message}; the credentials are not accepted: log in again, or mend the kubeconfig")
        case HTTPStatus.FORBIDDEN if "exceeded quota" in message:
            return QuotaError(message)
        case HTTPStatus.FORBIDDEN:
            return PreflightError(
                f"{message}; a Role has to allow {call.verb!r} on {call.resource.plural!r} in namespace {namespace!r}"
            )
        case HTTPStatus.BAD_REQUEST | HTTPStatus.UNPROCESSABLE_ENTITY | HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
            return ConfigurationError(message)
        case _:
            return TransientError(message)


def _has_cause(status: Object, reason: str) -> bool:
    details = status.get("details")
    causes = details.get("causes") if isinstance(details, dict) else None
    found = causes if isinstance(causes, list) else []
    return any(isinstance(cause, dict) and cause.get("reason") == reason for cause in found)
