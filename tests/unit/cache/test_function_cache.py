"""`@fused.cache`: what a caller sees."""

from __future__ import annotations

import asyncio
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import fused
from fused._cache.errors import CacheWarning


def test_the_second_call_does_not_run_the_function() -> None:
    calls = []

    @fused.cache
    def work(x: int) -> dict[str, int]:
        calls.append(x)
        return {"x": x}

    assert work(1) == work(1) == {"x": 1}
    assert work(2) == {"x": 2}
    assert calls == [1, 2]
    assert work.__name__ == "work" and work.__wrapped__(3) == {"x": 3}  # type: ignore[attr-defined]


def test_positional_named_and_default_arguments_share_an_entry() -> None:
    calls = []

    @fused.cache
    def work(a: int, b: int = 2, *rest: int, c: int = 3, **more: int) -> int:
        calls.append(a)
        return a + b + c

    assert work(1) == work(1, 2) == work(a=1, b=2) == work(b=2, a=1, c=3) == work(1, c=3)
    assert len(calls) == 1
    work(1, 2, 5)
    work(1, 2, x=1, y=2)
    work(1, 2, y=2, x=1)
    assert len(calls) == 3


def test_values_that_differ_in_type_or_order_have_entries_of_their_own() -> None:
    calls: list[Any] = []

    @fused.cache
    def work(x: Any) -> str:
        calls.append(x)
        return repr(x)

    values = [
        1,
        1.0,
        True,
        "1",
        b"1",
        None,
        [1],
        (1,),
        [[1]],
        {"a": 1, "b": 2},
        {"b": 2, "a": 1},
        "",
        "a\0b",
        ["a", "b"],
    ]
    assert [work(value) for value in values] == [repr(value) for value in values] == [work(value) for value in values]
    assert len(calls) == len(values)


def test_a_caller_that_changes_what_it_got_does_not_change_the_cache() -> None:
    @fused.cache
    def work() -> dict[str, list[int]]:
        return {"a": [1]}

    work()["a"].append(2)
    work()["a"].append(3)
    assert work() == {"a": [1]}


def test_the_decorator_has_the_seed_s_parameters_and_the_newer_names(entries: Callable[[], list[Path]]) -> None:
    import inspect

    assert str(inspect.signature(fused.cache)).startswith("(func: 'Callable[..., Any] | None' = None, cache_max_age:")
    parameters = inspect.signature(fused.cache).parameters
    assert [(each.name, each.default) for each in parameters.values()][:4] == [
        ("func", None), ("cache_max_age", "12h"), ("path", "tmp"), ("concurrent_lock_timeout", 120),
    ]  # fmt: skip

    def work() -> int:
        return 1

    for settings in (
        {"cache_max_age": "48h", "path": "mine", "concurrent_lock_timeout": 5, "reset": False},
        {"cache_max_age": 60, "cache_folder_path": "newer", "cache_reset": None, "cache_key_exclude": None},
        {"cache_storage": "auto", "cache_verbose": None, "max_size": "10GB", "concurrent_lock_timeout": "2m"},
    ):
        assert fused.cache(**settings)(work)() == 1  # type: ignore[arg-type]
    assert {path.parent.name for path in entries()} == {"mine", "newer", __name__}


