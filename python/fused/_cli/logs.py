"""``fused logs``: what runs left behind, from the server or straight from its folder.

The server needs no route for it: a function reads ``/mount/fused-system/logs``, as the seed's own samples do.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

HELP = """\
  fused logs                          the newest runs
  fused logs --last                   the newest one whole
  fused logs 4dacbe7f-8f4e-…          the one with this request id
  fused logs --data data              from the server's data folder, also when it does not run
"""
READER = """\
@fused.udf(cache_max_age="0s")
def read_logs(wanted: str = "", n: int = 20, root: str = "/mount/fused-system/logs"):
    import glob, json, os
    if not os.path.isdir(root) and "FUSED_MOUNT" in os.environ:
        root = os.environ["FUSED_MOUNT"] + "/fused-system/logs"
    pattern = glob.escape(wanted) if wanted else "*"
    found = []
    days = sorted(glob.glob(f"{root}/????-??-??"), reverse=True)
    for day in days:
        for minute in sorted(glob.glob(f"{day}/[0-9][0-9][0-9][0-9]"), reverse=True):
            runs = []
            for folder in glob.glob(f"{minute}/*/{pattern}"):
                try:
                    with open(f"{folder}/metadata.json") as file:
                        metadata = json.load(file)
                except (OSError, ValueError):
                    continue
                if metadata.get("udf_name") == "read_logs" and not wanted:
                    continue
                texts = {}
                for name in ("stdout.log", "stderr.log", "udf.json"):
                    if wanted or n == 1:
                        with open(f"{folder}/{name}", errors="replace") as file:
                            texts[name] = file.read()
                runs.append({"folder": folder, "at": os.stat(f"{folder}/metadata.json").st_mtime, **metadata, **texts})
            found += sorted(runs, key=lambda run: run.get("started") or run["at"], reverse=True)
            if len(found) >= n:
                return found[:n]
    return found
"""


def add_parser(verbs: Any) -> None:
    parser = verbs.add_parser(
        "logs",
        help="what runs printed and how they ended",
        epilog=HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "run_id", metavar="RUN_ID", nargs="?", help="the request id that an error or `fused run --verbose` names"
    )
    parser.add_argument("--last", action="store_true", help="the newest run")
    parser.add_argument("-n", type=int, default=20, metavar="N", help="how many runs to list (default 20)")
    parser.add_argument("--data", metavar="DIR", help="read the server's data folder instead of asking the server")
    parser.add_argument("--code", action="store_true", help="also print the code that ran")
    parser.set_defaults(act=act, verb="logs")


def act(given: argparse.Namespace) -> int:
    if given.run_id and given.last:
        raise ValueError("RUN_ID and --last choose different runs: give one")
    if given.n < 1:
        raise ValueError(f"-n {given.n}: at least 1")
    whole = bool(given.run_id or given.last)
    runs = read(given.run_id or "", 1 if whole else given.n, given.data)
    if not runs:
        what = f"there is no run {given.run_id!r}" if given.run_id else "nothing has run yet"
        print(f"fused logs: {what} (a run's folder appears within a second of its end)", file=sys.stderr)
        return 1
    if whole:
        show(runs[0], given.code)
    else:
        list_runs(runs)
    return 0


def read(wanted: str, n: int, data: str | None) -> list[dict[str, Any]]:
    import fused

    reader = fused.load(READER)
    if data is None:
        return list(fused.run(reader, wanted=wanted, n=n, engine="remote", _format="json"))
    root = Path(data).expanduser() / "mount" / "fused-system" / "logs"
    if not root.is_dir():
        raise FileNotFoundError(
            f"{str(root)!r} is not there; --data names the folder that `fused serve --data` was given"
        )
    return list(fused.run(reader, wanted=wanted, n=n, root=str(root.resolve()), engine="local"))


def list_runs(runs: list[dict[str, Any]]) -> None:
    from fused._cli.show import print_table

    rows = []
    for run in runs:
        day, minute, user, name = Path(run["folder"]).parts[-4:]
        seconds = run.get("execution_time_seconds")
        took = "" if seconds is None else f"{float(seconds) * 1000:.1f} ms"
        rows.append((f"{day} {minute[:2]}:{minute[2:]}", run.get("udf_name"), run.get("outcome"), took, user, name))
    print_table(("utc", "function", "outcome", "time", "user", "request id"), rows, "")


def show(run: dict[str, Any], code: bool) -> None:
    texts = {name: run.pop(name, "") for name in ("stdout.log", "stderr.log", "udf.json")}
    run.pop("at", None)
    print(run.pop("folder"))
    for name, value in run.items():
        print(f"  {name}: {value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}")
    for name in ("stdout.log", "stderr.log"):
        print(f"--- {name}{'' if texts[name] else ' (empty)'}")
        if texts[name]:
            print(texts[name].rstrip("\n"))
    if code:
        print(f"--- code\n{json.loads(texts['udf.json']).get('code', '')}")
