"""``fused udf``: saved functions."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fused._cli.verbs import add_verb

if TYPE_CHECKING:
    from fused.models.udf import Udf

HELP = """\
  fused udf list
  fused udf push hello.py              save it; a saved one of that name is replaced (--new: refuse)
  fused udf show hello                 its code
  fused udf pull hello                 write ./hello.py, or a folder when it has headers
  fused udf history hello              what was saved, when, by whom and why
  fused udf diff hello 2               what changed since revision 2
  fused udf revert hello 2             save revision 2 again, as the newest
  fused udf rm hello
"""
LIST = """\
  fused udf list                       name, parameters, id
  fused udf list --whose team          everybody's of your organisation
  fused udf list --json                with the code, for programs
"""
PUSH = """\
  fused udf push hello.py              saved as `hello`; one of that name is replaced
  fused udf push a.py b.py --new       refused where a name is taken
  fused udf push hello.py -m "counts islands too"
  fused udf push many.py --entrypoint area --name land_area
"""
PULL = """\
  fused udf pull hello                 ./hello.py, or the folder ./hello when it has headers
  fused udf pull hello -o hello.zip --overwrite
"""
SHOW = """\
  fused udf show hello
  fused udf show alice@example.com/hello | less
"""
RM = """\
  fused udf rm hello                   asks first
  fused udf rm hello other -y          does not
"""
NAME = "name, email/name or id"


def add_parser(verbs: Any) -> None:
    parser = add_verb(verbs, "udf", "list, save, fetch, delete functions", HELP)
    acts = parser.add_subparsers(metavar="ACTION")
    each = add_verb(acts, "list", "list saved functions", LIST, act_list)
    each.add_argument("--whose", choices=("self", "team", "public"), default="self", help="default: self")
    each.add_argument("--json", action="store_true", help="as JSON, for programs")
    each = add_verb(acts, "push", "save files on the server", PUSH, act_push)
    each.add_argument("files", metavar="FILE", nargs="+", help=".py file, folder or zip")
    each.add_argument("--name", help="save under this name (one file only)")
    each.add_argument("--entrypoint", metavar="NAME", help="which function of the file")
    each.add_argument("--new", action="store_true", help="refuse when the name is taken")
    each.add_argument("-m", "--message", metavar="TEXT", help="what was changed, for `fused udf history`")
    each = add_verb(acts, "pull", "write a saved function to a file", PULL, act_pull)
    each.add_argument("name", metavar="NAME", help=NAME)
    each.add_argument("-o", "--output", metavar="PATH", help=".py, .zip or a folder")
    each.add_argument("--overwrite", action="store_true", help="replace what is there")
    each = add_verb(acts, "show", "print a saved function's code", SHOW, act_show)
    each.add_argument("name", metavar="NAME", help=NAME)
    from fused._cli import revisions

    revisions.add_parsers(acts)
    each = add_verb(acts, "rm", "delete saved functions and their share tokens", RM, act_rm)
    each.add_argument("names", metavar="NAME", nargs="+", help=NAME)
    each.add_argument("-y", "--yes", action="store_true", help="do not ask")


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
        udf.to_fused(slug=given.name, overwrite=not given.new, message=given.message)
        print(
            f"saved {udf.name} ({udf.id}); run it with `fused run {udf.name}`, share it with "
            f"`fused token create {udf.name}`"
        )
    return 0


def act_pull(given: argparse.Namespace) -> int:
    import fused

    udf = fused.load(given.name)
    try:
        print(write_files(udf, given))
    except FileExistsError as error:
        raise FileExistsError(str(error).replace("overwrite=True", "--overwrite")) from None
    return 0


def write_files(udf: Udf, given: argparse.Namespace) -> Path:
    """``.py`` and ``.zip`` by the name of ``-o``; else a folder when it has headers, else ``NAME.py``."""
    if given.output and Path(given.output).suffix in (".py", ".zip"):
        return udf.to_file(given.output, overwrite=given.overwrite)
    if given.output or udf.headers:
        return udf.to_directory(given.output, overwrite=given.overwrite)
    from fused._export import file_stem

    return udf.to_file(f"{file_stem(udf.name)}.py", overwrite=given.overwrite)


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
