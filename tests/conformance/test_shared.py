"""Share tokens: make, list, run, open by URL, disable, delete."""

from __future__ import annotations

import asyncio
import io

import pytest
import requests

import fused


@fused.udf
def answer(n: int = 1):
    import pandas as pd

    return pd.DataFrame({"n": [n * 2]})


@pytest.fixture
def shared(save, name):
    return save(answer, name).create_access_token()


def run_token(token, is_v2, **parameters):
    return fused.run(token, **parameters) if is_v2 else fused.run(token=token, **parameters)


def test_a_token_names_its_function(shared, name, email):
    assert shared.token.startswith("fsh_")
    assert shared.udf_slug == name and shared.udf_email == email and shared.enabled


def test_running_by_token(shared, is_v2):
    assert run_token(shared.token, is_v2, n=21)["n"].tolist() == [42]
    assert fused.run(shared.token, n=4)["n"].tolist() == [8]


def test_running_by_token_object(shared):
    assert fused.run(shared, n=3)["n"].tolist() == [6]


@pytest.mark.v1
def test_running_by_token_async(shared):
    async def result():
        return await fused.run(shared.token, n=3, sync=False)

    assert asyncio.run(result())["n"].tolist() == [6]


@pytest.mark.v2
def test_the_async_request_of_a_token_run_is_answered(shared):
    """2.9.5 itself cannot send it: it puts a bool into the query, which the yarl that it requires refuses."""
    import aiohttp
    import pandas as pd

    async def result():
        query = {"format": "parquet,json", "profile": "False", "fused_cache_disable_stream": "true", "n": "3"}
        address = f"{fused.options.shared_udf_base_url}/{shared.token}/run/file"
        async with aiohttp.ClientSession() as session, session.get(address, params=query) as reply:
            assert reply.status == 200
            return pd.read_parquet(io.BytesIO(await reply.read()))

    assert asyncio.run(result())["n"].tolist() == [6]


def test_running_by_token_needs_no_own_credentials(shared, is_v2, monkeypatch):
    monkeypatch.setenv("FUSED_AUTH_TOKEN", "not-a-token")
    assert run_token(shared.token, is_v2, n=5)["n"].tolist() == [10]


def test_a_failure_behind_a_token_is_an_error(save, name, is_v2):
    @fused.udf
    def udf():
        raise ValueError("shared but broken")

    token = save(udf, name).create_access_token().token
    with pytest.raises(Exception, match="shared but broken"):
        run_token(token, is_v2)


def test_tokens_are_listed_with_their_function_and_with_all(save, name):
    saved = save(answer, name)
    made = [saved.create_access_token().token for _ in range(2)]
    assert {token.token for token in saved.get_access_tokens()} == set(made)
    everything = fused.api.FusedAPI().get_udf_access_tokens(n=1_000, max_requests=None)
    assert {token.token for token in everything} >= set(made)


@pytest.mark.v2
def test_the_first_token_and_its_url(save, name):
    saved = save(answer, name)
    token = saved.create_access_token()
    assert saved.get_access_token().token == token.token
    reply = requests.get(saved.shared_url(format="csv"), timeout=120)
    assert reply.status_code == 200 and reply.text.splitlines() == ["n", "2"]


def test_a_printed_file_url_opens_without_the_client(shared, is_v2):
    url = shared.get_file_url(format="parquet") if is_v2 else shared.get_file_url(dtype_out_vector="parquet")
    assert shared.token in url
    reply = requests.get(url, params={"n": 4}, timeout=120)
    assert reply.status_code == 200
    import pandas as pd

    assert pd.read_parquet(io.BytesIO(reply.content))["n"].tolist() == [8]


