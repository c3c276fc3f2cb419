"""The ``fused`` command. Each verb is a module of this folder and is imported when it is used, so that starting is
fast.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from fused._version import __version__

DESCRIPTION = """\
Write a Python function, run it, serve it.

  fused serve functions/ --watch         every .py file with @fused.udf is an endpoint
  fused login --token-file data/token    remember the server; the token lies in its data folder
  fused run hello.py n=3                 run a file, or a saved function by its name
  fused udf push hello.py                save it on the server
  fused token create hello               an address that anybody may open
  fused logs --last                      what the newest run printed, and why it failed
  fused jobs ls                          what runs in the background
  fused schedule add hello "0 6 * * *"   every morning

`fused COMMAND --help` shows each with examples.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and gives its exit code: 0 done, 1 failed, 2 wrong usage, 130 interrupted."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments[:1] == ["serve"]:
        from fused._cli.serve import serve

        return serve(arguments[1:])
    parser = make_parser()
    given, unknown = parser.parse_known_args(arguments)
    if hasattr(given, "parameters"):  # of `fused run`: they may also stand behind options
        given.parameters += [text for text in unknown if not text.startswith("-")]
        unknown = [text for text in unknown if text.startswith("-")]
    if unknown:
        from fused._cli.verbs import refuse_unknown

        refuse_unknown(getattr(given, "parser", parser), unknown)
    if not hasattr(given, "act"):
        (given.parser if hasattr(given, "parser") else parser).print_help()
        return 0
    from fused._cli.failures import guarded

    return guarded(given)


def make_parser() -> argparse.ArgumentParser:
    """All verbs with their options; nothing heavy is imported for it."""
    parser = argparse.ArgumentParser(
        prog="fused", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--version", action="version", version=f"fused-server {__version__}")
    parser.add_argument("--traceback", action="store_true", help="show where in this program an error arose")
    verbs = parser.add_subparsers(title="commands", metavar="COMMAND")
    verbs.add_parser("serve", help="start the server (`fused serve --help` shows its settings)", add_help=False)
    from fused._cli import cache, ingest, jobs, login, logs, replay, run, schedule, table, token, udf, user

    for module in (run, udf, token, user, login, logs, replay, cache, ingest, table, jobs, schedule):
        module.add_parser(verbs)
    return parser
