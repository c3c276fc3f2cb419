"""``fused cache``: what ``@fused.cache`` keeps on disk, clearing it, and dropping results that a server keeps."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fused._cli.verbs import add_verb

if TYPE_CHECKING:
    from fused._cache.entry import Seen

RESULTS = "(results)"  # takes a folder's place in lists of what a server keeps

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
  fused cache verify --data data       of a server: headers of functions' entries, all of its large results
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
    from fused._cache import entry, place
    from fused.errors import ConfigurationError

    if not entry.is_available():
        raise ConfigurationError("entries are read by fused._native, which this installation does not have")
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
    from fused._cli.show import print_table

    rows: list[dict[str, Any]] = []
    for name, folder in folders_of(given):
        items = store.scan(folder)
        expired = sum(item.is_expired() for item in items)
        damaged = sum(1 for _ in folder.glob(".damaged-*"))
        size = sum(item.size for item in items)
        rows.append({"function": name, "entries": len(items), "bytes": size, "expired": expired, "damaged": damaged})
    results = results_of(given)
    if results:
        size, expired = sum(item.size for item in results), sum(item.is_expired() for item in results)
        rows.append({"function": RESULTS, "entries": len(results), "bytes": size, "expired": expired, "damaged": 0})
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
    from fused._cache import store

    found = [record_of(name, item) for name, folder in folders_of(given) for item in store.scan(folder)]
    found += [record_of(RESULTS, item) for item in results_of(given)]
    return sorted(found, key=lambda record: -float(record["created"]))


def record_of(folder: str, item: Seen) -> dict[str, Any]:
    """What an entry says of itself; it is shown, nothing of it is run."""
    from fused._cache import values

    kind = values.KIND_NAMES.get(item.kind, str(item.kind))
    if item.by_server:
        kind = str(item.note.get("format") or item.note.get("content_type", ""))
    elif item.head is None:
        kind = "earlier format"
    record = {
        "name": Path(item.path).name, "folder": folder, "path": item.path,
        "function": str(item.note.get("function", "")), "arguments": str(item.note.get("arguments", "")), "kind": kind,
        "bytes": item.size, "created": item.created_ns / 1e9, "max_age_s": item.max_age_s,
        "computing_ms": round(item.computing_ns / 1e6, 3), "expired": item.is_expired(),
    }  # fmt: skip
    if item.by_server:
        record |= {name: str(item.note.get(name, "")) for name in ("content_type", "owner", "run_id", "revision")}
    return record


def results_of(given: argparse.Namespace) -> list[Seen]:
    """Large results that the server of ``--data`` keeps; its small ones lie in segments, many to a file."""
    from fused._cache import entry

    if not given.data or (getattr(given, "folders", []) and RESULTS not in given.folders):
        return []
    return [found for path in result_files(given) if (found := entry.look(path)) is not None]


def result_files(given: argparse.Namespace) -> list[Path]:
    return sorted((Path(given.data).expanduser() / "cache" / "large").glob("[0-9a-f][0-9a-f]/" + "[0-9a-f]" * 16))


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
    found = [each for each in kept if each["name"].startswith(name if each["folder"] == RESULTS else wanted)]
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
    of_server = [each["name"] for each in found if each["folder"] == RESULTS]
    if of_server:
        raise ValueError(
            f"{', '.join(of_server)}: results are the server's; `fused cache invalidate FUNCTION` drops them"
        )
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
    is_saved = invalidate_cache(given.function, *tile)
    of_tile = f", tile {given.tile}" if tile else ""
    if is_saved:
        print(f"dropped the results of {given.function}{of_tile}")
    else:
        print(
            f"there is no saved function {given.function!r} (`fused udf list`); results of one of yours that was run "
            f"under this name without being saved are dropped, if there were any{of_tile}",
            file=sys.stderr,
        )
    return 0


def verify(given: argparse.Namespace) -> int:
    """Header of every entry, and checksums of those made by this user; a server's are made with its owners' keys."""
    from fused._cache import entry, secret

    check = None if given.data else secret.keys().check
    good = foreign = older = 0
    bad: list[str] = []
    for path in (path for _, folder in folders_of(given) for path in sorted(folder.glob("data_*"))):
        seen = entry.look(path)
        if seen is not None and seen.head is None:
            older += 1
            continue
        try:
            if seen is None:
                raise ValueError("it is no entry")
            if check is not None:
                entry.verify(path, bytes.fromhex(path.name.removeprefix("data_")), check)
            good += 1
        except FileNotFoundError:
            continue  # removed meanwhile
        except (entry.Damaged, OSError, ValueError) as error:
            if "somebody else" in str(error) and "header" in str(error):
                foreign += 1
            else:
                bad.append(str(path))
    results, bad_results = verify_results(given)
    bad += bad_results
    if given.remove:
        for name in bad:
            os.unlink(name)
    if given.json:
        counts = {"good": good, "foreign": foreign, "earlier_format": older, "results": results}
        print(json.dumps({**counts, "damaged": bad, "removed": given.remove}))
    else:
        more = f", {older} of an earlier format" if older else ""
        more += f", {results} large results of the server good" if given.data else ""
        print(f"{good} good, {foreign} of others or with a damaged header, {len(bad)} damaged{more}")
        for name in bad:
            print(f"  {name}{' (removed)' if given.remove else ''}")
    return 1 if bad and not given.remove else 0


def verify_results(given: argparse.Namespace) -> tuple[int, list[str]]:
    """How many of the server's large results pass, and which do not: their checksum needs no key."""
    from fused._cache import entry

    good = 0
    bad: list[str] = []
    for path in result_files(given) if given.data and not given.folders else ():
        try:
            entry.verify(path, None, None)
            good += 1
        except FileNotFoundError:
            continue  # the server evicts while this walks
        except (entry.Damaged, OSError):
            bad.append(str(path))
    return good, bad


def clear(given: argparse.Namespace) -> int:
    from fused._cache import store

    if not given.folders and not given.all and not given.expired:
        raise ValueError("name folders to clear (`fused cache info` lists them), or give --all or --expired")
    removed = freed = 0
    for _, folder in folders_of(given):
        paths = [item.path for item in store.scan(folder) if not given.expired or item.is_expired()]
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
