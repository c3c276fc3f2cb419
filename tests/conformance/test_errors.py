"""What goes wrong reaches the caller as an error that says where and why."""

from __future__ import annotations

import asyncio
import time

import pytest

import fused
from fused.types import UdfRuntimeError


@fused.udf
def failing(n: int = 0):
    print("printed before it failed")
    return 1 / n


def test_an_exception_carries_message_class_and_line(run):
    with pytest.raises(UdfRuntimeError) as caught:
        run(failing)
    assert "division by zero" in str(caught.value)
    assert "line 4" in str(caught.value)
    assert caught.value.child_exception_class == "ZeroDivisionError"


def test_what_was_printed_before_the_failure_is_shown(run, capfd):
    with pytest.raises(UdfRuntimeError):
        run(failing)
    shown = capfd.readouterr()
    assert "printed before it failed" in shown.out + shown.err


def test_the_traceback_has_the_users_lines(run):
    response = run(failing, _return_response=True)
    assert response.has_exception
    assert response.error_lineno == 4
    assert "return 1 / n" in response.stderr


def test_an_exception_class_of_the_user_is_named(run):
    @fused.udf
    def udf():
        class NotToday(Exception):
            pass

        raise NotToday("come back tomorrow")

    with pytest.raises(UdfRuntimeError, match="come back tomorrow") as caught:
        run(udf)
    assert caught.value.child_exception_class == "NotToday"


def test_an_exception_without_a_message_is_still_an_error(run):
    @fused.udf
    def udf():
        raise ValueError

    with pytest.raises(UdfRuntimeError) as caught:
        run(udf)
    assert caught.value.child_exception_class == "ValueError"


def test_a_message_of_many_lines_and_letters_survives(run):
    @fused.udf
    def udf():
        raise ValueError("zwölf\n次\r\n\t" + "x" * 20_000)

    with pytest.raises(UdfRuntimeError, match="zwölf"):
        run(udf)


def test_sys_exit_and_the_end_of_the_process_are_errors(run):
    @fused.udf
    def udf(how: str):
        import os
        import sys

        sys.exit(3) if how == "exit" else os._exit(3) if how == "_exit" else os.kill(os.getpid(), 11)

    for how in ("exit", "_exit", "signal"):
        with pytest.raises(UdfRuntimeError):
            run(udf, how=how)


def code_of(is_v2: bool, text: str):
    if is_v2:
        return fused.load(text, import_globals=False)
    return fused.models.GeoPandasUdfV2(name="u", code=text, entrypoint="udf")


def test_a_syntax_error_names_its_line(run, is_v2):
    udf = code_of(is_v2, "@fused.udf\ndef udf(n: int = 1):\n    return n\n")
    udf.code = "@fused.udf\ndef udf(n: int = 1):\n    return n +\n"
    with pytest.raises(Exception, match=r"(?s)line 3.*syntax|syntax.*line 3|SyntaxError|invalid syntax"):
        run(udf)


def test_code_without_an_entry_point_says_so(run, is_v2):
    udf = code_of(is_v2, "@fused.udf\ndef udf():\n    return 1\n")
    udf.code = "x = 1\n"
    with pytest.raises(Exception, match="udf"):
        run(udf)


def test_a_missing_module_is_named(run):
    @fused.udf
    def udf():
        import no_such_module_here  # noqa: F401

    with pytest.raises(UdfRuntimeError, match="no_such_module_here"):
        run(udf)


@fused.udf
def sleeping(seconds: float = 60):
    import time

    print("asleep")
    time.sleep(seconds)
    return seconds


def test_a_run_beyond_the_wall_limit_is_a_timeout(run, short_server, is_v2):
    begin = time.monotonic()
    kind = fused.types.UdfTimeoutError if is_v2 else Exception
    with pytest.raises(kind, match=r"1\.5|1500|(?i:time|limit)"):
        run(sleeping)
    assert time.monotonic() - begin < 55  # it would sleep for a minute


def test_the_server_runs_on_after_a_timeout(run, short_server):
    @fused.udf
    def udf():
        import pandas as pd

        return pd.DataFrame({"a": [1]})

    assert run(udf)["a"].tolist() == [1]


@pytest.mark.v2
def test_a_run_longer_than_the_clients_request_timeout_is_polled_to_its_end(run):
    before = fused.options.request_timeout
    assert before == 5
    assert run(sleeping, seconds=7.5) == 7.5


@pytest.mark.v2
def test_a_long_async_run_is_polled_to_its_end():
    assert asyncio.run(fused.run_async(sleeping, seconds=6)) == 6


@pytest.mark.v2
def test_a_failure_after_polling_keeps_its_message(run):
    @fused.udf
    def udf():
        import time

        time.sleep(3)
        raise ValueError("late failure")

    with pytest.raises(UdfRuntimeError, match="late failure"):
        run(udf)


@pytest.mark.v2
def test_an_unknown_argument_is_refused_by_the_client_unless_told_otherwise(run):
    @fused.udf
    def udf(n: int = 1):
        return n

    with pytest.raises(TypeError):
        run(udf, m=2)
    assert run(udf, n=3, m=2, _ignore_unknown_arguments=True) == 3


def test_max_retry_still_ends_in_the_functions_error(run):
    with pytest.raises(Exception, match="division by zero"):
        run(failing, max_retry=1)


def test_a_wrong_token_is_refused_with_words(run, monkeypatch):
    monkeypatch.setenv("FUSED_AUTH_TOKEN", "not-a-token")
    fused.options.base_url = fused.options.base_url
    with pytest.raises(Exception, match=r"(?i)401|token|credential|auth"):
        run(failing, n=1)
    monkeypatch.undo()
    fused.options.base_url = fused.options.base_url


def test_an_unknown_saved_function_is_an_error_that_names_it(email, is_v2):
    with pytest.raises(Exception, match="nothing_of_this_name"):
        fused.run("nothing_of_this_name") if is_v2 else fused.run(email, "nothing_of_this_name")


def test_an_unknown_share_token_is_an_error(is_v2):
    with pytest.raises(Exception):  # noqa: B017 (each version has its own)
        fused.run("fsh_" + "1" * 43)
