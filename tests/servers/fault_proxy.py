"""An HTTP proxy on a port of this machine that breaks chosen requests, down to the level of TCP.

It reads a whole request, takes the first fault that matches, and otherwise asks the server and passes the reply on.
Every request has a connection of its own and is seen.
"""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from servers.door import Door

DEADLINE_S = 60.0


@dataclass(frozen=True)
class Answer:
    """The proxy answers by itself: with this S3 error, or with that page; the server sees nothing."""

    status: int
    code: str = ""
    date: str = ""
    text: str = ""
    page: str = ""


@dataclass(frozen=True)
class Reset:
    """The connection is reset as soon as the request's head is there."""


@dataclass(frozen=True)
class LoseReply:
    """The server does the work; its reply is lost in a reset."""


@dataclass(frozen=True)
class Truncate:
    """The reply's head and so many bytes of its body arrive, then the connection ends."""

    body_bytes: int


@dataclass(frozen=True)
class Hold:
    """The request waits in the proxy: `reached` is set, and it goes on when `go_on` is."""

    reached: threading.Event = field(default_factory=threading.Event)
    go_on: threading.Event = field(default_factory=threading.Event)


Fault = Answer | Reset | LoseReply | Truncate | Hold


@dataclass(frozen=True)
class Seen:
    """One request that came to the proxy."""

    method: str
    target: str


@dataclass
class _Planned:
    fault: Fault
    method: str
    text: str
    left: int


class FaultProxy:
    """Stands before one server; `inject` says what to break next."""

    def __init__(self, upstream: str, *, address: str = "127.0.0.1") -> None:
        parts = urlsplit(upstream)
        self._upstream = (parts.hostname or "", parts.port or 80)
        self._lock = threading.Lock()
        self._planned: list[_Planned] = []
        self._address = address
        self.seen: list[Seen] = []
        self._door = Door(address, self._serve)
        self.port = self._door.port

    @property
    def endpoint(self) -> str:
        return f"http://{self._address}:{self.port}"

    def inject(self, fault: Fault, *, method: str = "", text: str = "", times: int = 1) -> None:
        """Break the next `times` requests of that method whose target has `text` in it."""
        with self._lock:
            self._planned.append(_Planned(fault, method, text, times))

    def go_down(self) -> None:
        """Refuse connections until `come_up`."""
        self._door.close()

    def come_up(self) -> None:
        self._door.open()

    def _serve(self, client: socket.socket) -> None:
        client.settimeout(DEADLINE_S)
        with client, suppress(OSError):
            head = _read_head(client)
            if head is None:
                return
            fault = self._take(head.seen)
            if isinstance(fault, Reset):
                _reset(client)
                return
            body = _read_body(client, head)
            if isinstance(fault, Answer):
                client.sendall(_reply(fault))
                return
            if isinstance(fault, Hold):
                fault.reached.set()
                fault.go_on.wait(DEADLINE_S)
            reply = self._asked(head.to_send + body)
            if isinstance(fault, LoseReply):
                _reset(client)
            elif isinstance(fault, Truncate):
                client.sendall(reply[: reply.index(b"\r\n\r\n") + 4 + fault.body_bytes])
            else:
                client.sendall(reply)

    def _take(self, seen: Seen) -> Fault | None:
        with self._lock:
            self.seen.append(seen)
            for planned in self._planned:
                if planned.left and planned.method in ("", seen.method) and planned.text in seen.target:
                    planned.left -= 1
                    return planned.fault
        return None

    def _asked(self, request: bytes) -> bytes:
        with socket.create_connection(self._upstream, timeout=DEADLINE_S) as server:
            server.sendall(request)
            return b"".join(iter(lambda: server.recv(65536), b""))


@contextmanager
def fault_proxy(upstream: str, *, address: str = "127.0.0.1") -> Iterator[FaultProxy]:
    """A proxy at an address of this machine for as long as the block lasts."""
    proxy = FaultProxy(upstream, address=address)
    try:
        yield proxy
    finally:
        proxy.go_down()


@dataclass(frozen=True)
class _Head:
    seen: Seen
    to_send: bytes
    expects: bool
    body_bytes: int
    body_start: bytes


def _read_head(client: socket.socket) -> _Head | None:
    received = b""
    while b"\r\n\r\n" not in received:
        chunk = client.recv(65536)
        if not chunk:
            return None
        received += chunk
    head, _, body_start = received.partition(b"\r\n\r\n")
    first, *lines = head.split(b"\r\n")
    fields = dict(line.lower().split(b":", 1) for line in lines)
    method, target, _ = first.decode().split(" ", 2)
    # Neither header is signed: the proxy answers the one itself, and the other ends the reply with the connection.
    kept = [line for line in lines if not line.lower().startswith((b"expect:", b"connection:"))]
    to_send = b"\r\n".join([first, *kept, b"Connection: close", b"", b""])
    return _Head(
        Seen(method, target), to_send, b"expect" in fields, int(fields.get(b"content-length", b"0")), body_start
    )


def _read_body(client: socket.socket, head: _Head) -> bytes:
    body = bytearray(head.body_start)
    if head.expects and len(body) < head.body_bytes:
        client.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
    while len(body) < head.body_bytes:
        chunk = client.recv(2**20)
        if not chunk:
            raise ConnectionAbortedError("the client went away")
        body += chunk
    return bytes(body)


def _reply(answer: Answer) -> bytes:
    error = f"<Error><Code>{answer.code}</Code><Message>{answer.text}</Message></Error>"
    page = error if answer.code else answer.page
    date = f"Date: {answer.date}\r\n" if answer.date else ""
    return (
        f"HTTP/1.1 {answer.status} -\r\n{date}Content-Type: application/xml\r\n"
        f"Content-Length: {len(page.encode())}\r\nConnection: close\r\n\r\n{page}"
    ).encode()


def _reset(client: socket.socket) -> None:
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


__all__ = ["Answer", "Fault", "FaultProxy", "Hold", "LoseReply", "Reset", "Seen", "Truncate", "fault_proxy"]
