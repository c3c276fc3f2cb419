"""SDK tests see no settings of the person who runs them: an empty home, no variables, fresh options."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import fused
from fused import _options
from fused._run import remote


@pytest.fixture(autouse=True)
def clean_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    for name in ("FUSED_BASE_URL", "FUSED_AUTH_TOKEN", "FUSED_AUTH_TOKEN_TYPE", "FUSED_CACHE_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("FUSED_HOME", str(tmp_path / "home" / ".fused"))
    yield
    for name in _options.OPTIONS:
        setattr(fused.options, name, None)
    fused.options.reload()
    remote._clients.clear()


@pytest.fixture
def connected(server, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:  # type: ignore[no-untyped-def]
    """``fused`` points at the real server."""
    fused.options.base_url = server.base_url
    fused.options.auth_token = server.token
    yield
