"""``fused cache``: what ``@fused.cache`` keeps on disk, clearing it, and dropping results that a server keeps."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from fused._cli.verbs import add_verb

HELP = """\
  fused cache info                     where entries lie, how many and how large
  fused cache ls                       the newest entries
  fused cache clear my_module          removes a function's entries
  fused cache invalidate hello         drops the results that the server keeps of a function
"""
INFO = """\
  fused cache info
  fused cache info --data data         of a server, by its data folder
"""
LS = """\
  fused cache ls
  fused cache ls my_module --all       all of one function's folder
"""
SHOW = """\
  fused cache show 3fa9                the entry whose name begins so; its value is not read
"""
VERIFY = """\
  fused cache verify                   checks every entry; exit code 1 when one is damaged
  fused cache verify --remove          removes what is damaged
"""
CLEAR = """\
  fused cache clear my_module          a folder's entries
  fused cache clear --expired          only what is older than its cache_max_age
  fused cache clear --all
"""
RM = """\
  fused cache rm 3fa9 data_77c0        entries by their names, or how these begin (`fused cache ls`)
"""
INVALIDATE = """\
  fused cache invalidate hello                  all results of a function, of whatever parameters
  fused cache invalidate hello --tile 10/512/340
  fused cache invalidate ann@example.com/hello

