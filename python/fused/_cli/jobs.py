"""``fused jobs``: what goes on, and went on, on the server."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fused._cli.verbs import add_verb

if TYPE_CHECKING:
    from fused._jobs.response import RunResponse

HELP = """\
  fused jobs ls                          the newest jobs of the organisation
  fused jobs show 4dacbe7f               one whole: limits, tasks, attempts; an id or how it begins
  fused jobs logs -f 4dacbe7f            its log as it grows, until it has ended
  fused jobs cancel 4dacbe7f
  fused jobs retry 4dacbe7f              a new job of the tasks that are not done
  fused jobs rerun file.json             a new job from a config that a job left behind
"""
LS = """\
  fused jobs ls
  fused jobs ls --state failed --mine
  fused jobs ls -n 100 --json
"""
SHOW = """\
  fused jobs show 4dacbe7f
  fused jobs show 4dacbe7f --plot use.png    memory and processors over time, a line for each task
  fused jobs show 4dacbe7f --tasks 5000
  fused jobs show 4dacbe7f --json            with all tasks that have begun
"""
LOGS = """\
  fused jobs logs 4dacbe7f
  fused jobs logs -f 4dacbe7f                follows until the job has ended; Ctrl-C only stops looking
  fused jobs logs 4dacbe7f --task 3          only what task 3 printed
"""
CANCEL = """\
  fused jobs cancel 4dacbe7f                 within 2 seconds no process of it is alive
"""
RETRY = """\
  fused jobs retry 4dacbe7f                  tasks that failed, were canceled or never begun, as a new job
"""
RERUN = """\
  fused jobs rerun s3/fused-users/default/fused-system/job-configs/2026-11-21/4dacbe7f-…/file.json
  fused jobs rerun 4dacbe7f                  the same config and options again
  fused jobs rerun file.json --instance-type m5.large --wait
"""
RM = """\
  fused jobs rm 4dacbe7f                     with its log and results; only one that has ended
