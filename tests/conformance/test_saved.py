"""Saving, loading, listing, running by name, deleting."""

from __future__ import annotations

import pytest

import fused


@fused.udf
def answer(n: int = 1):
    import pandas as pd

    return pd.DataFrame({"n": [n * 2]})


def id_of(udf) -> str:
    return udf.metadata["fused:id"]


def run_by_name(name, email, is_v2, **parameters):
    return fused.run(name, **parameters) if is_v2 else fused.run(email, name, **parameters)


def test_saving_gives_an_id_and_loading_the_same_code(save, name):
    saved = save(answer, name)
    assert id_of(saved)
    loaded = fused.load(name)
    assert "return pd.DataFrame" in loaded.code
    assert id_of(loaded) == id_of(saved)


def test_loading_by_email_and_name_by_id_and_by_user_name(save, name, email, is_v2):
    saved = save(answer, name)
    user = fused.api.whoami()
    # 1.14.2 takes an id for the name of an own function.
    for wanted in (f"{email}/{name}", f"{user['handle']}/{name}", *([id_of(saved)] if is_v2 else [])):
        assert id_of(fused.load(wanted)) == id_of(saved), wanted


def test_loading_from_the_team(save, name):
    saved = save(answer, name)
    assert id_of(fused.load(f"team/{name}")) == id_of(saved)


def test_a_loaded_function_runs_here_and_there(run, save, name, is_v2):
    save(answer, name)
    loaded = fused.load(name)
    assert run(loaded, n=4)["n"].tolist() == [8]
    assert fused.run(loaded, n=5, engine="local")["n"].tolist() == [10]


def test_running_by_name(save, name, email, is_v2):
    save(answer, name)
    assert run_by_name(name, email, is_v2, n=21)["n"].tolist() == [42]


def test_running_by_email_and_name(save, name, email):
    save(answer, name)
    assert fused.run(f"{email}/{name}", n=21)["n"].tolist() == [42]


@pytest.mark.v2
def test_running_by_id(save, name):
    saved = save(answer, name)
    assert fused.run(id_of(saved), n=2)["n"].tolist() == [4]


def test_running_a_saved_function_from_the_team(save, name):
    save(answer, name)
    assert fused.run(f"team/{name}", n=2)["n"].tolist() == [4]


def test_saving_over_runs_the_new_code(save, name, email, is_v2):
    save(answer, name)

    @fused.udf
    def udf(n: int = 1):
        import pandas as pd

        return pd.DataFrame({"n": [n * 3]})

    before = id_of(fused.load(name))
    udf.name = name
    if is_v2:
        udf.to_fused(overwrite=True)
    else:
        udf.to_fused(name, over_id=before)
    assert id_of(fused.load(name)) == before
    assert run_by_name(name, email, is_v2, n=2)["n"].tolist() == [6]


def test_saving_the_same_object_again_saves_over_it(save, name):
    saved = save(answer, name)
    first = id_of(saved)
    saved.to_fused()
    assert id_of(saved) == first


@pytest.mark.v2
def test_a_name_that_is_taken_is_refused_with_a_difference(save, name):
    save(answer, name)

    @fused.udf
    def udf(n: int = 1):
        return n

    udf.name = name
    with pytest.raises(ValueError, match=name):
        udf.to_fused(overwrite=False)


@pytest.mark.v1
def test_a_name_that_is_taken_is_refused_for_the_old_client(save, name):
    save(answer, name)

    @fused.udf
    def udf(n: int = 1):
        return n

    with pytest.raises(Exception, match=name):
        udf.to_fused(name, as_new=True)


@pytest.mark.v2
def test_saving_into_an_unknown_collection_says_so(name):
    @fused.udf
    def udf():
        return 1

    udf.name = name
    with pytest.raises(Exception, match="nowhere_collection"):
        udf.to_fused(collection_name="nowhere_collection")


@pytest.mark.parametrize("bad", ["a/b", "..", "x" * 300])
def test_a_name_that_cannot_be_used_is_refused(bad, is_v2):
    @fused.udf
    def udf():
        return 1

    with pytest.raises(Exception):  # noqa: B017 (the client's own check, or ours)
        if is_v2:
            udf.name = bad
            udf.to_fused()
        else:
            udf.to_fused(bad)


