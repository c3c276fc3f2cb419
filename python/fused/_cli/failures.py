"""Errors of a command, as a person wants to read them."""

from __future__ import annotations

import argparse
import os
import sys
import traceback

from fused.errors import FusedError, UdfError


def guarded(given: argparse.Namespace) -> int:
    """Runs the command; an error becomes a message on stderr and exit code 1."""
    try:
        return int(given.act(given) or 0)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nobody reads; be silent at exit too
        return 141
    except UdfError as error:
        message = str(error)
    except (FusedError, ValueError, TypeError, OSError) as error:
        message = f"fused {given.verb}: {error}"
    if given.traceback:
        traceback.print_exc()
    print(message, file=sys.stderr)
    return 1
