"""``fused udf history|diff|revert``: what was saved under a name."""

from __future__ import annotations

import argparse
import difflib
import os
import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from fused._cli.verbs import add_verb

if TYPE_CHECKING:
    from fused.models.udf import Udf

HISTORY = """\
  fused udf history hello              newest first; * is the current one
  fused udf history hello -n 5 --json
"""
DIFF = """\
  fused udf diff hello                 the newest against the one before it
  fused udf diff hello 2               the newest against revision 2
  fused udf diff hello 2 4             revision 4 against revision 2
  fused udf diff hello --file hello.py the file against the newest
"""
REVERT = """\
  fused udf revert hello 2             by number
  fused udf revert hello 4dacbe7f -m "the new one is too slow"
"""
NAME = "name, email/name or id"
REVISION = "number of a revision, or its id or how that begins"
COLOURS = {"+": "\033[32m", "-": "\033[31m", "@": "\033[36m"}


def add_parsers(acts: Any) -> None:
    each = add_verb(acts, "history", "list what was saved under a name", HISTORY, act_history)
    each.add_argument("name", metavar="NAME", help=NAME)
    each.add_argument("-n", type=int, metavar="N", help="only the newest N")
    each.add_argument("--json", action="store_true", help="as JSON, for programs")
    each = add_verb(acts, "diff", "compare two revisions, or a file with a saved function", DIFF, act_diff)
    each.add_argument("name", metavar="NAME", help=NAME)
    each.add_argument("old", metavar="OLD", nargs="?", help=f"{REVISION}; default: the one before NEW")
    each.add_argument("new", metavar="NEW", nargs="?", help=f"{REVISION}; default: the newest")
    each.add_argument("--file", metavar="FILE", help="compare this file instead of NEW")
    each = add_verb(acts, "revert", "save an earlier revision again, as the newest", REVERT, act_revert)
    each.add_argument("name", metavar="NAME", help=NAME)
    each.add_argument("revision", metavar="REVISION", help=REVISION)
    each.add_argument("-m", "--message", metavar="TEXT", help="why; default: the revision it goes back to")


def act_history(given: argparse.Namespace) -> int:
    import fused
    from fused._cli.cache import printable
    from fused._cli.show import print_table

    if given.n is not None and given.n < 1:
        raise ValueError(f"-n {given.n}: at least 1")
    found = fused.load(given.name).history(given.n)
    if given.json:
        import dataclasses
        import json

        print(json.dumps([dataclasses.asdict(each) for each in found], indent=2, ensure_ascii=False))
        return 0
    rows = [
        (
            f"{each.number}{'*' if each.is_current else ''}",
            each.saved_at[:19].replace("T", " "),
            each.saved_by,
            each.code_hash[:10],
            each.id[:8],
            printable(each.message, 60),
        )
        for each in found
    ]
    print_table(("revision", "saved (utc)", "by", "code", "id", "message"), rows, "a file of a served folder: none")
    return 0


def act_diff(given: argparse.Namespace) -> int:
    """Exit code 0: equal; 1: different, as diff says it."""
    import fused
    from fused._cli.run import target
    from fused._revisions import find

    if given.file and given.new:
        raise ValueError("--file stands instead of NEW: give one")
    saved = fused.load(given.name)
    if given.file:
        old = find(saved, given.old).load() if given.old else saved
        old_label, new, new_label = given.old or "saved", target(given.file, None), given.file
    else:
        newest = saved.history(1)
        if not newest:
            raise ValueError(f"{given.name!r} has no revisions: it is a file of a served folder")
        after = find(saved, given.new) if given.new else newest[0]
        if given.old is None and after.number == 1:
            raise ValueError(f"{given.name!r} was saved once: there is nothing before it")
        before = find(saved, given.old if given.old is not None else after.number - 1)
        old, new = before.load(), after.load()
        old_label, new_label = f"revision {before.number}", f"revision {after.number}"
    lines = list(diff_of(old, new, old_label, new_label))
    if not lines:
        print(f"{old_label} and {new_label} are the same")
        return 0
    colours = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    for line in coloured(lines) if colours else lines:
        print(line)
    return 1


def diff_of(old: Udf, new: Udf, old_label: str, new_label: str) -> Iterator[str]:
    """A unified diff of the code and of each header, then what else differs."""
    before = {"code": old.code, **{f"{each.module_name}.py": each.source_code for each in old.headers}}
    after = {"code": new.code, **{f"{each.module_name}.py": each.source_code for each in new.headers}}
    for name in dict.fromkeys([*before, *after]):
        texts = before.get(name, "").splitlines(), after.get(name, "").splitlines()
        yield from difflib.unified_diff(*texts, f"{old_label}: {name}", f"{new_label}: {name}", lineterm="")
    for name in ("entrypoint", "parameters", "cache_max_age"):
        was, now = getattr(old, name), getattr(new, name)
        if was != now:
            yield f"-{name}: {was!r}"
            yield f"+{name}: {now!r}"


def coloured(lines: Iterable[str]) -> Iterator[str]:
    for line in lines:
        begin = "\033[1m" if line.startswith(("---", "+++")) else COLOURS.get(line[:1], "")
        yield f"{begin}{line}\033[0m" if begin else line


def act_revert(given: argparse.Namespace) -> int:
    import fused

    udf = fused.load(given.name)
    udf.revert(given.revision, message=given.message)
    now = udf.history(1)[0]
    print(f"{udf.name} is at revision {now.number} ({now.id}): {now.message}")
    return 0
