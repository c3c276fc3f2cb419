"""``fused logs``: what runs left behind, from the server or straight from its folder.

The server needs no route for it: a function reads ``/mount/fused-system/logs``, as the seed's own samples do.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from fused._cli.verbs import add_verb

HELP = """\
  fused logs                              the newest runs, newest first
  fused logs --failed --function hello    only those of one function that failed
  fused logs --last                       the newest one whole: what it printed, how it ended
  fused logs 4dacbe7f                     the one whose request id begins so
  fused logs --data data                  from the server's data folder, also when it does not run
"""
READER = """\
@fused.udf(cache_max_age="0s")
def read_logs(
    wanted: str = "", n: int = 20, whole: bool = False, function: str = "", failed: bool = False,
    root: str = "/mount/fused-system/logs",
):
    import glob, json, os
    if not os.path.isdir(root) and "FUSED_MOUNT" in os.environ:
        root = os.environ["FUSED_MOUNT"] + "/fused-system/logs"
    found = []
    days = sorted(glob.glob(f"{root}/????-??-??"), reverse=True)
    for day in days:
        for minute in sorted(glob.glob(f"{day}/[0-9][0-9][0-9][0-9]"), reverse=True):
            runs = []
            for folder in glob.glob(f"{minute}/*/{glob.escape(wanted)}*"):
                try:
                    with open(f"{folder}/metadata.json") as file:
                        run = json.load(file)
                except (OSError, ValueError):
                    continue
                if run.get("udf_name") == "read_logs" and not wanted and function != "read_logs":
                    continue
                if (function and run.get("udf_name") != function) or (failed and run.get("outcome") == "ok"):
                    continue
                runs.append({"folder": folder, **run})
            found += sorted(runs, key=lambda run: run.get("started_at") or "", reverse=True)
            if len(found) >= n:
                break
        if len(found) >= n:
            break
    exact = [run for run in found if wanted and os.path.basename(run["folder"]) == wanted]
    found = exact or found[:n]
    if whole and len(found) == 1:
        for name in ("stdout.log", "stderr.log", "udf.json"):
            with open(f"{found[0]['folder']}/{name}", errors="replace") as file:
                found[0][name] = file.read()
    return found
"""


def add_parser(verbs: Any) -> None:
    parser = add_verb(verbs, "logs", "show what runs printed and how they ended", HELP, act)
    parser.add_argument(
        "run_id", metavar="RUN_ID", nargs="?", help="the request id that an error names, or how it begins"
    )
    parser.add_argument("--last", action="store_true", help="the newest run, whole")
    parser.add_argument("-n", type=int, default=20, metavar="N", help="how many runs to list (default 20)")
    parser.add_argument("--function", metavar="NAME", default="", help="only runs of this function")
    parser.add_argument("--failed", action="store_true", help="only runs that gave no result")
    parser.add_argument("--data", metavar="DIR", help="read the server's data folder instead of asking the server")
    parser.add_argument("--code", action="store_true", help="also print the code that ran")


def act(given: argparse.Namespace) -> int:
    if given.run_id and given.last:
        raise ValueError("RUN_ID and --last choose different runs: give one")
    if given.n < 1:
        raise ValueError(f"-n {given.n}: at least 1")
    runs = read(given)
    if not runs:
        chosen = given.function or given.failed
        what = "no run is like that" if chosen else "nothing has run yet"
        what = f"there is no run {given.run_id!r}" if given.run_id else what
        job = job_of(given)
        if job is not None:
            print(f"fused logs: {given.run_id!r} is a job: `fused jobs logs {job}` shows its log", file=sys.stderr)
            return 1
        print(f"fused logs: {what} (a run's folder appears within a second of its end)", file=sys.stderr)
        return 1
    if "stdout.log" in runs[0]:
        show(runs[0], given.code)
    else:
        list_runs(runs)
    return 0


def job_of(given: argparse.Namespace) -> str | None:
    """The short id of the job that ``RUN_ID`` names; None where there is none, or no server to ask."""
    from fused._cli.jobs import job_of as find
    from fused.errors import FusedError

    if not given.run_id or given.data is not None:
        return None
    try:
        return find(given.run_id).refresh_status().job_id[:8]
    except (FusedError, ValueError):
        return None


def read(given: argparse.Namespace) -> list[dict[str, Any]]:
    """The runs asked for, newest first; with the texts of its files when it is one that was asked for by itself."""
    import fused
    from fused.errors import TransportError

    reader = fused.load(READER)
    wanted: dict[str, Any] = {"wanted": given.run_id or "", "n": 1 if given.last else given.n}
    wanted |= {"whole": bool(given.run_id or given.last), "function": given.function, "failed": given.failed}
    if given.data is None:
        try:
            return list(fused.run(reader, parameters=wanted, engine="remote", _format="json"))
        except TransportError as error:
            raise TransportError(f"{error} Without it, `fused logs --data DIR` reads its data folder") from None
    root = Path(given.data).expanduser() / "mount" / "fused-system" / "logs"
    if not root.is_dir():
        raise ValueError(f"{str(root)!r} is not there; --data names the folder that `fused serve --data` was given")
    return list(fused.run(reader, parameters={**wanted, "root": str(root.resolve())}, engine="local"))


def list_runs(runs: list[dict[str, Any]]) -> None:
    from fused._cli.show import print_table

    rows = []
    for run in runs:
        day, minute, user, name = Path(run["folder"]).parts[-4:]
        seconds = run.get("execution_time_seconds")
        took = "" if seconds is None else f"{float(seconds) * 1000:.1f} ms"
        began = str(run.get("started_at") or f"{day}T{minute[:2]}:{minute[2:]}")[:19].replace("T", " ")
        rows.append((began, run.get("udf_name"), run.get("outcome"), took, user, name))
    print_table(("began (utc)", "function", "outcome", "time", "user", "request id"), rows, "")


def show(run: dict[str, Any], code: bool) -> None:
    texts = {name: run.pop(name, "") for name in ("stdout.log", "stderr.log", "udf.json")}
    print(run.pop("folder") + "/")
    for name, value in run.items():
        print(f"  {name}: {value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}")
    for name in ("stdout.log", "stderr.log"):
        print(f"--- {name}{'' if texts[name] else ' (empty)'}")
        if texts[name]:
            print(texts[name].rstrip("\n"))
    if code:
        print(f"--- code\n{json.loads(texts['udf.json']).get('code', '')}")
