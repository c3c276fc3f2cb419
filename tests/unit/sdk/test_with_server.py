"""The SDK against the real server: runs of every kind, saving, sharing, nesting, and what failures say."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import requests

import fused
from fused.errors import (
    AuthenticationError,
    ConflictError,
    NotFoundError,
    UdfError,
    UdfRuntimeError,
    UdfSerializationError,
)

pytestmark = pytest.mark.usefixtures("connected")
MISSING_HERE = 3


@fused.udf
def add(n: int = 1, m: int = 2):
    print("adding", n, m)
    return n + m


@pytest.fixture
def saved() -> Any:
    """A saved function of a name of its own, deleted afterwards."""
    udf = add.copy()
    udf.name = f"add_{uuid.uuid4().hex[:8]}"
    udf.to_fused()
    yield udf
    if udf.id:
        udf.delete_saved()


@pytest.mark.parametrize("value", [3, 2.5, True, "text", [1, "a", None], {"k": [1, 2]}, -(2**40)])
def test_json_values_come_back_as_they_were(value: Any) -> None:
    @fused.udf
    def give(text: str):
        import json

        return json.loads(text)

    import json

    result = fused.run(give, text=json.dumps(value))
    assert result == value
    assert type(result) is type(value)


def test_tables_arrays_and_geometries_come_back_as_their_types() -> None:
    @fused.udf
    def table(n: int = 3):
        import pandas as pd

        return pd.DataFrame({"n": range(n), "s": "a"})

    @fused.udf
    def places():
        import geopandas as gpd

        return gpd.GeoDataFrame({"n": [1]}, geometry=gpd.points_from_xy([5], [45]), crs=4326)

    @fused.udf
    def array():
        import numpy as np

        return np.arange(12, dtype="uint16").reshape(3, 4)

    @fused.udf
    def page():
        return "<html><b>hi</b></html>"

    frame = fused.run(table, n=5)
    assert isinstance(frame, pd.DataFrame)
    assert frame["n"].tolist() == [0, 1, 2, 3, 4]
    back = fused.run(places)
    assert isinstance(back, gpd.GeoDataFrame)
    assert back.crs.to_epsg() == 4326
    numbers = fused.run(array)
    assert isinstance(numbers, np.ndarray)
    assert (numbers.dtype, numbers.shape) == (np.uint16, (3, 4))
    assert "<b>hi</b>" in fused.run(page)


def test_every_kind_of_first_argument_runs(saved: Any) -> None:
    def plain(n: int = 1):
        return n * 10

    assert fused.run(add, n=3) == 5
    assert fused.run(add(n=4)) == 6
    assert fused.run(add(arg_list=[1, 2, 3])) == [3, 4, 5]
    assert fused.run(plain, n=4) == 40
    assert fused.run(saved.name, n=5) == 7
    assert fused.run(f"owner@localhost/{saved.name}", n=6) == 8
    assert fused.run(saved.id, n=7) == 9
    token = saved.create_access_token()
    assert fused.run(token.token, n=8) == 10


def test_parameters_travel_by_annotation() -> None:
    @fused.udf
    def kinds(flag: bool, items: list, table: pd.DataFrame, box: fused.types.Bounds, when: "datetime.date", **rest):  # noqa: F821, UP037
        import datetime

        assert isinstance(when, datetime.date | str)
        return [flag, items, len(table), list(box), sorted(rest)]

    frame = pd.DataFrame({"a": [1, 2]})
    result = fused.run(kinds, flag=False, items=(1, 2), table=frame, box=[5, 45, 6, 46], when="2024-01-02", extra=1)
    assert result == [False, [1, 2], 2, [5, 45, 6, 46], ["extra"]]


def test_a_tile_gets_its_bounds() -> None:
    @fused.udf
    def tile(bounds: fused.types.Bounds):
        return [round(each, 6) for each in bounds]

    assert fused.run(tile, x=33, y=22, z=6) == [5.625, 45.089036, 11.25, 48.922499]


def test_what_ran_is_told_on_request(capsys: pytest.CaptureFixture[str]) -> None:
    result = fused.run(add, n=1, _return_response=True)
    assert result.data == 3
    assert result.stdout == "adding 1 2\n"
    assert result.status == 200
    assert uuid.UUID(result.request_id)
    assert result.original_content == b"3"
    assert capsys.readouterr().out == ""
    fused.options.verbose_udf_runs = True
    fused.run(add, n=1)
    assert capsys.readouterr().out == "adding 1 2\n"


def test_a_failure_holds_class_message_line_and_traceback() -> None:
    @fused.udf
    def bad(n: int = 1):
        print("before")
        values = {"a": n}
        return values["missing"]

    with pytest.raises(UdfRuntimeError) as caught:
        fused.run(bad)
    error = caught.value
    assert error.exception_class == "KeyError"
    assert error.lineno == 5
    assert 'return values["missing"]' in str(error)
    assert "KeyError" in str(error)
    assert error.stdout == "before\n"
    assert f"fused logs {error.request_id}" in str(error)
    whole = fused.run(bad, _return_response=True)
    assert whole.has_exception
    assert whole.exception_class == "KeyError"


def test_a_name_of_the_module_gets_a_hint() -> None:
    @fused.udf
    def lost():
        return MISSING_HERE

    with pytest.raises(UdfError, match="'MISSING_HERE' is defined in your module, but only the function's own text"):
        fused.run(lost)


def test_what_cannot_be_sent_is_a_serialization_error_remotely_and_a_value_locally() -> None:
    @fused.udf
    def thing():
        return object()

    with pytest.raises(UdfSerializationError):
        fused.run(thing)
    assert type(fused.run(thing, engine="local")) is object


def test_a_value_that_cannot_be_read_names_parameter_and_type() -> None:
    with pytest.raises(UdfError, match=r"'n'.*'many'.*int"):
        fused.run(add, n="many")


def test_headers_travel(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_tools.py").write_text("def triple(n):\n    return 3 * n\n")

    @fused.udf(headers=["my_tools.py"])
    def udf(n: int = 1):
        import my_tools

        return my_tools.triple(n)

    assert fused.run(udf, n=5) == 15


def test_many_runs_can_be_awaited_together() -> None:
    async def many() -> list[int]:
        return await asyncio.gather(*(fused.run(add, n=n, sync=False) for n in range(20)))

    assert asyncio.run(many()) == [n + 2 for n in range(20)]


def test_max_retry_counts_every_failure_of_the_function() -> None:
    name = uuid.uuid4().hex

    @fused.udf
    def sometimes(name: str, fail: int):
        import os

        folder = "/mount" if os.path.isdir("/mount/fused-system") else os.environ["FUSED_MOUNT"]
        path = f"{folder}/{name}"
        with open(path, "a") as file:  # noqa: PTH123
            file.write("x")
        if os.path.getsize(path) <= fail:
            raise OSError("again")
        return os.path.getsize(path)

    assert fused.run(sometimes, name=name, fail=2, max_retry=2) == 3
    with pytest.raises(UdfRuntimeError, match="again"):
        fused.run(sometimes, name=name + "b", fail=5, max_retry=1)
    assert fused.run(sometimes, name=name + "b", fail=0) == 3, "two attempts before this one"


def test_functions_run_functions(saved: Any) -> None:
    @fused.udf
    def outer(name: str):
        @fused.udf
        def inner(n: int = 1):
            return n * 100

        job = inner(arg_list=[1, 2])
        return [fused.run(name, n=5), inner(n=2), fused.run(inner, n=3), len(job.input), fused.api.whoami()["email"]]

    assert fused.run(outer, name=saved.name) == [7, 200, 300, 2, "owner@localhost"]


def test_functions_await_functions() -> None:
    @fused.udf
    def outer():
        import asyncio

        @fused.udf
        def inner(n: int = 1):
            return n

        async def many():
            return await asyncio.gather(*(fused.run(inner, n=n, sync=False) for n in range(4)))

        return asyncio.run(many())

    assert fused.run(outer) == [0, 1, 2, 3]


def test_saving_loading_listing_and_deleting(saved: Any) -> None:
    loaded = fused.load(saved.name)
    assert loaded.code == saved.code
    assert loaded.id == saved.id
    assert fused.run(loaded, n=1) == 3
    assert fused.run(loaded, n=1, engine="local") == 3
    assert fused.run(saved.name, n=1, engine="local") == 3
    assert saved.name in fused.api.get_udfs()
    assert fused.api.get_udfs(by="id")[saved.id].name == saved.name
    assert len(fused.api.get_udfs(n=1)) == 1
    name = saved.name
    saved.delete_saved()
    assert saved.id is None
    with pytest.raises(NotFoundError, match=f"no saved function '{name}'"):
        fused.load(name)


def test_a_taken_name_is_a_value_error_with_a_diff(saved: Any) -> None:
    @fused.udf(name="x")
    def other(n: int = 1):
        return n - 1

    with pytest.raises(
        ConflictError, match=r"(?s)is saved already.*overwrite=True.*-.*return n \+ m.*\+.*return n - 1"
    ):
        other.to_fused(slug=saved.name)
    with pytest.raises(ValueError, match="is saved already"):
        other.copy().to_fused(slug=saved.name)
    other.to_fused(slug=saved.name, overwrite=True)
    assert fused.run(saved.name, n=10) == 9
    assert other.id == saved.id
    with pytest.raises(ValueError, match="never overwrites"):
        other.to_fused(as_new=True, overwrite=True)


def test_a_near_name_is_suggested(saved: Any) -> None:
    with pytest.raises(NotFoundError, match=f"Did you mean '{saved.name}'"):
        fused.run(saved.name + "x")


def test_saving_over_something_deleted_says_so(saved: Any) -> None:
    twin = fused.load(saved.name)
    saved.delete_saved()
    with pytest.raises(NotFoundError, match="deleted meanwhile; save it anew"):
        twin.to_fused()
    twin.to_fused(as_new=True)
    twin.delete_saved()


def test_a_share_token_runs_is_changed_and_revoked(saved: Any) -> None:
    token = saved.create_access_token(expires_in="1h")
    assert token.expires_at
    with requests.Session() as session:
        url = token.get_file_url(format="json", n=5)
        assert session.get(url).json() == 7
        assert "/run/tiles/{z}/{x}/{y}" in token.get_tile_url()
        assert [each.token for each in saved.get_access_tokens()] == [token.token]
        token.update(enabled=False, inplace=True)
        assert not token.refresh().enabled
        assert session.get(url).status_code == 404
        token.update(enabled=True)
        assert session.get(url).json() == 7
        token.delete()
        assert session.get(url).status_code == 404, "on a connection that is kept open too"
    with pytest.raises(NotFoundError):
        fused.run(token.token)
    assert saved.get_access_tokens() == []


def test_long_and_none_parameters_of_a_shared_function_travel_in_a_body() -> None:
    @fused.udf(name=f"shared_{uuid.uuid4().hex[:8]}")
    def udf(text: str = "default"):
        return None if text is None else len(text)

    udf.to_fused()
    token = udf.create_access_token().token
    assert fused.run(token, text="x" * 100_000) == 100_000
    assert fused.run(token, text=None) is None
    udf.delete_saved()


def test_sharing_something_unsaved_says_what_to_do() -> None:
    with pytest.raises(ValueError, match=r"is not saved; save it with \.to_fused\(\)"):
        add.create_access_token()


def test_a_wrong_token_is_said_with_what_to_do() -> None:
    fused.options.auth_token = "wrong"
    with pytest.raises(AuthenticationError, match="fused login"):
        fused.api.whoami()


def test_a_repository_that_cannot_be_reached_says_what_git_says() -> None:
    with pytest.raises(fused.errors.SourceError, match=r"git cannot read https://git\.invalid/owner/repo\.git: "):
        fused.load("https://git.invalid/owner/repo.git")


def test_a_format_can_be_asked_for() -> None:
    @fused.udf
    def table():
        import pandas as pd

        return pd.DataFrame({"n": [1]})

    result = fused.run(table, _format="csv", _return_response=True)
    assert result.original_headers["content-type"].startswith("text/csv")
    assert result.data.splitlines()[0].strip('"') == "n"


def test_the_servers_health_is_readable() -> None:
    assert fused.api.health()["status"] == "ok"
    assert fused.api.team_info()


def test_a_server_of_another_version_is_warned_about_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fused._transport._versions_seen", set())
    monkeypatch.setattr("fused._transport.__version__", "99.0.0")
    with pytest.warns(
        fused.warnings.FusedVersionWarning, match=f"this SDK is 99.0.0, the server is {fused.__version__}"
    ):
        fused.api.whoami()
    fused.api.whoami()


def test_a_missing_file_says_which_files_a_function_sees() -> None:
    @fused.udf
    def reads():
        return open("parcels.csv").read()  # noqa: PTH123

    with pytest.raises(fused.errors.UdfRuntimeError, match="sees the files of `/mount` and no others"):
        fused.run(reads)