@pytest.mark.parametrize(
    ("settings", "error", "says"),
    [
        ({"cache_max_age": "-1s"}, ValueError, "'-1s' is not a duration"),
        ({"cache_max_age": -1}, ValueError, "out of range"),
        ({"cache_max_age": "99999999999d"}, ValueError, "out of range"),
        ({"cache_max_age": "1.5h"}, ValueError, "not a duration"),
        ({"cache_max_age": "1 fortnight"}, ValueError, "s, m, h, d"),
        ({"cache_max_age": True}, ValueError, "not a duration"),
        ({"path": "../x"}, ValueError, "'..' is not allowed"),
        ({"path": "a\0b"}, ValueError, "not a folder"),
        ({"path": ""}, ValueError, "not a folder"),
        ({"path": 3}, TypeError, "not a folder"),
        ({"concurrent_lock_timeout": -1}, ValueError, "from 0 up"),
        ({"concurrent_lock_timeout": "soon"}, ValueError, "not a duration"),
        ({"reset": "yes"}, TypeError, "not True or False"),
        ({"storage": "disk"}, ValueError, "'auto', 'mount', 'local' or 'object'"),
        ({"cache_key_exclude": ["y"]}, ValueError, "has no parameter 'y'"),
        ({"cache_key_exclude": 3}, TypeError, "parameter's name"),
        ({"max_size": "big"}, ValueError, "'500MB'"),
        ({"ttl": 3}, TypeError, "has no keyword 'ttl'; it has cache_max_age"),
        ({"reset": True, "cache_reset": True}, TypeError, "twice"),
    ],
)
def test_a_setting_that_cannot_be_is_an_error_that_says_what_can(
    settings: dict[str, Any], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        fused.cache(**settings)(lambda x: x)


def test_generators_classes_and_udfs_are_refused() -> None:
    def numbers() -> Any:
        yield 1

    async def later() -> Any:
        yield 1

    for function in (numbers, later):
        with pytest.raises(TypeError, match="generator"):
            fused.cache(function)
    with pytest.raises(TypeError, match="wants a function"):
        fused.cache(int)
    with pytest.raises(TypeError, match=r"settings are named: @fused\.cache\(path="):
        fused.cache("1h")  # type: ignore[call-overload]
    with pytest.raises(TypeError, match="goes on top"):
        fused.cache(fused.load("@fused.udf\ndef udf():\n    return 1\n"))


def test_settings_may_be_given_to_a_call_and_do_not_stick() -> None:
    calls = []

    @fused.cache
    def work(x: int) -> int:
        calls.append(x)
        return len(calls)

    assert work(1) == 1
    assert work(1, reset=True) == 2
    assert work(1) == 2
    assert work(1, cache_reset=True) == 3
    assert work(1, cache_max_age=0) == 4
    assert work(1, cache_max_age="0s") == 5
    assert work(1) == 3
    with pytest.raises(TypeError, match=r"unexpected keyword argument 'resett'.*its parameters are x.*cache_max_age"):
        work(1, resett=True)


def test_a_parameter_of_the_function_keeps_its_name() -> None:
    @fused.cache
    def work(path: str, reset: bool = False) -> str:
        return f"{path} {reset}"

    assert work("a", reset=True) == "a True"
    assert work(path="b") == "b False"


def test_reset_in_the_decorator_computes_every_time_and_keeps_the_newest() -> None:
    numbers = iter(range(10))

    def number() -> int:
        return next(numbers)

    assert fused.cache(number)() == 0
    assert fused.cache(reset=True)(number)() == 1
    assert fused.cache(number)() == 1


def test_an_entry_that_is_too_old_is_computed_again() -> None:
    calls = []

    @fused.cache(cache_max_age="1s")
    def work() -> int:
        calls.append(1)
        return len(calls)

    assert (work(), work()) == (1, 1)
    deadline = time.monotonic() + 120
    while work() == 1:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert work() == 2


def test_exceptions_are_not_kept() -> None:
    calls = []

    @fused.cache
    def work() -> int:
        calls.append(1)
        if len(calls) == 1:
            raise KeyError("first")
        return 5

    with pytest.raises(KeyError, match="first"):
        work()
    assert work() == work() == 5
    assert len(calls) == 2


def test_arguments_without_content_give_an_error_that_names_them(tmp_path: Path) -> None:
    @fused.cache
    def work(x: int, source: Any) -> int:
        return x

    with (tmp_path / "file").open("w") as file:
        for source in ((n for n in ()), file, threading.Lock(), iter([1])):
            with pytest.raises(TypeError, match=r"argument 'source' cannot.*cache_key_exclude=\['source'\]"):
                work(1, source)

    @fused.cache(cache_key_exclude=["source"])
    def without(x: int, source: Any) -> int:
        return x

    assert without(1, threading.Lock()) == without(1, None) == 1
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(TypeError, match="contains itself"):
        work(1, loop)


def test_excluded_parameters_do_not_matter() -> None:
    calls = []

    @fused.cache(cache_key_exclude="verbose")
    def work(x: int, verbose: bool = False) -> int:
        calls.append(x)
        return x

    work(1, True)
    work(1, False)
    work(1)
    assert calls == [1]


def test_coroutine_functions_are_computed_once_however_many_wait() -> None:
    calls = []

    @fused.cache
    async def work(x: int) -> int:
        calls.append(x)
        await asyncio.sleep(0.05)
        return x + 1

    async def several() -> list[int]:
        return list(await asyncio.gather(*(work(1) for _ in range(20))))

    assert asyncio.run(several()) == [2] * 20
    assert asyncio.run(several()) == [2] * 20
    assert calls == [1]


def test_a_cancelled_coroutine_leaves_the_work_to_the_next() -> None:
    started = []

    @fused.cache
    async def work() -> int:
        started.append(1)
        await asyncio.sleep(0.2 if len(started) == 1 else 0)
        return len(started)

    async def go() -> int:
        first = asyncio.create_task(work())
        while not started:
            await asyncio.sleep(0.001)
        second = asyncio.create_task(work())
        await asyncio.sleep(0.01)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        return await second

    assert asyncio.run(go()) == 2


def test_methods_are_keyed_by_what_their_object_holds() -> None:
    calls = []

    class Shop:
        def __init__(self, name: str) -> None:
            self.name = name

        @fused.cache
        def price(self, x: int) -> str:
            calls.append(x)
            return f"{self.name} {x}"

        @fused.cache
        @staticmethod
        def fixed(x: int) -> int:
            calls.append(x)
            return x

        @classmethod
        @fused.cache
        def named(cls, x: int) -> str:
            calls.append(x)
            return cls.__name__

    assert Shop("a").price(1) == Shop("a").price(1) == "a 1"
    assert Shop("b").price(1) == "b 1"
    assert Shop.fixed(1) == Shop("c").fixed(1) == 1
    assert Shop.named(1) == Shop.named(1) == "Shop"
    assert len(calls) == 4


def test_a_cached_function_may_call_itself_with_other_arguments_only() -> None:
    @fused.cache
    def fibonacci(n: int) -> int:
        return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)

    @fused.cache
    def endless(n: int) -> int:
        return endless(n)

    assert fibonacci(40) == 102334155
    with pytest.raises(RecursionError, match="calls itself with the same arguments"):
        endless(1)


