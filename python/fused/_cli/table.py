"""``fused table``: look at tables, check them, and tell the server of them."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

from fused._cli.verbs import add_verb

HELP = """\
  fused table info out/                        what a table holds; no server is asked
  fused table verify s3://bucket/buildings     reads all of it: counts, boxes, rows
  fused table register buildings out/          the server then serves it as GeoJSON, Parquet, Arrow and tiles
  fused table ls
  fused table rm buildings
"""
INFO = """\
  fused table info out/
  fused table info s3://bucket/buildings --json
  fused table info buildings                   a name that the server knows
"""
VERIFY = """\
  fused table verify out/                      exit code 1 when something is wrong, each named
"""
REGISTER = """\
  fused table register buildings /mount/buildings
  fused table register buildings s3://bucket/buildings
  fused table register buildings out/          a folder of the server's machine (owners)
  fused table register buildings out/ --share  and a share token that lets a map read it

Again with the same URL: its share tokens stay. With another URL the name means another table, and its tokens end.
"""
LS = """\
  fused table ls
  fused table ls --json
"""
RM = """\
  fused table rm buildings                     the server forgets it; the files stay
"""


def add_parser(verbs: Any) -> None:
    parser = add_verb(verbs, "table", "look at tables, check them, serve them", HELP)
    acts = parser.add_subparsers(metavar="ACTION")
    each = add_verb(acts, "info", "what a table holds", INFO, act_info)
    each.add_argument("url", metavar="URL", help="folder, s3:// URL, or a name that the server knows")
    each.add_argument("--json", action="store_true", help="as JSON, for programs")
    each = add_verb(acts, "verify", "read all of a table and check it", VERIFY, act_verify)
    each.add_argument("url", metavar="URL")
    each = add_verb(acts, "register", "let the server serve a table", REGISTER, act_register)
    each.add_argument("name", metavar="NAME", help="letters, digits, '-', '_', '.'")
    each.add_argument("url", metavar="URL", help="/mount/…, s3://…, or a folder of the server's machine")
    each.add_argument("--share", action="store_true", help="also make a share token and print its TileJSON address")
    each = add_verb(acts, "ls", "list the tables that the server knows", LS, act_ls)
    each.add_argument("--json", action="store_true", help="as JSON, for programs")
    each = add_verb(acts, "rm", "let the server forget tables", RM, act_rm)
    each.add_argument("names", metavar="NAME", nargs="+")


def _is_name(url: str) -> bool:
    return "/" not in url and not Path(url).exists()


def act_info(given: argparse.Namespace) -> int:
    if _is_name(given.url):
        from fused._transport import call_json, path_of

        about = dict(call_json("GET", path_of("api", "v1", "table", given.url), "asking about the table"))
    else:
        from fused._table_check import describe

        about = describe(given.url)
    if given.json:
        print(json.dumps(about))
        return 0
    bounds = about.get("bounds")
    print(f"{about['url']}")
    print(f"  {_count(about['rows'], 'row')} in {_count(about['chunks'], 'chunk')} of {_count(about['files'], 'file')}")
    print("  bounds " + (", ".join(f"{side:.6g}" for side in bounds) if bounds else "none: no geometry"))
    for column in about["columns"]:
        print(f"  {column['name']:<24} {column['type']}")
    return 0


def _count(number: int | None, what: str) -> str:
    return f"an unknown number of {what}s" if number is None else f"{number:,} {what}{'' if number == 1 else 's'}"


def act_verify(given: argparse.Namespace) -> int:
    from fused._table_check import verify

    found = verify(given.url, progress=sys.stderr.isatty())
    for problem in found.problems:
        print(problem, file=sys.stderr)
    state = f"{len(found.problems)} problems" if found.problems else "sound"
    print(f"{given.url}: {state}; {found.rows:,} rows in {found.chunks:,} chunks of {found.files:,} files")
    return 1 if found.problems else 0


def act_register(given: argparse.Namespace) -> int:
    from fused._transport import base_url, call_json, path_of

    url = given.url
    if "://" not in url and not url.startswith("/"):
        url = os.path.realpath(url)
    body = {"name": given.name, "url": url}
    made = call_json("POST", path_of("api", "v1", "table"), "registering the table", value=body)
    print(f"{made['name']}: {_count(made.get('rows'), 'row')} at {made['url']}")
    if made.get("revoked_tokens"):
        print(
            f"{made['name']!r} was another table before: {_count(made['revoked_tokens'], 'share token')} of that one "
            "revoked",
            file=sys.stderr,
        )
    root = base_url().removesuffix("/server/v1")
    print(f"  {root}/api/v1/table/{made['name']}/rows?bounds=west,south,east,north&format=geojson")
    print(f"  {root}/api/v1/table/{made['name']}/tilejson")
    if given.share:
        path = path_of("api", "v1", "table", given.name, "share")
        shared = call_json("POST", path, "sharing the table", value={})
        print(f"  for anybody, until it is revoked: {root}{shared['tilejson']}")
    return 0


def act_ls(given: argparse.Namespace) -> int:
    from fused._transport import call_json, path_of

    tables = call_json("GET", path_of("api", "v1", "table"), "listing tables")
    if given.json:
        print(json.dumps(tables))
        return 0
    for table in tables:
        print(f"{table['name']:<24} {table['url']:<50} {table['registered_by']}")
    if not tables:
        print("no tables; `fused table register NAME URL` adds one")
    return 0


def act_rm(given: argparse.Namespace) -> int:
    from fused._transport import call_json, path_of

    for name in given.names:
        call_json("DELETE", path_of("api", "v1", "table", name), "removing the table")
        print(f"{name}: forgotten; its files stay")
    return 0
