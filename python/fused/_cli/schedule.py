"""``fused schedule``: functions that run by the clock."""

from __future__ import annotations

import argparse
import dataclasses
import json
from typing import TYPE_CHECKING, Any

from fused._cli.verbs import add_verb

if TYPE_CHECKING:
    from fused._jobs.schedule import Schedule

HELP = """\
  fused schedule add density "0 6 * * mon-fri" --time-zone Europe/Zurich
  fused schedule ls                      what is due when
  fused schedule show density            its next and last runs, and why one was left out
  fused schedule run density             now, beside its due times
  fused schedule disable density
  fused schedule rm density
"""
LS = """\
  fused schedule ls
  fused schedule ls --mine --json
"""
ADD = """\
  fused schedule add density "*/15 * * * *" year=2026 tag=night
  fused schedule add hello.py @daily                             the file is saved first
  fused schedule add density "0 2 * * *" --time-zone America/New_York --catch-up all
  fused schedule add density "@hourly" --overlap queue --jitter 5m --on-failure alarm

A line has five fields: minute (0-59), hour (0-23), day of the month (1-31), month (1-12 or jan-dec), day of the week
(0-7 or sun-sat; 0 and 7 are Sunday). Each is *, a number, a list 1,15, a range 1-5, or a step */15. Where both days
are given, either makes a day match. @hourly, @daily, @weekly, @monthly and @yearly stand for whole lines.
"""
SHOW = """\
  fused schedule show density
  fused schedule show density -n 50 --json
"""
ONE = """\
  fused schedule {} density              by name, by id or how that begins
"""


def add_parser(verbs: Any) -> None:
    parser = add_verb(verbs, "schedule", "run saved functions by the clock", HELP)
    acts = parser.add_subparsers(metavar="ACTION")
    each = add_verb(acts, "ls", "list schedules", LS, act_ls)
    each.add_argument("--mine", action="store_true", help="only your own")
    each.add_argument("--json", action="store_true", help="as JSON, for programs")
    each = add_verb(acts, "add", "make a schedule, or change the one of that name", ADD, act_add)
    each.add_argument("function", metavar="FUNCTION", help="a saved function's name or id, or a file")
    each.add_argument("cron", metavar="CRON", help='when, as "0 6 * * mon-fri" or @daily')
    each.add_argument("parameters", metavar="NAME=VALUE", nargs="*", help="arguments of the function")
    each.add_argument("--name", help="of the schedule; default: the function's")
    each.add_argument("--time-zone", metavar="ZONE", help="of CRON, as Europe/Zurich (of a new one: UTC)")
    each.add_argument(
        "--overlap",
        choices=("skip", "queue", "cancel_running"),
        help="when the last job still runs: leave this one out (default), let it wait, or end the last",
    )
    each.add_argument(
        "--catch-up",
        choices=("none", "last", "all"),
        help="of times that the server missed: run none, the last (default), or all",
    )
    each.add_argument("--jitter", metavar="TIME", help="begin up to so much later, as 5m; spreads the load")
    each.add_argument("--on-failure", metavar="FUNCTION", help="a saved function that is run when a job of it fails")
    each.add_argument("--instance-type", metavar="TYPE", help="the most that its jobs may use")
    each.add_argument("--description", metavar="TEXT")
    each.add_argument(
        "--disabled",
        action="store_true",
        help="let it rest; without it a new one is due, and one that is there stays as it is",
    )
    each.set_defaults(python_names={"udf_args": "NAME=VALUE"})
    each = add_verb(acts, "show", "a schedule and its last runs", SHOW, act_show)
    each.add_argument("schedule", metavar="SCHEDULE", help="its name, its id or how that begins")
    each.add_argument("-n", type=int, default=10, metavar="N", help="how many runs (default 10)")
    each.add_argument("--json", action="store_true", help="as JSON, for programs")
    for verb, summary, act in (
        ("run", "run a schedule's function now", act_run),
        ("enable", "let a schedule be due again", act_enable),
        ("disable", "let a schedule rest", act_disable),
        ("rm", "remove a schedule; jobs that run go on", act_rm),
    ):
        each = add_verb(acts, verb, summary, ONE.format(verb), act)
        each.add_argument("schedule", metavar="SCHEDULE", help="its name, its id or how that begins")
        if verb == "run":
            each.add_argument("--wait", action="store_true", help="follow the job's log until it has ended")


