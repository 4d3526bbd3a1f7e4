"""A port of this machine that can be closed and opened again; whoever comes in is served by a thread of its own."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import suppress

__all__ = ["Door"]


class Door:
    """Open from the start."""

    def __init__(self, address: str, serve: Callable[[socket.socket], None]) -> None:
        self._address = address
        self._serve = serve
        self._listener = self._opened(0)
        self.port: int = self._listener.getsockname()[1]

    def close(self) -> None:
        """Refuse connections until `open`; those that there are go on."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def open(self) -> None:
        """Take connections on the same port; nothing when it is open."""
        if self._listener.fileno() == -1:
            self._listener = self._opened(self.port)

    def _opened(self, port: int) -> socket.socket:
        listener = socket.create_server((self._address, port), backlog=128)
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()
        return listener

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()
