"""A proxy of bytes on a port of this machine, whose connection to the server can be cut in two ways: it goes silent, as
behind a router that has forgotten it, or it is refused. What passes may be encrypted.
"""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from servers.door import Door

__all__ = ["TcpProxy", "tcp_proxy"]

_CONNECT_S = 10.0


class TcpProxy:
    """Stands before one server."""

    def __init__(self, host: str, port: int) -> None:
        self._upstream = (host, port)
        self._flowing = threading.Event()
        self._flowing.set()
        self._lock = threading.Lock()
        self._ends: set[socket.socket] = set()
        self._door = Door("127.0.0.1", self._serve)
        self.port = self._door.port

    def silence(self) -> None:
        """Connections stay open, new ones are taken, and no byte passes any more until `restore`."""
        self._flowing.clear()

    def refuse(self) -> None:
        """Connections are reset, and new ones refused until `restore`."""
        self._door.close()
        with self._lock:
            for end in self._ends:
                with suppress(OSError):
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    end.shutdown(socket.SHUT_RDWR)

    def restore(self) -> None:
        """All is as it was; what was silent goes on where it stood."""
        self._flowing.set()
        self._door.open()

    def close(self) -> None:
        """The end of the proxy."""
        self._flowing.set()
        self.refuse()

    def _serve(self, client: socket.socket) -> None:
        with client, suppress(OSError), socket.create_connection(self._upstream, timeout=_CONNECT_S) as server:
            server.settimeout(None)
            with self._lock:
                self._ends |= {client, server}
            back = threading.Thread(target=self._pump, args=(server, client), daemon=True)
            back.start()
            self._pump(client, server)
            back.join()
            with self._lock:
                self._ends -= {client, server}

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while piece := source.recv(65536):
                self._flowing.wait()
                sink.sendall(piece)
        for end in (source, sink):  # one direction less is the end of both
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


@contextmanager
def tcp_proxy(host: str, port: int) -> Iterator[TcpProxy]:
    """A proxy for as long as the block lasts."""
    proxy = TcpProxy(host, port)
    try:
        yield proxy
    finally:
        proxy.close()
