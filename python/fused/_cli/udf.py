"""``fused udf``: saved functions."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

HELP = """\
  fused udf list
  fused udf push hello.py              save it; a saved one of that name is replaced (--new: refuse)
  fused udf show hello                 its code
  fused udf pull hello                 write ./hello.py, or a folder when it has headers
  fused udf rm hello
"""


def add_parser(verbs: Any) -> None:
    parser = verbs.add_parser(
        "udf",
        help="list, save, fetch, delete functions",
        epilog=HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(verb="udf", parser=parser)
    acts = parser.add_subparsers(metavar="ACTION")
    each = acts.add_parser("list", help="saved functions")
    each.add_argument("--whose", choices=("self", "team", "public"), default="self")
    each.add_argument("--json", action="store_true", help="as JSON, for programs")
    each.set_defaults(act=act_list, verb="udf list")
    each = acts.add_parser("push", help="save files on the server")
    each.add_argument("files", metavar="FILE", nargs="+", help=".py file, folder or zip")
    each.add_argument("--name", help="save under this name (one file only)")
    each.add_argument("--entrypoint", metavar="NAME", help="which function of the file")
    each.add_argument("--new", action="store_true", help="refuse when the name is taken")
    each.set_defaults(act=act_push, verb="udf push")
    each = acts.add_parser("pull", help="write a saved function to a file")
    each.add_argument("name", metavar="NAME")
    each.add_argument("-o", "--output", metavar="PATH", help=".py, .zip or a folder")
    each.add_argument("--overwrite", action="store_true", help="replace what is there")
    each.set_defaults(act=act_pull, verb="udf pull")
    each = acts.add_parser("show", help="print a saved function's code")
    each.add_argument("name", metavar="NAME")
    each.set_defaults(act=act_show, verb="udf show")
    each = acts.add_parser("rm", help="delete saved functions and their share tokens")
    each.add_argument("names", metavar="NAME", nargs="+")
    each.add_argument("-y", "--yes", action="store_true", help="do not ask")
    each.set_defaults(act=act_rm, verb="udf rm")


def act_list(given: argparse.Namespace) -> int:
    import json

    from fused._cli.show import print_table
    from fused._saved import list_saved

    found = list_saved(whose=given.whose, by="id").values()
    if given.json:
        print(json.dumps([udf.to_json() for udf in found], indent=2, ensure_ascii=False))
        return 0
    rows = [(udf.name, _call(udf), _age(udf), udf.id) for udf in sorted(found, key=lambda udf: udf.name)]
    print_table(
        ("name", "call", "cache", "id"), rows, "nothing is saved yet; save a file with `fused udf push hello.py`"
    )
    return 0


def _call(udf: Any) -> str:
    from fused.errors import FusedError

    try:
        text = f"{udf.described.entrypoint}({', '.join(udf.described.parameters)})"
    except FusedError:
        return "(its code cannot be read)"
    return text if len(text) <= 60 else f"{text[:57]}…)"


def _age(udf: Any) -> str:
    from fused._duration import format_duration

    return "" if udf.cache_max_age is None else format_duration(udf.cache_max_age)


def act_push(given: argparse.Namespace) -> int:
    from fused._cli.run import target

    if given.name and len(given.files) > 1:
        raise ValueError("--name is for one file")
    for file in given.files:
        if not Path(file).expanduser().exists():
            raise FileNotFoundError(f"{file!r} is not there (looked in {Path.cwd()})")
        udf = target(file, given.entrypoint)
        udf.to_fused(slug=given.name, overwrite=not given.new)
        print(
            f"saved {udf.name} ({udf.id}); run it with `fused run {udf.name}`, share it with "
            f"`fused token create {udf.name}`"
        )
    return 0


def act_pull(given: argparse.Namespace) -> int:
    import fused

    udf = fused.load(given.name)
    if given.output and Path(given.output).suffix in (".py", ".zip"):
        path = udf.to_file(given.output, overwrite=given.overwrite)
    elif given.output or udf.headers:
        path = udf.to_directory(given.output, overwrite=given.overwrite)
    else:
        from fused._export import file_stem

        path = udf.to_file(f"{file_stem(udf.name)}.py", overwrite=given.overwrite)
    print(path)
    return 0


def act_show(given: argparse.Namespace) -> int:
    import fused

    udf = fused.load(given.name)
    print(udf.code)
    for header in udf.headers:
        print(f"\n# --- {header.module_name}.py\n{header.source_code}")
    return 0


def act_rm(given: argparse.Namespace) -> int:
    import fused

    udfs = [fused.load(name) for name in given.names]
    if not given.yes:
        if not sys.stdin.isatty():
            raise ValueError("say -y to delete without being asked")
        answer = input(f"delete {', '.join(udf.name for udf in udfs)} with all share tokens? [y/N] ")
        if answer.strip().lower() not in ("y", "yes"):
            print("nothing was deleted")
            return 1
    for udf in udfs:
        udf.delete_saved()
        print(f"deleted {udf.name}")
    return 0
