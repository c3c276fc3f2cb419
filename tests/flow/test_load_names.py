"""``fused.load`` of everything that only a server knows: names, ids, tokens."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

import fused
from fused.errors import NotFoundError
from tests.conftest import Server


@pytest.fixture(autouse=True)
def known(server: Server) -> Iterator[None]:
    fused.options.base_url, fused.options.auth_token = server.base_url, server.token
    yield
    fused.options.base_url = fused.options.auth_token = None


def test_names_ids_tokens_and_revisions_load_the_same_function() -> None:
    name = f"n_{uuid.uuid4().hex[:8]}"
    code = (
        "import fused\n\ndef double(n):\n    return 2 * n\n\n@fused.udf\ndef udf(n: int = 1):\n    return double(n)\n"
    )
    saved = fused.load(code).to_fused(slug=name)
    token = saved.create_access_token().token
    for source in (name, f"owner@localhost/{name}", f"team/{name}", saved.id, token):
        loaded = fused.load(source)
        assert (loaded.id, loaded.name) == (saved.id, name) and "def double" in loaded.code, source
        assert loaded.double(21) == 42, "its helpers are used like a module's"
        assert fused.run(loaded, n=4, _format="json") == 8
    assert fused.load(name, revision=1).id == saved.id
    assert fused.load(name, cache_key=1) is not None


@pytest.mark.parametrize(
    "source",
    [
        "no_such_name",
        "owner@localhost/none",
        "team/none",
        "5d0c11d4-6f43-4b0e-8e3c-52c7ff0a4a0b",
        "fsh_" + "a" * 20,
        "UDF_Public",
    ],
)
def test_what_the_server_does_not_have_is_not_found(source: str) -> None:
    with pytest.raises(NotFoundError) as raised:
        fused.load(source)
    assert raised.value.status == 404
