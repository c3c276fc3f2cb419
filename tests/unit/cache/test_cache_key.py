"""What is in a key and what is not."""

from __future__ import annotations

import functools
import importlib
import itertools
import sys
import threading
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from fused._cache.code import reach
from fused._cache.content import Parts, digest_of, encode
from tests.unit.cache.test_cache_values import FRAMES, GEOMETRIES, PLAIN


def define(text: str, name: str = "work", **names: Any) -> Any:
    """A function as a notebook's cell makes it."""
    import linecache

    filename = f"<cell {next(_numbers)}>"
    linecache.cache[filename] = (len(text), None, text.splitlines(keepends=True), filename)
    namespace: dict[str, Any] = {"__name__": "__main__", **names}
    exec(compile(text, filename, "exec", dont_inherit=True), namespace)
    return namespace[name]


_numbers = itertools.count()


def digest(text: str, **names: Any) -> bytes:
    return reach(define(text, **names)).digest()


BASE = "def work(x, k=1):\n    return x + RATE\n"


def test_comments_layout_docstrings_and_annotations_are_not_in_the_key() -> None:
    same = [
        BASE,
        "# note\n\n\ndef work(x,k = 1) :\n\n    return (x +\n        RATE)  # so\n",
        'def work(x, k=1):\n    """What it does."""\n    return x + RATE\n',
        "def work(x: 'int', k: 'int' = 1) -> 'int':\n    return x + RATE\n",
    ]
    assert len({digest(text, RATE=1) for text in same}) == 1


@pytest.mark.parametrize(
    "text",
    [
        "def work(x, k=1):\n    return x - RATE\n",
        "def work(x, k=2):\n    return x + RATE\n",
        "def work(x, *, k=1):\n    return x + RATE\n",
        "def work(x, j=1):\n    return x + RATE\n",
        "def work(x, k=1):\n    return x + RATE + 0\n",
        "async def work(x, k=1):\n    return x + RATE\n",
    ],
)
def test_any_other_code_has_another_key(text: str) -> None:
    assert digest(text, RATE=1) != digest(BASE, RATE=1)


def test_unchangeable_variables_are_in_the_key_when_the_code_reads_them() -> None:
    values: list[Any] = [1, 2, 1.0, "1", (1, 2), (1, 3), None, frozenset({1}), Path("/a"), Path("/b")]
    assert len({digest(BASE, RATE=value) for value in values}) == len(values)
    assert digest(BASE, RATE=1, OTHER=1) == digest(BASE, RATE=1, OTHER=2)


def test_a_variable_that_the_code_assigns_is_not_in_the_key() -> None:
    text = "def count():\n    global n\n    n += 1\ndef work(x):\n    count()\n    return x + n\n"
    assert digest(text, n=1) == digest(text, n=2)


def test_containers_are_in_the_key_where_they_are_only_read() -> None:
    for body in (
        "return RATES['a'] + x", "return [r for r in RATES]", "return len(RATES)", "return x in RATES",
        "return RATES.get(x)", "return f'{RATES}'", "for r in RATES:\n        x += 1\n    return x",
        "return (lambda: RATES['a'])()", "return RATES['a']['b']['c']", "return RATES == x",
    ):  # fmt: skip
        text = f"def work(x):\n    {body}\n"
        assert digest(text, RATES={"a": 1}) != digest(text, RATES={"a": 2}), body
    text = "def work(x):\n    return RATES['a'] + x\n"
    many = {str(number): number for number in range(2000)}
    assert digest(text, RATES={"a": threading.Lock()}) == digest(text, RATES={"a": [threading.Lock()]})
    assert digest(text, RATES={**many, "a": 1}) == digest(text, RATES={**many, "a": 2}), "too many to look at"
    for body in (
        "RATES.append(x)", "RATES[x] = 1", "RATES['a'].append(x)", "del RATES[x]", "RATES['a']['b'] = x", "use(RATES)",
        "return RATES", "RATES |= x", "r = RATES\n    r.append(1)", "RATES.pop()", "x.y = RATES",
    ):  # fmt: skip
        text = f"def work(x):\n    {body}\n"
        assert digest(text, RATES=[1]) == digest(text, RATES=[2]), body


def test_the_content_of_a_container_counts_when_it_is_changed_between_calls() -> None:
    rates = {"a": 1}
    found = reach(define("def work():\n    return RATES['a']\n", RATES=rates))
    first = found.digest()
    rates["a"] = 2
    assert found.digest() != first
    rates["a"] = 1
    assert found.digest() == first


