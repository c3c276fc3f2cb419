"""The unmodified official client, pointed at the server that ``run.sh`` started.

Collected only when run.sh runs: elsewhere ``import fused`` is this project's own SDK. Each test uses names of its own.
"""

from __future__ import annotations

import importlib.metadata
import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

URL = os.environ.get("FUSED_CONFORMANCE_URL", "")
TOKEN = os.environ.get("FUSED_CONFORMANCE_TOKEN", "")
collect_ignore_glob = [] if URL else ["test_*.py"]
VERSION = importlib.metadata.version("fused") if URL else "0"
IS_V2 = VERSION.startswith("2.")


def write_settings(url: str) -> None:
    """The client's own file of settings: how docs/guides/official-client.md says to point it at a server."""
    folder = Path.home() / ".fused"
    folder.mkdir(parents=True, exist_ok=True)
    lines = [f'base_url = "{url}/server/v1"']
    if IS_V2:
        lines.append(f'shared_udf_base_url = "{url}/server/v1/realtime-shared"')
    (folder / "settings.toml").write_text("\n".join(lines) + "\n")


if URL:
    write_settings(URL)
    os.environ["FUSED_AUTH_TOKEN"] = TOKEN
    os.environ["FUSED_AUTH_TOKEN_TYPE"] = "Fused-Env-Bearer"


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "v2: only client 2.x has it")
    config.addinivalue_line("markers", "v1: only client 1.x has it, or does it so")
    if URL:
        config.addinivalue_line("filterwarnings", "ignore")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("v2") and not IS_V2:
            item.add_marker(pytest.mark.skip(reason=f"client {VERSION} does not have this"))
        if item.get_closest_marker("v1") and IS_V2:
            item.add_marker(pytest.mark.skip(reason=f"client {VERSION} does it otherwise (tested beside)"))


@pytest.fixture(scope="session")
def is_v2() -> bool:
    return IS_V2


@pytest.fixture(scope="session")
def url() -> str:
    return URL


@pytest.fixture(scope="session")
def token() -> str:
    return TOKEN


@pytest.fixture(scope="session")
def email() -> str:
    import fused

    return str(fused.api.whoami()["email"])


@pytest.fixture
def name() -> str:
    return "f_" + uuid.uuid4().hex[:10]


@pytest.fixture
def run() -> Callable[..., Any]:
    """``fused.run`` on the server: 1.x runs objects in its own process when there is no credentials file."""
    import fused

    def call(udf: Any, *args: Any, **keywords: Any) -> Any:
        if not IS_V2 and "engine" not in keywords and not isinstance(udf, str):
            keywords["engine"] = "remote"
        return fused.run(udf, *args, **keywords)

    return call


@pytest.fixture
def save() -> Iterator[Callable[..., Any]]:
    """Saves a function under a name; what is saved is deleted when the test ends."""
    saved: list[Any] = []

    def call(udf: Any, name: str, **keywords: Any) -> Any:
        udf.name = name
        if IS_V2:
            udf.to_fused(**keywords)
        else:
            udf.to_fused(name, **keywords)
        saved.append(udf)
        return udf

    yield call
    for udf in saved:
        try:
            udf.delete_saved()
        except Exception:  # a test may have deleted it
            pass


@pytest.fixture
def short_server() -> Iterator[str]:
    """The client pointed at a server with a wall limit of 1.5 s."""
    import fused

    before = fused.options.base_url
    os.environ["FUSED_AUTH_TOKEN"] = os.environ["FUSED_CONFORMANCE_SHORT_TOKEN"]
    fused.options.base_url = os.environ["FUSED_CONFORMANCE_SHORT_URL"] + "/server/v1"
    yield fused.options.base_url
    fused.options.base_url = before
    os.environ["FUSED_AUTH_TOKEN"] = TOKEN
