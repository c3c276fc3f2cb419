"""A way into the object store of the tests (tests/object_store.py) that can be told to refuse."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import suppress


def address(port: int, key: str, more: str = "") -> str:
    query = f"?endpoint_override=127.0.0.1%3A{port}&scheme=http&region=us-east-1&allow_bucket_creation=true"
    return f"s3://key:secret@bucket/{key}{query}{more}"


class Gate:
    """A port before the store's. What a client sends is shown to ``refuse``; once that says yes, nothing passes."""

    def __init__(self, port: int, refuse: Callable[[bytes], bool]) -> None:
        self.target, self.refuse = port, refuse
        self.closed = threading.Event()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            if self.closed.is_set():
                client.close()
                continue
            server = socket.create_connection(("127.0.0.1", self.target))
            for source, sink, asks in ((client, server, True), (server, client, False)):
                threading.Thread(target=self._pump, args=(source, sink, asks), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, asks: bool) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 16):
                if asks and self.refuse(data):
                    self.closed.set()
                if self.closed.is_set():
                    break
                sink.sendall(data)
        for each in (source, sink):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def stop(self) -> None:
        self.closed.set()
        self.listener.close()