def test_arrays_tables_and_geometries_of_the_module_are_in_the_key() -> None:
    text = "def work():\n    return use(DATA)\n"
    for one, other in (
        (np.arange(3), np.arange(4)),
        (pd.DataFrame({"a": [1]}), pd.DataFrame({"a": [2]})),
        (shapely.Point(1, 2), shapely.Point(1, 3)),
        (pa.table({"a": [1]}), pa.table({"a": [2]})),
    ):
        assert digest(text, DATA=one) != digest(text, DATA=other)
    array = np.arange(3)
    found = reach(define(text, DATA=array))
    first = found.digest()
    array[0] = 9
    assert found.digest() != first


def test_objects_without_content_are_in_the_key_by_their_type_only() -> None:
    assert digest("def work():\n    return LOCK\n", LOCK=threading.Lock()) == digest(
        "def work():\n    return LOCK\n", LOCK=threading.Lock()
    )


HELPERS = """
def deepest(x):
    return x * FACTOR
def helper(x):
    return deepest(x)
class Shape:
    sides = 4
    def area(self):
        return helper(self.sides)
def work(x):
    return {used}
"""


@pytest.mark.parametrize("used", ["helper(x)", "Shape().area()", "list(map(helper, x))", "(lambda y: helper(y))(x)"])
def test_helpers_are_in_the_key_however_far_away(used: str) -> None:
    text = HELPERS.format(used=used)
    first = digest(text, FACTOR=2)
    assert digest(text, FACTOR=2) == first
    assert digest(text, FACTOR=3) != first
    assert digest(text.replace("x * FACTOR", "x / FACTOR"), FACTOR=2) != first
    unused = HELPERS.format(used="x")
    assert digest(unused, FACTOR=2) == digest(unused, FACTOR=3)


def test_a_helper_that_is_replaced_is_noticed_by_the_next_call() -> None:
    work = define(HELPERS.format(used="helper(x)"), FACTOR=2)
    found = reach(work)
    first = found.digest()
    kept = work.__globals__["deepest"]
    work.__globals__["deepest"] = define("def deepest(x):\n    return 0\n", "deepest")
    assert found.digest() != first
    work.__globals__["deepest"] = kept
    assert found.digest() == first


def test_decorated_and_cached_helpers_count_by_what_they_wrap() -> None:
    text = "def work(x):\n    return helper(x)\n"

    def helper(number: int) -> Callable[..., Any]:
        function: Callable[..., Any] = define(f"def helper(x):\n    return {number}\n", "helper")
        return function

    import fused

    for decorate in (functools.cache, fused.cache, lambda f: functools.partial(f, x=1)):
        if decorate is fused.cache or decorate is functools.cache:
            assert digest(text, helper=decorate(helper(1))) == digest(text, helper=decorate(helper(1)))
            assert digest(text, helper=decorate(helper(1))) != digest(text, helper=decorate(helper(2)))


def test_closures_count_by_what_they_hold() -> None:
    def make(rate: Any) -> Callable[[int], Any]:
        def work(x: int) -> Any:
            return rate["a"] * x if isinstance(rate, dict) else rate * x

        return work

    assert reach(make(1)).digest() == reach(make(1)).digest() != reach(make(2)).digest()
    assert reach(make({"a": 1})).digest() != reach(make({"a": 2})).digest()
    assert reach(make(np.arange(2))).digest() != reach(make(np.arange(3))).digest()


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str], types.ModuleType]]:
    """Writes and imports a module of the user's."""
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)

    def write(name: str, text: str) -> types.ModuleType:
        (tmp_path / f"{name}.py").write_text(text)
        importlib.invalidate_caches()
        sys.modules.pop(name, None)
        sys.dont_write_bytecode, kept = True, sys.dont_write_bytecode
        try:
            return importlib.import_module(name)
        finally:
            sys.dont_write_bytecode = kept

    yield write
    for name in set(sys.modules) - before:
        del sys.modules[name]


def test_the_user_s_modules_count_by_what_is_used_of_them(modules: Callable[[str, str], types.ModuleType]) -> None:
    text = "def work(x):\n    return tools.area(x)\n"
    first = digest(text, tools=modules("tools", "def area(x):\n    return x\ndef other():\n    return 1\n"))
    assert digest(text, tools=modules("tools", "def area(x):\n    return x\ndef other():\n    return 2\n")) == first
    assert digest(text, tools=modules("tools", "def area(x):\n    return x + 1\n")) != first


def test_imports_inside_the_function_count_by_the_module_s_text(
    modules: Callable[[str, str], types.ModuleType],
) -> None:
    text = "def work(x):\n    import inner_tools\n    return inner_tools.area(x)\n"
    modules("inner_tools", "def area(x):\n    return x\n")
    first = digest(text)
    del sys.modules["inner_tools"]
    assert digest(text) == first, "also before it is imported"
    modules("inner_tools", "def area(x):\n    return x + 1\n")
    assert digest(text) != first