A function is named by its name, by 'email/name' or by its id. What @fused.cache keeps inside it stays
(`fused cache clear`).
"""


def add_parser(verbs: Any) -> None:
    parser = add_verb(verbs, "cache", "list and clear what @fused.cache keeps; drop a server's results", HELP)
    actions = parser.add_subparsers(metavar="ACTION")
    for name, act, about, examples in (
        ("info", info, "where entries lie, how many and how large", INFO),
        ("ls", ls, "list entries, newest first", LS),
        ("show", show, "what is known of one entry", SHOW),
        ("verify", verify, "check every entry", VERIFY),
        ("clear", clear, "remove all entries of functions", CLEAR),
        ("rm", rm, "remove single entries", RM),
    ):
        action = add_verb(actions, name, about, examples, act)
        where = action.add_mutually_exclusive_group()
        where.add_argument("--data", metavar="DIR", help="the data folder of a server")
        where.add_argument("--folder", metavar="DIR", help="a folder of entries, or of folders of entries")
        action.add_argument("--json", action="store_true", help="JSON instead of a table")
        if name == "show":
            action.add_argument("name", metavar="NAME", help="the entry's name, or the beginning of it")
            continue
        if name == "rm":
            action.add_argument("names", metavar="NAME", nargs="+", help="entries' names, or the beginnings of them")
            continue
        action.add_argument("folders", metavar="FUNCTION", nargs="*", help="only these folders (default: all)")
        if name == "ls":
            action.add_argument("-n", type=int, default=20, metavar="N", help="how many to list (default 20)")
            action.add_argument("--all", action="store_true", help="list all")
        if name == "verify":
            action.add_argument("--remove", action="store_true", help="remove what is damaged")
        if name == "clear":
            action.add_argument("--all", action="store_true", help="everything")
            action.add_argument("--expired", action="store_true", help="only what is older than its cache_max_age")
    action = add_verb(actions, "invalidate", "drop the results that the server keeps of a function", INVALIDATE, drop)
    action.add_argument("function", metavar="FUNCTION", help="name, email/name or id")
    action.add_argument("--tile", metavar="Z/X/Y", help="only the results of this tile")


def root_of(given: argparse.Namespace) -> Path:
    from fused._cache import place

    if given.data:
        folder = Path(given.data).expanduser() / "mount" / "fused-system" / "cached_data"
        if not (Path(given.data).expanduser() / "mount").is_dir():
            raise FileNotFoundError(
                f"--data {given.data}: it holds no folder mount/; name the folder given to `fused serve`"
            )
        return folder
    return Path(given.folder).expanduser() if given.folder else place.base("local")


def folders_of(given: argparse.Namespace) -> list[tuple[str, Path]]:
    """Folders with entries, each with its name below the root; links are not followed."""
    root = root_of(given)
    found = []
    for path, names, files in os.walk(root):
        names.sort()
        name = os.path.relpath(path, root)
        if any(file.startswith((".locks-", "data_", ".damaged-")) for file in files):
            found.append((name, Path(path)))
    wanted = getattr(given, "folders", [])
    missing = [name for name in wanted if name not in [each for each, _ in found]]
    if missing:
        known = ", ".join(name for name, _ in found) or "none"
        raise ValueError(f"{root} has no folder {', '.join(map(repr, missing))}; it has {known}")
    return [(name, path) for name, path in found if not wanted or name in wanted]


def info(given: argparse.Namespace) -> int:
    from fused._cache import store
    from fused._cache.entry import clocks
    from fused._cli.show import print_table

    rows: list[dict[str, Any]] = []
    now = clocks.wall_ns()
    for name, folder in folders_of(given):
        items = store.scan(folder)
        expired = sum(item.is_expired(now) for item in items)
        damaged = sum(1 for _ in folder.glob(".damaged-*"))
        size = sum(item.size for item in items)
        rows.append({"function": name, "entries": len(items), "bytes": size, "expired": expired, "damaged": damaged})
    if given.json:
        print(json.dumps({"folder": str(root_of(given)), "functions": rows}))
        return 0
    total = sum(row["bytes"] for row in rows)
    print(f"{root_of(given)}: {sum(row['entries'] for row in rows)} entries, {size_text(total)}")
    if rows:
        columns = ("function", "entries", "size", "expired", "damaged")
        print_table(
            columns,
            [(r["function"], r["entries"], size_text(r["bytes"]), r["expired"], r["damaged"]) for r in rows],
            "",
        )
    return 0


def records(given: argparse.Namespace) -> list[dict[str, Any]]:
    """Every entry with its note, newest first."""
    from fused._cache import store, values
    from fused._cache.entry import clocks

    now = clocks.wall_ns()
    found = []
    for name, folder in folders_of(given):
        for item in store.scan(folder):
            note = read_note(item)
            found.append({
                "name": Path(item.path).name, "folder": name, "path": item.path, "function": note.get("function", ""),
                "arguments": note.get("arguments", ""), "kind": values.KIND_NAMES.get(item.kind, str(item.kind)),
                "bytes": item.size, "created": item.created_ns / 1e9, "max_age_s": item.max_age_s,
                "computing_ms": round(item.head.computing_ns / 1e6, 3), "expired": item.is_expired(now),
            })  # fmt: skip
    return sorted(found, key=lambda record: -float(record["created"]))


def read_note(item: Any) -> dict[str, Any]:
    """What the entry says of itself; it is shown, nothing of it is run."""
    from fused._cache.entry import HEAD_BYTES

    try:
        file = os.open(item.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            note = json.loads(os.pread(file, item.head.note_bytes, HEAD_BYTES))
        finally:
            os.close(file)
    except (OSError, ValueError):
        return {}
    return note if isinstance(note, dict) else {}


def ls(given: argparse.Namespace) -> int:
    from fused._cli.show import print_table

    if given.n < 1:
        raise ValueError(f"-n {given.n}: at least 1")
    found = records(given)
    shown = found if given.all else found[: given.n]
    if given.json:
        print(json.dumps(shown))
        return 0
    rows = [
        (
            time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(each["created"])), each["function"],
            printable(each["arguments"], 40), each["kind"], size_text(each["bytes"]),
            "expired" if each["expired"] else "", each["name"][:17],
        )
        for each in shown
    ]  # fmt: skip
    print_table(("utc", "function", "arguments", "kind", "size", "", "name"), rows, "nothing is kept yet")
    if len(shown) < len(found):
        print(f"{len(found) - len(shown)} more; --all lists them")
    return 0


def one_of(given: argparse.Namespace, kept: list[dict[str, Any]], name: str) -> dict[str, Any]:
    wanted = name if name.startswith("data_") else f"data_{name}"
    found = [each for each in kept if each["name"].startswith(wanted)]
    if len(found) != 1:
        what = "no entry" if not found else f"{len(found)} entries"
        raise ValueError(f"{what} in {root_of(given)} with a name that begins with {wanted!r}")
    return found[0]


def show(given: argparse.Namespace) -> int:
    found = one_of(given, records(given), given.name)
    if given.json:
        print(json.dumps(found))
        return 0
    for name, value in found.items():
        print(f"{name}: {printable(str(value), 2000)}")
    return 0


def rm(given: argparse.Namespace) -> int:
    """All names are looked up before the first entry goes."""
    kept = records(given)
    found = [one_of(given, kept, name) for name in given.names]
    for each in found:
        Path(each["path"]).unlink(missing_ok=True)
    if given.json:
        print(json.dumps({"removed": [each["path"] for each in found]}))
    else:
        print(f"removed {len(found)} entries, {size_text(sum(each['bytes'] for each in found))}")
    return 0


def drop(given: argparse.Namespace) -> int:
    from fused._invalidate import invalidate_cache

    tile: list[int] = []
    if given.tile is not None:
        parts = given.tile.split("/")
        if len(parts) != 3 or not all(part.isascii() and part.isdecimal() for part in parts):
            raise ValueError(f"--tile {given.tile!r} is not z/x/y, as 10/512/340")
        tile = [int(part) for part in parts]
    invalidate_cache(given.function, *tile)
    print(f"dropped the results of {given.function}" + (f", tile {given.tile}" if tile else ""))
    return 0


def verify(given: argparse.Namespace) -> int:
    """Header of every entry, and checksums of those made by this user; a server's are made with its owners' keys."""
    from fused._cache import entry, secret, store

    check = None if given.data else secret.keys().check
    good = foreign = 0
    bad: list[str] = []
    for _, folder in folders_of(given):
        for path in sorted(folder.glob("data_*")):
            if store.look(str(path)) is None:
                bad.append(str(path))
                continue
            try:
                if check is not None:
                    entry.read(str(path), bytes.fromhex(path.name.removeprefix("data_")), check)
                good += 1
            except (entry.Damaged, ValueError) as error:
                if "somebody else" in str(error) and "header" in str(error):
                    foreign += 1
                else:
                    bad.append(str(path))
    if given.remove:
        for name in bad:
            os.unlink(name)
    if given.json:
        print(json.dumps({"good": good, "foreign": foreign, "damaged": bad, "removed": given.remove}))
    else:
        print(f"{good} good, {foreign} of others or with a damaged header, {len(bad)} damaged")
        for name in bad:
            print(f"  {name}{' (removed)' if given.remove else ''}")
    return 1 if bad and not given.remove else 0


def clear(given: argparse.Namespace) -> int:
    from fused._cache import store
    from fused._cache.entry import clocks

    if not given.folders and not given.all and not given.expired:
        raise ValueError("name folders to clear (`fused cache info` lists them), or give --all or --expired")
    now = clocks.wall_ns()
    removed = freed = 0
    for _, folder in folders_of(given):
        paths = [item.path for item in store.scan(folder) if not given.expired or item.is_expired(now)]
        if not given.expired:
            paths += [str(path) for path in (*folder.glob("data_*"), *folder.glob(".damaged-*"))]
        for path in dict.fromkeys(paths):
            try:
                size = os.lstat(path).st_size
                os.unlink(path)
            except FileNotFoundError:
                continue
            except IsADirectoryError:
                print(f"{path} is a folder and was left", file=sys.stderr)
                continue
            removed, freed = removed + 1, freed + size
    if given.json:
        print(json.dumps({"removed": removed, "bytes": freed}))
    else:
        print(f"removed {removed} entries, {size_text(freed)}")
    return 0


def printable(text: str, length: int) -> str:
    """Entries may have been made by others: nothing of them steers the terminal."""
    text = "".join(letter if letter.isprintable() else "?" for letter in text)
    return text if len(text) <= length else text[: length - 1] + "…"


def size_text(size: int) -> str:
    value = float(size)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024 or unit == "GiB":
            break
        value /= 1024
    return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
