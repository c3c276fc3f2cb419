"""Errors of a command, as a person wants to read them."""

from __future__ import annotations

import argparse
import os
import sys
import traceback
import warnings
from collections.abc import Callable
from typing import Any

from fused._cli.wording import spoken
from fused.errors import FusedError, UdfError, UdfRuntimeError
from fused.warnings import FusedWarning


def guarded(given: argparse.Namespace) -> int:
    """Runs the command; an error becomes a message on stderr and exit code 1, a warning of the SDK a line there."""
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _teller(given, warnings.showwarning)
            code = int(given.act(given) or 0)
        sys.stdout.flush()
        return code
    except KeyboardInterrupt as stopped:
        print("\n".join(["interrupted", *getattr(stopped, "__notes__", ())]), file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nobody reads; be silent at exit too
        return 141
    except (FusedError, ValueError, TypeError, OSError) as error:
        if given.traceback:
            traceback.print_exc()
        told = str(error) if isinstance(error, UdfError) else f"fused {given.verb}: {spoken(_text(error), given)}"
        print(told, file=sys.stderr)
        for note in getattr(error, "__notes__", ()) if isinstance(error, FusedError) else ():
            print(note, file=sys.stderr)
        return 1


def _teller(given: argparse.Namespace, others: Callable[..., None]) -> Callable[..., None]:
    def tell(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
        if issubclass(category, FusedWarning):
            print(f"fused {given.verb}: {spoken(str(message), given)}", file=sys.stderr)
        else:
            others(message, category, *where, **more)

    return tell


def _text(error: Exception) -> str:
    """``[Errno 2] No such file or directory: 'x'`` the other way round."""
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{error.filename}: {error.strerror}"
    return str(error)


def failure_of_function(error: BaseException, name: str) -> BaseException:
    """What a function raised in this process, told as the server tells it: without the lines of this program.

    An error that did not come from the function's own text (a parameter, say) is given back as it is.
    """
    own = error.__traceback__
    while own is not None and not own.tb_frame.f_code.co_filename.startswith("<udf "):
        own = own.tb_next
    if own is None or isinstance(error, FusedError):
        return error
    frame = own.tb_frame.f_code.co_filename
    told = traceback.TracebackException(type(error), error, own)
    told.stack = traceback.StackSummary.from_list([line for line in told.stack if line.filename == frame])
    shown = "".join(told.format()).replace(frame, f"{name}.py")
    return UdfRuntimeError(
        f"{name!r} failed in line {own.tb_lineno}: {type(error).__name__}: {error}",
        child_exception_class=type(error).__name__,
        lineno=own.tb_lineno,
        udf_traceback=shown,
    )
