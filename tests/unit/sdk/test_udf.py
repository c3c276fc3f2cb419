"""`@fused.udf` and what it makes."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import pytest

import fused
from fused.errors import SourceError
from fused.models import Header, Schema, Udf, UdfJobStepConfig


@fused.udf(default_parameters={"n": 5})
def hello(n: int = 1, *, tag: str = "x"):
    """Says hello."""
    return f"{tag}{n}"


def test_bare_and_called_decorator_make_a_udf() -> None:
    @fused.udf
    def bare(): ...

    @fused.udf()
    def called(): ...

    assert isinstance(bare, Udf)
    assert isinstance(called, Udf)
    assert bare.name == "bare"
    assert bare.parameters == {}
    assert bare.cache_max_age is None


def test_the_seeds_and_the_newer_keywords_are_kept() -> None:
    @fused.udf(
        name="named", cache_max_age="10s", engine="remote", instance_type="realtime", disk_size_gb=3, region="eu"
    )
    def udf(): ...

    assert (udf.name, udf.cache_max_age, udf.engine, udf.instance_type) == ("named", 10, "remote", "realtime")
    assert (udf.disk_size_gb, udf.region) == (3, "eu")
    assert fused.udf(parameters={"a": 1})(_plain).parameters == {"a": 1}


def _plain(a=0): ...


def test_an_unknown_keyword_outside_of_a_worker_is_a_type_error_that_lists_the_known_ones() -> None:
    with pytest.raises(TypeError, match=r"no keyword 'cache'; it has fn, schema, name, cache_max_age"):
        fused.udf(cache="1h")


def test_an_unknown_keyword_and_a_missing_header_are_accepted_in_a_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fused._udf.is_loaded_code", lambda: True)

    @fused.udf(something_newer=3, headers=["not_here.py"])
    def udf(n=1):
        return n

    assert udf.fn(2) == 2
    assert udf.headers == []


@pytest.mark.parametrize(
    ("keywords", "error", "says"),
    [
        ({"cache_max_age": "soon"}, ValueError, "cache_max_age='soon' is not a duration"),
        ({"name": "a/b"}, ValueError, "cannot be a UDF's name"),
        ({"name": ""}, ValueError, "cannot be a UDF's name"),
        ({"name": ".."}, ValueError, "cannot be a UDF's name"),
        ({"name": "x" * 300}, ValueError, "1 to 200 characters"),
        ({"default_parameters": [1]}, TypeError, "dictionary with names as keys"),
        ({"default_parameters": {}, "parameters": {}}, ValueError, "two names of one thing"),
        ({"headers": "my_header.py"}, TypeError, "headers is a list of files"),
        ({"headers": [3]}, TypeError, "a header is a file's path"),
    ],
)
def test_impossible_values_are_refused_at_the_decorator(keywords: dict, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        fused.udf(**keywords)(_plain)


def test_headers_become_modules_of_the_run_and_are_gone_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_header.py").write_text("def double(n):\n    return 2 * n\n")

    @fused.udf(headers=["my_header.py", Header("other", "VALUE = 10")])
    def udf(n: int = 1):
        import my_header
        import other

        return my_header.double(n) + other.VALUE

    assert [header.module_name for header in udf.headers] == ["my_header", "other"]
    assert fused.run(udf, n=4, engine="local") == 18
    assert "my_header" not in sys.modules
    assert udf.utils.double(2) == 4
    assert "headers=" not in udf.code
    assert udf.code.startswith("@fused.udf\ndef udf")


def test_a_header_that_is_not_there_says_where_it_was_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SourceError, match=f"'none.py' is not there; looked for .* and {tmp_path}/none.py"):
        fused.udf(headers=["none.py"])(_plain)
    (tmp_path / "a.py").write_text("")
    with pytest.raises(ValueError, match="two headers are called 'a'"):
        fused.udf(headers=["a.py", Header("a", "")])(_plain)
    (tmp_path / "bad-name.py").write_text("")
    with pytest.raises(ValueError, match="cannot be imported"):
        fused.udf(headers=["bad-name.py"])(_plain)


def test_calling_outside_of_a_run_gives_a_step_that_says_how_to_run_it() -> None:
    job = hello(n=3)
    assert isinstance(job, UdfJobStepConfig)
    assert job.udf.parameters == {"n": 3}
    assert "fused.run(job)" in repr(job)
    assert "fused.run(job)" in job._repr_html_()
    assert hello(7).udf.parameters == {"n": 7}
    assert hello().udf.parameters == {"n": 5}
    assert hello.parameters == {"n": 5}, "calling must not change the function"


def test_arg_list_takes_values_dictionaries_and_tables() -> None:
    import pandas as pd

    assert hello(arg_list=[1, 2]).input == [{"n": 1}, {"n": 2}]
    assert hello(arg_list=[{"n": 1, "tag": "a"}]).input == [{"n": 1, "tag": "a"}]
    assert hello(arg_list=pd.DataFrame({"n": [1, 2]})).input == [{"n": 1}, {"n": 2}]
    with pytest.raises(TypeError, match="no parameter 'unknown'; its parameters are: n, tag"):
        hello(arg_list=[{"unknown": 1}])
    with pytest.raises(TypeError, match="generator"):
        hello(arg_list=(n for n in range(3)))
    with pytest.raises(ValueError, match="empty"):
        hello(arg_list=[])
    with pytest.raises(TypeError, match="list of values"):
        hello(arg_list="abc")


def test_unknown_and_doubled_arguments_are_type_errors() -> None:
    with pytest.raises(TypeError, match="no parameter 'm'; its parameters are: n, tag"):
        hello(m=1)
    with pytest.raises(TypeError, match="got 'n' twice"):
        hello(1, n=2)
    with pytest.raises(TypeError, match="takes 2 parameters, 3 were given"):
        hello(1, 2, 3)


def test_calling_inside_a_local_run_runs_it() -> None:
    @fused.udf
    def outer():
        return [hello(n=1), hello(arg_list=[1]).input]

    assert fused.run(outer, engine="local") == ["x1", [{"n": 1}]]


def test_set_parameters_copies_unless_in_place() -> None:
    changed = hello.set_parameters({"tag": "b"})
    assert changed.parameters == {"n": 5, "tag": "b"}
    assert hello.parameters == {"n": 5}
    assert hello.set_parameters({"tag": "b"}, replace_parameters=True).parameters == {"tag": "b"}
    twin = hello.copy()
    assert twin.set_parameters({"n": 1}, inplace=True) is twin
    assert twin.parameters == {"n": 1}


def test_run_local_shows_the_schema_in_a_form_that_the_decorator_takes() -> None:
    @fused.udf
    def table(n: int = 2):
        import pandas as pd

        return pd.DataFrame({"id": range(n), "label": "a"})

    result = table.run_local(n="3")
    assert len(result.data) == 3
    assert '@fused.udf(schema="id:int64 label:' in repr(result)
    pasted = repr(result).split('schema="')[1].split('"')[0]
    assert Schema.parse(pasted) == result.schema
    assert table.table_schema is None
    table.run_local(inplace=True)
    assert table.table_schema == result.schema


def test_validate_output_warns_about_each_difference() -> None:
    @fused.udf(schema="id:string gone:int64")
    def table():
        import pandas as pd

        return pd.DataFrame({"id": [1], "extra": [2]})

    with pytest.warns(fused.warnings.FusedTypeWarning, match="'id' is int64, not string.*'gone'.*missing.*'extra'"):
        table.run_local(validate_output=True)


def test_eval_schema_reads_the_edited_decorator_again() -> None:
    udf = fused.load("@fused.udf(schema='a:int64')\ndef udf():\n    ...")
    udf.code = "@fused.udf(schema='b:string')\ndef udf():\n    ..."
    assert str(udf.table_schema) == "a:int64"
    assert str(udf.eval_schema().table_schema) == "b:string"
    udf.eval_schema(inplace=True)
    assert str(udf.table_schema) == "b:string"


def test_the_record_holds_what_travels_and_comes_back() -> None:
    record = hello.to_json()
    assert record["type"] == "geopandas_v2"
    assert record["entrypoint"] == "hello"
    assert record["metadata"] is None
    assert record["parameters"] == {"n": 5}
    twin = Udf.of_json(record)
    assert twin.code == hello.code
    assert fused.run(twin, engine="local") == "x5"
    step = UdfJobStepConfig.of_json(hello(arg_list=[1, 2]).to_json())
    assert step.input == [{"n": 1}, {"n": 2}]


def test_repr_and_html_say_what_it_is_and_escape_what_is_foreign() -> None:
    assert repr(hello) == "<Udf 'hello': hello(n, tag), parameters={'n': 5}>"
    evil = fused.load("@fused.udf(name='<script>')\ndef udf(a='</pre><script>x</script>'):\n    '''<b>'''")
    assert "<script>" not in evil._repr_html_()
    assert "Says hello." in hello._repr_html_()


def test_a_loaded_module_shows_its_names_and_others_are_attribute_errors() -> None:
    common = fused.load(
        "PI = 3\ndef area(r):\n    return PI * r * r\n@fused.udf\ndef udf(r: int = 1):\n    return area(r)"
    )
    assert common.area(2) == 12
    assert common.PI == 3
    with pytest.raises(AttributeError, match="'nothing'"):
        _ = common.nothing
    with pytest.raises(AttributeError):
        _ = hello.nothing
    assert not hasattr(common, "__arrow_c_stream__")


def test_the_docstring_and_module_are_the_functions() -> None:
    assert hello.__doc__ == "Says hello."
    assert hello.__wrapped__ is hello.fn


def test_a_loaded_udf_can_be_pickled() -> None:
    udf = fused.load("@fused.udf\ndef udf(n: int = 1):\n    return n + 1")
    assert fused.run(pickle.loads(pickle.dumps(udf)), n=3, engine="local") == 4


def test_a_script_can_run_its_own_function_by_the_module(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(
        "import fused\n@fused.udf\ndef udf(n: int = 1):\n    return n * 2\nif __name__ == '__main__':\n    "
        "print(fused.run(udf, n=21))\n"
    )
    environment = {"PYTHONPATH": str(Path(fused.__file__).parents[1]), "FUSED_HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, tmp_path / "script.py"], capture_output=True, text=True, env=environment)
    assert (done.stdout, done.stderr) == ("42\n", "")


def test_type_checkers_see_the_decorator_bare_and_with_its_keywords(tmp_path: Path) -> None:
    (tmp_path / "sample.py").write_text(
        "import fused\n\n@fused.udf\ndef bare() -> int:\n    return 1\n\n"
        '@fused.udf(cache_max_age="1h")\ndef called() -> int:\n    return 1\n\n'
        "reveal_type(bare)\nreveal_type(called)\nfused.udf(name=3)\n"
    )
    root = Path(fused.__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--config-file", str(root / "pyproject.toml"), str(tmp_path / "sample.py")],
        capture_output=True, text=True, cwd=root, timeout=300,
    )  # fmt: skip
    assert done.stdout.count('Revealed type is "fused.models.udf.Udf"') == 2, done.stdout + done.stderr
    assert 'matches argument type "int"' in done.stdout