def test_threads_compute_a_value_once() -> None:
    calls = []

    @fused.cache
    def work(x: int) -> int:
        calls.append(x)
        time.sleep(0.1)
        return x

    results: list[int] = []
    threads = [threading.Thread(target=lambda: results.append(work(1))) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [1] * 16 and calls == [1]


def test_threads_that_wait_get_the_exception_and_none_tries_again() -> None:
    calls = []
    begin = threading.Barrier(8)

    @fused.cache
    def work() -> int:
        calls.append(1)
        time.sleep(0.2)
        raise LookupError("no such thing")

    errors: list[str] = []

    def call() -> None:
        begin.wait()
        try:
            work()
        except LookupError as error:
            errors.append(str(error))

    threads = [threading.Thread(target=call) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == ["no such thing"] * 8 and calls == [1]


def test_waiting_ends_after_concurrent_lock_timeout() -> None:
    release, begun = threading.Event(), threading.Event()

    @fused.cache
    def work() -> int:
        begun.set()
        release.wait(20)
        return 1

    holder = threading.Thread(target=work)
    holder.start()
    assert begun.wait(10)
    for seconds in (0, 0.1):
        with pytest.raises(TimeoutError, match=f"more than {seconds} s; concurrent_lock_timeout="):
            work(concurrent_lock_timeout=seconds)
    release.set()
    holder.join()
    assert work() == 1


def test_what_cannot_be_kept_is_returned_and_said_once(entries: Callable[[], list[Path]]) -> None:
    @fused.cache
    def lock() -> Any:
        return threading.Lock()

    with pytest.warns(CacheWarning, match="cannot be pickled"):
        assert lock().acquire()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert lock().acquire()
    assert entries() == []

    @fused.cache
    def numbers() -> Any:
        return (n for n in range(3))

    with pytest.warns(CacheWarning, match="read only once; return a list"):
        assert list(numbers()) == [0, 1, 2]


def test_threads_waiting_for_a_value_that_cannot_be_kept_each_make_one() -> None:
    @fused.cache
    def lock() -> Any:
        time.sleep(0.1)
        return threading.Lock()

    found: list[Any] = []
    threads = [threading.Thread(target=lambda: found.append(lock())) for _ in range(3)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len({id(each) for each in found}) == 3


def test_verbose_says_on_stderr_what_happened(capsys: pytest.CaptureFixture[str]) -> None:
    @fused.cache(cache_verbose=True)
    def work() -> int:
        return 1

    work()
    work()
    lines = capsys.readouterr().err.splitlines()
    assert [line.rpartition(": ")[2] for line in lines] == ["miss", "hit from disk, 0 s old"]


def test_max_size_removes_what_was_not_used_for_longest(entries: Callable[[], list[Path]]) -> None:
    @fused.cache(max_size=40_000)
    def work(x: int) -> bytes:
        return bytes([x]) * 10_000

    for x in range(10):
        work(x)
    assert sum(path.stat().st_size for path in entries()) <= 40_000
    assert len(entries()) == 3
    kept = {path.name for path in entries()}
    assert work(9) == bytes([9]) * 10_000
    assert {path.name for path in entries()} == kept


def test_files_named_by_paths_count_when_asked(tmp_path: Path) -> None:
    file = tmp_path / "data.txt"
    file.write_text("a")

    @fused.cache(cache_key_files=True)
    def read(path: Path) -> str:
        return path.read_text()

    @fused.cache
    def read_once(path: Path) -> str:
        return path.read_text()

    assert read(file) == read_once(file) == "a"
    file.write_text("longer")
    assert read(file) == "longer"
    assert read_once(file) == "a"
