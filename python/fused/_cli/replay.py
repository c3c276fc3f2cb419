"""``fused replay``: a logged run once more, or two of them compared."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from fused._cli.verbs import add_verb

HELP = """\
  fused replay 4dacbe7f                    its code, parameters and format again, without the cache
  fused replay 4dacbe7f -o tile.png        and keep the bytes
  fused replay --diff 4dacbe7f 90a1c2d3    what differs between the results of two runs

Exit code 0: the same result; 1: another one, or it failed.
"""


def add_parser(verbs: Any) -> None:
    parser = add_verb(verbs, "replay", "run a logged run again and say what is no longer the same", HELP, act)
    parser.add_argument("run_id", metavar="REQUEST_ID", nargs="?", help="the request id, or how it begins")
    parser.add_argument("--diff", metavar=("A", "B"), nargs=2, help="compare the results of two runs")
    parser.add_argument("-o", "--output", metavar="FILE", help="write the result's bytes there")


def act(given: argparse.Namespace) -> int:
    if bool(given.run_id) == bool(given.diff):
        raise ValueError("give one REQUEST_ID, or --diff A B")
    if given.diff:
        if given.output:
            raise ValueError("-o is for the result of one run, --diff has two")
        return diff(*given.diff)
    from fused._cli.run import check_output, write_bytes
    from fused._replay import replay

    check_output(given.output)
    found = replay(given.run_id)
    tell(found, sys.stderr if given.output == "-" else sys.stdout)
    if given.output:
        write_bytes(found.result, given.output)
    return 0 if found.is_same else 1


def tell(found: Any, stream: Any) -> None:
    """What was run, what is no longer the same, and whether the result is."""
    from fused._cli.cache import printable

    log = found.log
    began = str(log.get("started_at") or "")[:19].replace("T", " ")
    print(f"{found.udf.name}, run {found.request_id} of {began}", file=stream)
    parameters = ", ".join(f"{name}={value!r}" for name, value in (log.get("parameters") or {}).items())
    print(f"  parameters: {printable(parameters, 300) or 'none'}", file=stream)
    print(f"  run again as {found.result.request_id}", file=stream)
    for line in found.changed:
        print(f"  changed: {printable(line, 500)}", file=stream)
    if not found.changed:
        print("  changed: nothing that the log knows of", file=stream)
    print(f"  result: {printable(found.difference(), 700)}", file=stream)


def diff(first: str, second: str) -> int:
    """The digests of the log where they are equal; else both run again, for results are not kept in the log."""
    from fused._cli.cache import printable
    from fused._replay import differences, read_run, replay
    from fused._replay_compare import compare

    runs = [read_run(each) for each in (first, second)]
    for line in differences(*runs):
        print(f"  {printable(line, 500)}")
    digests = [run.get("result_sha256") for run in runs]
    if digests[0] and digests[0] == digests[1]:
        print(f"the results are the same {runs[0]['result_bytes']} bytes")
        return 0
    replays = [replay(run["request_id"]) for run in runs]
    for label, each in zip("AB", replays, strict=True):
        print(f"{label}: ", end="")
        tell(each, sys.stdout)
    failed = [label for label, each in zip("AB", replays, strict=True) if each.result.exception is not None]
    if failed:
        for label, each in zip("AB", replays, strict=True):
            if label in failed:
                print(f"{label} failed: {each.new_log.get('error_class')}: {each.new_log.get('error_message')}")
        return 1
    lines = compare(replays[0].result.data, replays[1].result.data)
    for line in lines:
        print(line)
    if not lines:
        equal = replays[0].result.original_content == replays[1].result.original_content
        print("the results are the same" + ("" if equal else " values, in other bytes"))
    return 1 if lines else 0