def test_installed_packages_count_by_name_and_version(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "def work(x):\n    return np.sum(x)\n"
    first = digest(text, np=np)
    assert digest(text, np=np) == first
    monkeypatch.setattr(np, "__version__", "99")
    assert digest(text, np=np) != first


def test_other_processes_make_the_same_keys(start: Callable[..., Any]) -> None:
    code = """
import fused, pandas, shapely, sys
RATES = {"a": 1}
NAMES = frozenset({"a", "b", "c", "d"})
def helper(x):
    return RATES["a"] if x in {"p", "q", "r", "s"} else NAMES
class Shape:
    def __init__(self): self.x = {1, "a", None}
@fused.cache
def work(x, frame, point):
    return helper(x)
work({"e", "f", "g"}, pandas.DataFrame({"x": [1], "s": ["a"]}), Shape())
import glob, os
print(*sorted(os.path.basename(p) for p in glob.glob(os.environ["FUSED_CACHE_DIR"] + "/*/data_*")))
"""
    names = set()
    for seed in ("1", "2", "3"):
        output, _ = start(code, PYTHONHASHSEED=seed).communicate(timeout=60)
        names.add(output)
    assert len(names) == 1 and len(names.pop().split()) == 1, names


def test_another_owner_has_other_names(
    start: Callable[..., Any], tmp_path: Path, entries: Callable[[], list[Path]]
) -> None:
    code = "import fused\n@fused.cache\ndef work():\n    print('computed')\n    return 1\nwork()\n"
    outputs = [start(code, FUSED_HOME=str(tmp_path / home)).communicate(timeout=60)[0].strip() for home in "aab"]
    assert outputs == ["computed", "", "computed"]
    assert len(entries()) == 2
    assert (tmp_path / "a" / "cache_key").stat().st_mode & 0o777 == 0o600


# --- arguments ------------------------------------------------------------------------------------------------------


def test_equal_arguments_have_equal_digests_and_others_have_not() -> None:
    import copy

    values: list[Any] = [*PLAIN, *FRAMES.values()]
    values += [gpd.GeoDataFrame({"n": range(len(each))}, geometry=each, crs=4326) for each in GEOMETRIES.values()]
    values += [np.arange(3), np.arange(3.0), np.arange(4).reshape(2, 2), np.arange(4).reshape(4, 1), np.float64(1)]
    values += [np.ma.array([1, 2], mask=[True, False]), np.ma.array([1, 2], mask=[False, True])]
    values += [pa.table({"a": [1]}), pa.table({"a": [2]}), pd.Series([1]), pd.Series([1], name="a"), int, str, len]
    seen: dict[bytes, Any] = {}
    for value in values:
        found = digest_of(value)
        assert digest_of(copy.deepcopy(value)) == found, f"{value!r} has another digest when it is copied"
        assert found not in seen, f"{value!r} and {seen[found]!r} have one digest"
        seen[found] = value


def test_arrays_count_by_values_not_by_layout() -> None:
    array = np.arange(12).reshape(3, 4)
    assert digest_of(array) == digest_of(np.asfortranarray(array)) == digest_of(array.T.copy().T)
    assert digest_of(array[:, ::2]) == digest_of(array[:, ::2].copy())
    table = pa.table({"a": [1, 2, 3]})
    assert digest_of(table.slice(1)) == digest_of(pa.table({"a": [2, 3]}))
    assert digest_of(pa.table({"a": pa.chunked_array([[1], [2]])})) == digest_of(pa.table({"a": [1, 2]}))


ANY = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=5)
    | st.binary(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text(max_size=3), inner, max_size=3)
        | st.frozensets(st.integers() | st.text(max_size=3), max_size=4)
    ),
    max_leaves=6,
)


@settings(max_examples=1500, deadline=None)
@given(one=st.lists(ANY, max_size=3), other=st.lists(ANY, max_size=3))
def test_two_lists_of_arguments_have_one_digest_only_if_they_are_equal(one: list[Any], other: list[Any]) -> None:
    def bytes_of(value: Any) -> bytes:
        out = Parts()
        encode(value, out)
        return bytes(out.small)

    def exact(value: Any) -> Any:
        if isinstance(value, dict):
            return ("d", tuple((exact(key), exact(item)) for key, item in value.items()))
        if isinstance(value, list | tuple):
            return (type(value).__name__, tuple(map(exact, value)))
        if isinstance(value, frozenset):
            return ("f", frozenset(map(exact, value)))
        return (type(value).__name__, repr(value))

    assert (bytes_of(one) == bytes_of(other)) == (exact(one) == exact(other))