def schedule_of(given: str) -> Schedule:
    """The schedule of this name or id, or of the one id that begins so; ``ValueError`` for none and for several."""
    from fused._jobs.schedule import schedule_list

    listed = schedule_list()
    found = [each for each in listed if given in (each.id, each.name)]
    found = found or [each for each in listed if given and each.id.startswith(given)]
    if len(found) == 1:
        return found[0]
    if not found:
        names = ", ".join(sorted({each.name for each in listed})[:20]) or "there are none"
        raise ValueError(f"there is no schedule {given!r}; schedules: {names}")
    ids = ", ".join(each.id[:8] for each in found)
    raise ValueError(f"{len(found)} schedules are called {given!r}; name one by its id: {ids}")


def act_ls(given: argparse.Namespace) -> int:
    from fused._cli.show import print_table
    from fused._jobs.schedule import schedule_list

    listed = schedule_list(given.mine)
    if given.json:
        print(json.dumps([dataclasses.asdict(each) for each in listed], indent=2, ensure_ascii=False))
        return 0
    rows = [
        (
            each.id[:8],
            each.name,
            each.cron,
            each.time_zone,
            each.function_name or "(deleted)",
            _when(each.next[0]) if each.next else ("never" if each.enabled else "disabled"),
            _when(each.last_run),
        )
        for each in listed
    ]
    headers = ("id", "name", "cron", "zone", "function", "next (utc)", "last (utc)")
    print_table(headers, rows, 'there are no schedules yet: fused schedule add NAME "0 6 * * *"')
    return 0


def act_add(given: argparse.Namespace) -> int:
    from pathlib import Path

    from fused._jobs.schedule import schedule_udf

    udf: Any = given.function
    if Path(udf).is_file():
        from fused._cli.run import target

        udf = target(udf, None)
    made = schedule_udf(
        udf,
        given.cron,
        udf_args=_arguments(given.parameters) or None,
        enabled=False if given.disabled else None,
        name=given.name,
        time_zone=given.time_zone,
        overlap=given.overlap,
        catch_up=given.catch_up,
        jitter=given.jitter,
        on_failure=given.on_failure,
        instance_type=given.instance_type,
        description=given.description,
    )
    print(f"{made.id}  {made.name}: {_due(made)}")
    return 0


def act_show(given: argparse.Namespace) -> int:
    from fused._cli.show import print_table

    if not 1 <= given.n <= 1000:
        raise ValueError(f"-n {given.n}: 1 to 1000")
    one = schedule_of(given.schedule)
    runs = one.runs(given.n)
    if given.json:
        print(json.dumps({**dataclasses.asdict(one), "runs": runs}, indent=2, ensure_ascii=False))
        return 0
    print(f"{one.id}  {one.name}: {_due(one)}")
    for name, value in (
        ("cron", f"{one.cron} ({one.time_zone})"),
        ("function", f"{one.function_name or '(deleted)'} {one.function}"),
        ("arguments", json.dumps(one.arguments, ensure_ascii=False) if one.arguments else ""),
        ("type", one.instance_type),
        ("overlap", one.overlap),
        ("catch up", one.catch_up),
        ("jitter", f"{one.jitter:g} s" if one.jitter else ""),
        ("on failure", one.on_failure),
        ("next (utc)", ", ".join(map(_when, one.next))),
        ("description", one.description),
    ):
        if value:
            print(f"  {name}: {value}")
    print()
    rows = [
        (_when(run["due"]), run["state"], (run["job_id"] or "")[:8], run["error"] or run["note"] or "") for run in runs
    ]
    print_table(("due (utc)", "state", "job", "note"), rows, "it has not been due yet")
    return 0


def act_run(given: argparse.Namespace) -> int:
    job = schedule_of(given.schedule).run_now()
    print(job.job_id)
    if not given.wait:
        return 0
    job.tail_logs(refresh_seconds=0.3, sample_logs=False)
    return 0 if job.status == "done" else 1


def act_enable(given: argparse.Namespace) -> int:
    one = schedule_of(given.schedule).enable()
    print(f"{one.name}: {_due(one)}")
    return 0


def act_disable(given: argparse.Namespace) -> int:
    one = schedule_of(given.schedule).disable()
    print(f"{one.name}: {_due(one)}")
    return 0


def act_rm(given: argparse.Namespace) -> int:
    one = schedule_of(given.schedule)
    one.delete()
    print(f"{one.name} removed")
    return 0


def _arguments(texts: list[str]) -> dict[str, Any]:
    wrong = [text for text in texts if "=" not in text]
    if wrong:
        raise ValueError(f"{wrong[0]!r} is no argument: write NAME=VALUE, and quote the whole cron line")
    return dict(text.split("=", 1) for text in texts)


def _due(one: Schedule) -> str:
    if one.next:
        return f"due {_when(one.next[0])} UTC"
    return "never due" if one.enabled else "disabled"


def _when(text: Any) -> str:
    return "" if not text else str(text)[:16].replace("T", " ")