"""
PAGE, TASKS_SHOWN = 1_000, 20
STATES = ("pending", "running", "done", "failed", "canceled")
ID = "the job's id or how it begins"


def add_parser(verbs: Any) -> None:
    parser = add_verb(verbs, "jobs", "list jobs, watch them, end them, run them again", HELP)
    acts = parser.add_subparsers(metavar="ACTION")
    each = add_verb(acts, "ls", "list jobs, the newest first", LS, act_ls)
    each.add_argument("--state", choices=STATES, help="only jobs in this state")
    each.add_argument("--mine", action="store_true", help="only your own")
    each.add_argument("-n", type=int, default=20, metavar="N", help="how many (default 20)")
    each.add_argument("--json", action="store_true", help="as JSON, for programs")
    each = add_verb(acts, "show", "all there is to know of a job", SHOW, act_show)
    each.add_argument("id", metavar="ID", help=ID)
    each.add_argument("--plot", metavar="FILE.png", help="draw memory and processors over time into this file")
    each.add_argument("--tasks", type=int, metavar="N", help="how many tasks to list (default 20; with --json all)")
    each.add_argument("--json", action="store_true", help="as JSON, for programs")
    each = add_verb(acts, "logs", "what a job printed", LOGS, act_logs)
    each.add_argument("id", metavar="ID", help=ID)
    each.add_argument("-f", "--follow", action="store_true", help="go on until the job has ended")
    each.add_argument("--task", type=int, metavar="N", help="only lines of this task")
    each = add_verb(acts, "cancel", "end jobs for good", CANCEL, act_cancel)
    each.add_argument("ids", metavar="ID", nargs="+", help=ID)
    each = add_verb(acts, "retry", "run again what of a job is not done", RETRY, act_retry)
    each.add_argument("id", metavar="ID", help=ID)
    each = add_verb(acts, "rerun", "run a job again, from its config file or its id", RERUN, act_rerun)
    each.add_argument("what", metavar="FILE", help="a file.json or meta.json; or the id of a job")
    each.add_argument("--instance-type", metavar="TYPE", help="the most that it may use (of a FILE)")
    each.add_argument("--wait", action="store_true", help="follow its log until it has ended")
    each = add_verb(acts, "rm", "remove jobs that have ended", RM, act_rm)
    each.add_argument("ids", metavar="ID", nargs="+", help=ID)


def job_of(given: str) -> RunResponse:
    """The job of this id, or of the one id that begins so; ``ValueError`` for none and for several."""
    from fused._jobs.response import RunResponse
    from fused._transport import call_json

    if len(given) >= 36:
        return RunResponse.of_id(given)
    if not given:
        raise ValueError("the job's id is empty; `fused jobs ls` shows the ids")
    listed = call_json("GET", "/api/v1/jobs", "looking for the job", {"limit": 1000})["jobs"]
    found = [each for each in listed if str(each["job_id"]).startswith(given)]
    if len(found) == 1:
        return RunResponse.of_json(found[0])
    if not found:
        raise ValueError(f"no job's id begins with {given!r} (of the newest 1000); `fused jobs ls` shows the ids")
    raise ValueError(f"{len(found)} jobs begin with {given!r}: {', '.join(each['job_id'] for each in found[:5])}")


def act_ls(given: argparse.Namespace) -> int:
    from fused._cli.show import print_table
    from fused._transport import call_json

    if given.n < 1:
        raise ValueError(f"-n {given.n}: at least 1")
    query = {"state": given.state, "mine": "true" if given.mine else None, "limit": given.n}
    jobs = call_json("GET", "/api/v1/jobs", "listing jobs", query)["jobs"]
    if given.json:
        print(json.dumps(jobs, indent=2, ensure_ascii=False))
        return 0
    rows = [
        (
            each["job_id"][:8],
            each["job_name"],
            each["status"],
            f"{each['finished_tasks']}/{each['total_tasks']}",
            each.get("instance_type"),
            each.get("user_email"),
            _when(each.get("submitted")),
            _took(each),
        )
        for each in jobs
    ]
    headers = ("id", "name", "state", "tasks", "type", "user", "submitted (utc)", "time")
    print_table(headers, rows, "no job is like that" if given.state or given.mine else "there are no jobs yet")
    return 0


def act_show(given: argparse.Namespace) -> int:
    from fused._cli.show import print_table
    from fused._transport import call_json, path_of

    if given.tasks is not None and given.tasks < 1:
        raise ValueError(f"--tasks {given.tasks}: at least 1")
    job = job_of(given.id)
    path = path_of("api", "v1", "jobs", job.job_id)
    if given.plot:
        samples = call_json("GET", f"{path}/usage", "reading what the job used")
        plot(samples, given.plot, job.job_id)
        print(f"{given.plot}: {len(samples)} samples", file=sys.stderr)
        if not given.json:
            return 0
    wanted = given.tasks or (None if given.json else TASKS_SHOWN)
    about = _with_tasks(path, None if wanted is None else wanted + 1)  # one more tells whether there are more
    are_more = wanted is not None and len(about["tasks"]) > wanted
    about["tasks"] = about["tasks"][:wanted]
    if given.json:
        print(json.dumps(about, indent=2, ensure_ascii=False))
        return 0
    print(f"{about['job_id']}  {about['job_name']}: {about['status']}")
    facts = {
        "tasks": f"{about['finished_tasks']} of {about['total_tasks']} have ended",
        "type": about.get("instance_type"),
        "user": about.get("user_email"),
        "submitted": _when(about.get("submitted")),
        "started": _when(about.get("started")),
        "ended": _when(about.get("ended")),
        "time": _took(about),
        "last heartbeat": _when(about.get("last_heartbeat")),
        "config": about.get("config_path"),
        "error": about.get("error"),
    }
    for name, value in facts.items():
        if value:
            print(f"  {name}: {value}")
    for name, value in (about.get("options") or {}).items():
        if value not in (None, "", [], {}, False, 0) and name != "instance_type":
            print(f"  {name}: {value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}")
    for note in about.get("notes") or []:
        print(f"  note: {note}")
    for hook in about.get("hooks") or []:
        error = f" ({hook['error']})" if hook.get("error") else ""
        print(f"  told at the end: {hook['target']}: {hook['state']}, {hook['tries']} tries{error}")
    tasks = about.get("tasks") or []
    if tasks:
        print()
        rows = [(t["task"], t["step"], t["state"], t["attempts"], _first_line(t.get("error"))) for t in tasks]
        print_table(("task", "step", "state", "attempts", "error"), rows, "")
    if are_more:
        print(f"… of {about['total_tasks']} tasks; --tasks N lists more")
    elif left := about["total_tasks"] - len(tasks):
        never = "never began" if about["terminal_status"] else "have not begun"
        print(f"{'the other ' if tasks else ''}{left} of {about['total_tasks']} tasks {never}")
    return 0


def _with_tasks(path: str, wanted: int | None) -> dict[str, Any]:
    """The job with its first ``wanted`` tasks that have begun, or all: page by page, as the server gives them."""
    from fused._transport import call_json

    about: dict[str, Any] = {}
    tasks: list[dict[str, Any]] = []
    while True:
        limit = PAGE if wanted is None else min(PAGE, wanted - len(tasks))
        query = {"skip": tasks[-1]["task"] + 1 if tasks else 0, "limit": limit}
        page = call_json("GET", path, "asking about the job", query)
        about = about or page
        tasks += page["tasks"]
        if len(page["tasks"]) < limit or len(tasks) == wanted:
            return {**about, "tasks": tasks}


def plot(samples: list[Mapping[str, Any]], path: str, job_id: str) -> None:
    """Memory and processors over time, a line for each task. Needs matplotlib."""
    if not samples:
        raise ValueError(f"job {job_id} has no samples of its use yet: they begin a moment after its first task")
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise ValueError("--plot needs matplotlib: pip install matplotlib") from None
    first = min(int(each["timestamp"]) for each in samples)
    tasks: dict[int, list[Mapping[str, Any]]] = {}
    for each in sorted(samples, key=lambda each: int(each["timestamp"])):
        tasks.setdefault(int(each["task"]), []).append(each)
    figure = Figure(figsize=(10, 6), layout="constrained")
    FigureCanvasAgg(figure)
    memory, processors = figure.subplots(2, 1, sharex=True)
    for task, line in sorted(tasks.items()):
        seconds = [(int(each["timestamp"]) - first) / 1000 for each in line]
        memory.plot(seconds, [each["memory_bytes"] / (1 << 20) for each in line], marker=".", label=f"task {task}")
        processors.plot(seconds, cores(line), marker=".", label=f"task {task}")
    memory.set_title(f"job {job_id}")
    memory.set_ylabel("memory, MiB")
    processors.set_ylabel("processors")
    processors.set_xlabel("seconds since its first sample")
    for axes in (memory, processors):
        most = max(float(value) for line in axes.get_lines() for value in line.get_ydata())
        axes.set_ylim(0, max(1.1 * most, 1))
        axes.grid(alpha=0.3)
    if len(tasks) <= 20:
        memory.legend(fontsize="small")
    try:
        figure.savefig(path, dpi=110)
    except ValueError as error:
        raise ValueError(f"--plot {path}: {error}") from None


def cores(line: list[Mapping[str, Any]]) -> list[float]:
    """How many processors a task kept busy between one sample and the next; a new attempt counts from 0 again."""
    busy, before = [], None
    for each in line:
        used = 0.0
        if before is not None:
            passed = (int(each["timestamp"]) - int(before["timestamp"])) / 1000
            spent = float(each["cpu_seconds"]) - float(before["cpu_seconds"])
            used = (spent if spent >= 0 else float(each["cpu_seconds"])) / passed if passed > 0 else 0.0
        busy.append(used)
        before = each
    return busy[1:2] + busy[1:] if len(busy) > 1 else busy


def act_logs(given: argparse.Namespace) -> int:
    job = job_of(given.id)
    if given.follow and given.task is None:
        job.tail_logs(refresh_seconds=0.3, sample_logs=False, get_logs_retries=10)
        return 0 if job.status == "done" else 1
    if given.follow:
        raise ValueError("--follow shows all tasks; leave --task out")
    if given.task is None:
        job.print_logs()
        return 0
    from fused._jobs.response import line_text

    for line in job.get_logs():
        if line.get("task") == given.task:
            print(line_text(line))
    return 0


def act_cancel(given: argparse.Namespace) -> int:
    from fused.errors import FusedError

    failed = 0
    for each in given.ids:
        try:
            print(f"{job_of(each).cancel().job_id} canceled")
        except (FusedError, ValueError) as error:
            print(f"fused jobs cancel {each}: {error}", file=sys.stderr)
            failed = 1
    return failed


def act_retry(given: argparse.Namespace) -> int:
    print(job_of(given.id).retry().job_id)
    return 0


def act_rerun(given: argparse.Namespace) -> int:
    path = Path(given.what)
    if path.is_file():
        job = _from_file(path, given.instance_type)
    else:
        if "/" in given.what or given.what.endswith(".json"):
            raise ValueError(f"{given.what!r} is not there; FILE is the file.json of a job, or a job's id")
        if given.instance_type:
            raise ValueError("--instance-type belongs to a FILE; a job's id is run again with its own options")
        job = job_of(given.what).rerun()
    print(job.job_id)
    if not given.wait:
        return 0
    job.tail_logs(refresh_seconds=0.3, sample_logs=False)
    return 0 if job.status == "done" else 1


def act_rm(given: argparse.Namespace) -> int:
    from fused._transport import call_json, path_of

    for each in given.ids:
        job = job_of(each)
        call_json("DELETE", path_of("api", "v1", "jobs", job.job_id), f"removing job {job.job_id}")
        print(f"{job.job_id} removed")
    return 0


def _from_file(path: Path, instance_type: str | None) -> RunResponse:
    from fused._jobs.response import post_job

    try:
        config = json.loads(path.read_text("utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{str(path)!r} is not JSON: {error}") from None
    return post_job("/run", f"running {path}", {"instance_type": instance_type}, {"config": config})


def _when(text: Any) -> str:
    return "" if not text else str(text)[:19].replace("T", " ")


def _took(job: Mapping[str, Any]) -> str:
    import datetime

    if not job.get("started"):
        return ""
    moments = [datetime.datetime.fromisoformat(str(job["started"]).replace("Z", "+00:00"))]
    ended = job.get("ended")
    now = datetime.datetime.now(datetime.UTC)
    moments.append(datetime.datetime.fromisoformat(str(ended).replace("Z", "+00:00")) if ended else now)
    seconds = max(0.0, (moments[1] - moments[0]).total_seconds())
    if seconds < 60:
        return f"{seconds:.1f} s"
    return str(datetime.timedelta(seconds=int(seconds)))


def _first_line(error: Any) -> str:
    from fused._cli.cache import printable

    return printable(str(error).splitlines()[0], 80) if error else ""