def test_a_printed_tile_url_opens_with_numbers_put_in(save, name, is_v2):
    @fused.udf
    def udf(bounds: fused.types.Tile):
        return bounds[["x", "y", "z", "geometry"]]

    token = save(udf, name).create_access_token()
    template = token.get_tile_url(format="geojson") if is_v2 else token.get_tile_url(dtype_out_vector="geojson")
    filled = template.replace("{x}", "2").replace("{y}", "1").replace("{z}", "2")
    reply = requests.get(filled, timeout=120)
    assert reply.status_code == 200, (filled, reply.text)
    assert reply.json()["features"][0]["properties"]["z"] == 2
    direct = token.get_tile_url(x=2, y=1, z=2, **({"format": "geojson"} if is_v2 else {"dtype_out_vector": "geojson"}))
    assert requests.get(direct, timeout=120).json() == reply.json()


def test_loading_by_token_gives_the_owner_his_source(shared):
    assert "return pd.DataFrame" in fused.load(shared.token).code


def test_a_disabled_token_is_refused_and_an_enabled_one_works_again(shared, is_v2):
    fused.api.FusedAPI().update_udf_access_token(shared.token, enabled=False)
    with pytest.raises(Exception):  # noqa: B017
        run_token(shared.token, is_v2, n=1)
    fused.api.FusedAPI().update_udf_access_token(shared.token, enabled=True)
    assert run_token(shared.token, is_v2, n=1)["n"].tolist() == [2]


def test_update_and_refresh_of_the_record(shared):
    changed = shared.update(cache=False, metadata_json={"a": 1}, enabled=True)
    assert changed.cache is False and changed.metadata_json == {"a": 1}
    again = shared.refresh()
    assert again.cache is False and again.metadata_json == {"a": 1}
    changed = shared.update(enabled=False)
    assert changed.enabled is False and changed.cache is False


def test_a_deleted_token_is_refused_at_the_next_run(shared, is_v2):
    assert run_token(shared.token, is_v2, n=1)["n"].tolist() == [2]
    shared.delete()
    with pytest.raises(Exception):  # noqa: B017
        run_token(shared.token, is_v2, n=1)
    with pytest.raises(Exception):  # noqa: B017
        fused.load(shared.token)


def test_deleting_the_function_ends_its_tokens(save, name, is_v2):
    saved = save(answer, name)
    token = saved.create_access_token().token
    saved.delete_saved()
    with pytest.raises(Exception):  # noqa: B017
        run_token(token, is_v2)


def test_a_token_follows_what_is_saved_over(save, name, is_v2):
    saved = save(answer, name)
    token = saved.create_access_token().token

    @fused.udf
    def udf(n: int = 1):
        import pandas as pd

        return pd.DataFrame({"n": [n * 5]})

    udf.name = name
    if is_v2:
        udf.to_fused(overwrite=True)
    else:
        udf.to_fused(name, over_id=saved.metadata["fused:id"])
    assert run_token(token, is_v2, n=1)["n"].tolist() == [5]


@pytest.mark.v2
def test_access_scope_and_public_read_are_kept(save, name):
    token = save(answer, name).create_access_token(public_read=True, access_scope="public")
    assert token.public_read is True and token.access_scope == "public"


@pytest.mark.v2
@pytest.mark.parametrize("value", [5, "word", [1, 2], {"a": 1}, None])
def test_values_behind_a_token(save, name, value):
    @fused.udf
    def udf(text: str):
        import json

        return json.loads(text)

    import json

    token = save(udf, name).create_access_token().token
    assert fused.run(token, text=json.dumps(value)) == value


def test_all_kinds_of_parameters_travel_in_the_query(save, name, is_v2):
    @fused.udf
    def udf(n: int, real: float, yes: bool, items: list, mapping: dict, text: str = "é&=?/#+ %"):
        import pandas as pd

        return pd.DataFrame({"v": [repr([n, real, yes, items, mapping, text])]})

    token = save(udf, name).create_access_token().token
    parameters = {"n": 3, "real": 0.5, "yes": False, "items": [1, "b"], "mapping": {"k": None}, "text": "é&=?/#+ %"}
    assert run_token(token, is_v2, **parameters)["v"][0] == repr(list(parameters.values()))
