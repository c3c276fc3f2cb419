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
        code = int(given.act(given) or 0)
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nobody reads; be silent at exit too
        return 141
    except (FusedError, ValueError, TypeError, OSError) as error:
        if given.traceback:
            traceback.print_exc()
        print(str(error) if isinstance(error, UdfError) else f"fused {given.verb}: {error}", file=sys.stderr)
        return 1