def test_parameters_and_headers_survive_saving(run, save, name, email, is_v2, tmp_path):
    module = tmp_path / "helpers.py"
    module.write_text("FACTOR = 7\n")

    @fused.udf(headers=[str(module)], cache_max_age="5m")
    def udf(n: int = 1):
        import pandas as pd
        from helpers import FACTOR

        return pd.DataFrame({"n": [n * FACTOR]})

    save(udf, name)
    loaded = fused.load(name) if not is_v2 else fused.load(name, import_globals=False)
    assert [header.module_name for header in loaded.headers] == ["helpers"]
    assert run_by_name(name, email, is_v2, n=2)["n"].tolist() == [14]
    assert run(loaded, n=3)["n"].tolist() == [21]


def test_set_parameters_are_the_defaults_of_the_saved_function(save, name, email, is_v2):
    udf = answer.set_parameters({"n": 50})
    save(udf, name)
    assert run_by_name(name, email, is_v2)["n"].tolist() == [100]
    assert run_by_name(name, email, is_v2, n=1)["n"].tolist() == [2]


def test_saved_functions_are_listed(save, name, is_v2):
    save(answer, name)
    listed = fused.api.get_udfs(n=1_000, by="slug") if not is_v2 else fused.api.get_udfs(by="slug")
    assert any(str(key).endswith(name) for key in listed), list(listed)


def test_the_list_is_paged_until_its_end(save, is_v2):
    names = [f"page_{i:02}" for i in range(30)]
    for one in names:

        @fused.udf
        def udf():
            return 1

        save(udf, one)
    keywords = {} if is_v2 else {"n": 1_000, "max_requests": None}
    listed = fused.api.get_udfs(by="slug", **keywords)
    assert {str(key).rsplit("/", 1)[-1] for key in listed} >= set(names)


def test_the_teams_and_the_public_lists_answer(save, name):
    save(answer, name)
    api = fused.api.FusedAPI()
    assert any(str(key).endswith(name) for key in api.get_udfs(n=1_000, by="slug", whose="team"))
    assert len(api.get_udfs(n=10, whose="public")) == 0


def test_a_deleted_function_is_gone(save, name, email, is_v2):
    saved = save(answer, name)
    saved.delete_saved()
    with pytest.raises(Exception, match=r"(?i)not found|no function|404|cannot|could not|fail|name"):
        run_by_name(name, email, is_v2)
    with pytest.raises(Exception):  # noqa: B017
        fused.load(name)


def test_code_with_an_entry_point_of_another_name_runs(run, save, name, email, is_v2):
    @fused.udf
    def something_else(n: int = 1):
        import pandas as pd

        return pd.DataFrame({"n": [n + 100]})

    assert run(something_else, n=1)["n"].tolist() == [101]
    save(something_else, name)
    assert run_by_name(name, email, is_v2, n=2)["n"].tolist() == [102]


def test_an_exported_directory_runs_again(run, save, tmp_path, is_v2):
    answer.to_directory(tmp_path / "exported")
    assert (tmp_path / "exported" / "meta.json").is_file()
    if is_v2:
        assert run(fused.load(str(tmp_path / "exported")), n=3)["n"].tolist() == [6]


@pytest.mark.v2
def test_code_as_text_runs(run):
    udf = fused.load("@fused.udf\ndef udf(n: int = 1):\n    return n + 1\n")
    assert run(udf, n=1) == 2


@pytest.mark.v2
def test_import_of_github_code_is_refused_with_a_reason():
    with pytest.raises(Exception, match=r"(?i)internet|clone|403|forbidden"):
        fused.load("https://github.com/example/example/tree/main/udf")


def test_the_revisions_of_our_server_do_not_disturb_the_client(save, name, email, is_v2):
    saved = save(answer, name)
    for _ in range(3):
        saved.to_fused()
    assert run_by_name(name, email, is_v2, n=3)["n"].tolist() == [6]


def test_a_saved_function_by_the_short_route(save, name, is_v2):
    if not is_v2:
        pytest.skip("1.14.2 has no such call")

    @fused.udf
    def sums(values: list = [], factor: float = 1.0):  # noqa: B006 what published functions write
        return {"sum": sum(values) * factor}

    save(sums, name)
    api = fused.api.FusedAPI()
    assert api._run_lite(name, {"values": [1, 2, 3], "factor": 0.5}) == {"sum": 3.0}
    with pytest.raises(Exception, match="values"):
        api._run_lite(name, {"values": "no list"})
    with pytest.raises(Exception, match="nosuch"):
        api._run_lite("nosuch", {})
