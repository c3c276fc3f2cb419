"""The object store of this environment: ``AWS_ENDPOINT_URL`` with its keys, else Amazon's."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

CONNECT_TIMEOUT_S = 10
REQUEST_TIMEOUT_S = 60
_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_PROFILE", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI")


def endpoint() -> str | None:
    """Address of the store, ``http[s]://host[:port]``; None where none is named."""
    return os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or None


def has_keys() -> bool:
    """Does the environment name keys, so that requests are signed."""
    return any(os.environ.get(name) for name in _KEYS) or (Path.home() / ".aws" / "credentials").exists()


def object_store(attempts: int = 3) -> Any:
    """A ``pyarrow.fs.S3FileSystem``. Without keys requests are not signed: a store without sign-in takes them."""
    from pyarrow import fs

    address = endpoint()
    settings: dict[str, Any] = {
        "connect_timeout": CONNECT_TIMEOUT_S,
        "request_timeout": REQUEST_TIMEOUT_S,
        "retry_strategy": fs.AwsStandardS3RetryStrategy(max_attempts=attempts),
        "allow_bucket_creation": True,
    }
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    if address is not None:
        parts = urlsplit(address)
        settings |= {"endpoint_override": parts.netloc, "scheme": parts.scheme, "region": region or "us-east-1"}
    elif region:
        settings["region"] = region
    if address is not None and not has_keys():  # else Arrow asks a cloud's metadata service, which is not there
        settings["anonymous"] = True
    return fs.S3FileSystem(**settings)


def put_file(system: Any, name: str, path: str | Path, content_type: str) -> None:
    """The whole file as an object or none; its bucket is made where it is missing. The file is mapped, not read."""
    import pyarrow as pa

    with pa.memory_map(str(path)) as file:
        content = file.read_buffer()
    try:
        _write(system, name, content, content_type)
    except OSError as error:
        if "bucket" not in str(error).lower():
            raise
        system.create_dir(name.split("/", 1)[0], recursive=False)
        _write(system, name, content, content_type)


def _write(system: Any, name: str, content: Any, content_type: str) -> None:
    with system.open_output_stream(name, metadata={"Content-Type": content_type}) as target:
        target.write(content)
