"""Where a function's text comes from, and what is said where there is none."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import fused
from fused.errors import SourceError

PYTHON = Path(fused.__file__).parents[1]
LIMIT = 7


def run_python(*arguments: str, stdin: str | None = None, cwd: Path | None = None) -> str:
    done = subprocess.run(
        [sys.executable, *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        cwd=cwd,
        env={"PYTHONPATH": str(PYTHON), "PATH": "/usr/bin:/bin", "HOME": "/nonexistent"},
        timeout=120,
    )
    return done.stdout + done.stderr


def test_a_function_of_a_file_comes_with_its_decorators_and_comments() -> None:
    # fmt: off
    @fused.udf(
        name="counted",
        cache_max_age="2h",
    )
    def udf(n: int = 1):  # how many
        # inside
        return n
    # fmt: on

    assert udf.code == textwrap.dedent(
        """\
        @fused.udf(
            name="counted",
            cache_max_age="2h",
        )
        def udf(n: int = 1):  # how many
            # inside
            return n"""
    )
    assert (udf.name, udf.entrypoint, udf.cache_max_age) == ("counted", "udf", 7200)


def test_a_plain_function_gets_the_decorator() -> None:
    def plain(n=1):
        return n

    assert fused.udf(plain).code.startswith("@fused.udf\ndef plain(n=1):")
    made = fused.udf(name="other", cache_max_age="60m", default_parameters={"n": 4})(plain)
    assert made.code.startswith("@fused.udf(name='other', cache_max_age='1h', default_parameters={'n': 4})\ndef plain(")


def test_multi_line_strings_keep_their_own_indentation_inside_an_indented_function() -> None:
    @fused.udf
    def udf():
        return """
two
  four"""

    namespace = {"fused": fused}
    exec(udf.code, namespace)
    assert namespace["udf"].fn() == "\ntwo\n  four" == udf.fn()
    assert udf.code.startswith("@fused.udf\ndef udf():\n    return")


def test_async_functions_are_taken() -> None:
    @fused.udf
    async def udf(n: int = 1):
        return n

    assert "async def udf" in udf.code


def test_names_needed_at_definition_become_imports_and_constants(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        textwrap.dedent(
            """
            from __future__ import annotations
            import datetime as dt
            from typing import Optional
            from collections.abc import Sequence
            import json
            from fused import udf
            AGE = "3h"
            LIMIT = 5
            class Own: ...

            @udf(cache_max_age=AGE)
            def f(
                n: Optional[int] = LIMIT, when: dt.date = None, many: Sequence[int] = (), own: Own = None
            ) -> json.JSONDecoder:
                return len(json.dumps(n))
            """
        )
    )
    out = run_python("-c", "import mine; print(mine.f.code)", cwd=tmp_path)
    head, rest = out.split("@udf", 1)
    assert rest.startswith("(cache_max_age='3h')\ndef f("), "the record and the text say the same age"
    assert head.splitlines() == [
        "LIMIT = 5",
        "from collections.abc import Sequence",
        "from fused import udf",
        "from typing import Optional",
        "import datetime as dt",
        "import json",
    ]


def test_python_dash_c_keeps_its_source() -> None:
    code = "import fused\n@fused.udf\ndef udf(n=1):\n    return n  # here\nprint(udf.code)"
    assert "return n  # here" in run_python("-c", code)
    assert "return n  # here" in run_python(
        "-Wdefault", "-Ic", f"import sys; sys.path.insert(0, {str(PYTHON)!r})\n{code}"
    )


def test_exec_inside_dash_c_is_not_mistaken_for_it() -> None:
    code = "import fused\ntext = '@fused.udf\\ndef udf(n=1):\\n    return n'\nexec(text)\nprint(udf.code)"
    out = run_python("-c", code)
    assert "Python keeps no source of 'udf': it was made by exec()" in out
    assert "fused.load('''" in out


def test_standard_input_says_why_and_what_to_do_and_runs_locally() -> None:
    code = (
        "import fused\n@fused.udf\ndef udf(n=1):\n    return n\nprint(fused.run(udf, n=5, engine='local'))\nudf.code\n"
    )
    out = run_python("-", stdin=code)
    assert out.startswith("5\n")
    assert "typed at the plain Python prompt or read from standard input" in out


def test_a_file_that_changed_after_its_import_gives_the_text_that_was_imported(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("import fused\n@fused.udf\ndef f(): return 1\n")
    out = run_python("-c", f"import mine\nopen({str(file)!r}, 'w').write('# gone')\nprint(mine.f.code)", cwd=tmp_path)
    assert out == "@fused.udf\ndef f(): return 1\n"


def test_a_notebook_cell_keeps_its_source() -> None:
    # IPython puts each cell into linecache under a name of its own; so does this.
    import linecache

    text = "@fused.udf\ndef cell(n: int = 1):\n    return n\n"
    linecache.cache["<ipython-input-3-abc>"] = (
        len(text),
        None,
        text.splitlines(keepends=True),
        "<ipython-input-3-abc>",
    )
    namespace = {"fused": fused}
    exec(compile(text, "<ipython-input-3-abc>", "exec"), namespace)
    assert namespace["cell"].code == text.strip()


def test_lambdas_are_refused_with_the_reason() -> None:
    with pytest.raises(SourceError, match="a lambda cannot be a UDF"):
        fused.udf(lambda n: n)
    with pytest.raises(SourceError, match="a lambda cannot be a UDF"):
        fused.run(lambda n: n)


def test_closures_name_what_they_captured() -> None:
    factor = 3
    with pytest.raises(SourceError, match=r"'udf' uses 'factor' of the function around it .*default_parameters"):

        @fused.udf
        def udf(n=1):
            return n * factor


def test_a_nested_function_without_captured_names_is_fine_and_may_call_itself() -> None:
    @fused.udf
    def down(n: int = 3):
        return 0 if n == 0 else down(n=n - 1)

    assert down.code.startswith("@fused.udf\ndef down")
    assert fused.run(down, n=2) == 0


def test_methods_classes_and_values_are_refused() -> None:
    class Holder:
        def method(self): ...

    with pytest.raises(SourceError, match="is a method"):
        fused.udf(type("Outer", (), {"m": _method})().m.__func__)
    with pytest.raises(TypeError, match="not a class"):
        fused.udf(Holder)
    with pytest.raises(TypeError, match="int object"):
        fused.udf(3)  # type: ignore[call-overload]
    with pytest.raises(TypeError, match=r"@fused.udf\(name='hello'\)"):
        fused.udf("hello")  # type: ignore[call-overload]


def _method(self): ...


_method.__qualname__ = "Outer.m"
