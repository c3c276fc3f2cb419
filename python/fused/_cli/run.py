"""``fused run``: a file or a saved function, with parameters, as a table or as bytes of a format."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fused._cli.failures import failure_of_function
from fused._cli.verbs import add_verb

if TYPE_CHECKING:
    from fused._jobs.response import RunResponse
    from fused._run.evaluation import UdfEvaluationResult

HELP = """\
  fused run hello.py n=3                   the function in a file
  fused run hello n=3 tags:='["a","b"]'    a saved one; := gives JSON
  fused run alice@example.com/hello        somebody else's
  fused run density.py --tile 6/33/22 -o tile.png
  fused run cities bounds='[5,45,10,48]' --format geojson > cities.geojson

Parameters are read by the function's annotations: n=3 becomes a number where it says `n: int`.

A run that goes on as a job (--on-timeout job, or the function's own wish): its id is printed, and the exit code is 0.
With -o or --format the command waits for the job instead and writes what it returned; Ctrl-C ends the waiting alone.
"""
SUFFIX_FORMATS = {".pq": "parquet", ".jpg": "jpeg", ".tif": "tiff", ".htm": "html", ".pbf": "mvt"}


def add_parser(verbs: Any) -> None:
    parser = add_verb(verbs, "run", "run a file or a saved function", HELP, act)
    parser.add_argument(
        "what", metavar="NAME|FILE", help="a .py file, folder, zip, saved name, email/name, id or share token"
    )
    parser.add_argument("parameters", metavar="K=V", nargs="*", default=[], help="parameters; K:=V for JSON values")
    parser.add_argument("--tile", metavar="Z/X/Y", help="run it for this map tile")
    parser.add_argument(
        "--format", metavar="F", help="parquet, geojson, json, csv, png, mvt, … (bytes go to stdout or -o)"
    )
    parser.add_argument("-o", "--output", metavar="FILE", help="write the bytes there; the suffix chooses the format")
    parser.add_argument("--engine", choices=("remote", "local"), help="default: remote when a server is known")
    parser.add_argument("--entrypoint", metavar="NAME", help="which function of the file")
    parser.add_argument("--max-retry", type=int, default=0, metavar="N", help="try again after failures (default 0)")
    parser.add_argument("--cache-max-age", metavar="AGE", help="how old a stored result may be, as 10m; 0s: none")
    parser.add_argument("--rows", type=int, default=20, metavar="N", help="rows of a table to show (default 20)")
    parser.add_argument(
        "--on-timeout",
        choices=("job", "error"),
        help="at the wall limit: go on as a job, whose id is printed (with -o or --format: that is waited for), or end "
        "(default: what the function says)",
    )
    parser.add_argument(
        "--follow", action="store_true", help="show on stderr what the function prints, line by line while it runs"
    )
    parser.add_argument("--verbose", action="store_true", help="show time, format and what the function printed")
    parser.set_defaults(python_names={"_format": "--format"})


def act(given: argparse.Namespace) -> int:
    import fused
    from fused._jobs.response import RunResponse
    from fused._run.arguments import server_is_known

    wanted = given.format or format_of(given.output)
    check_output(given.output)
    if given.rows < 0:
        raise ValueError(f"--rows {given.rows}: 0 or more")
    engine = given.engine or ("remote" if server_is_known() else "local")
    if wanted and engine == "local":
        raise ValueError("a format is made by the server; name one by `fused login`, or run without --format and -o")
    keywords: dict[str, Any] = {"parameters": read_parameters(given.parameters), "engine": engine}
    keywords |= {"max_retry": given.max_retry, "cache_max_age": given.cache_max_age, "_format": wanted}
    keywords["follow_logs"] = print_on_stderr if given.follow and engine == "remote" else None
    keywords["on_timeout"] = given.on_timeout
    if given.tile:
        keywords["z"], keywords["x"], keywords["y"] = read_tile(given.tile)
    what = target(given.what, given.entrypoint)
    result: UdfEvaluationResult = fused.run(what, _return_response=True, **keywords)
    if isinstance(result.data, RunResponse):  # the warning has said what it is
        if not wanted and not given.output:
            print(result.data.job_id)
            return 0
        result = wait_for(result.data)
    if result.is_cached and given.follow:
        print("answered from the cache: nothing ran, so that there are no lines", file=sys.stderr)
    elif result.is_cached and sys.stderr.isatty():
        print("answered from the cache; --cache-max-age 0s runs it again", file=sys.stderr)
    if given.verbose:
        print_about(result)
    if result.exception is not None:
        raise failure_of_function(result.exception, what if isinstance(what, str) else what.name)
    if wanted or given.output:
        write_bytes(result, given.output)
    else:
        from fused._cli.show import print_value

        print_value(result.data, given.rows)
    return 0


def wait_for(job: RunResponse) -> UdfEvaluationResult:
    """What the job returned that the run has become; ``UdfRuntimeError`` where it left nothing to write."""
    from fused._run.remote import result_of_job
    from fused.errors import UdfRuntimeError

    print(f"waiting for job {job.job_id}; Ctrl-C ends the waiting, the job goes on", file=sys.stderr)
    job.wait_for_job()
    if job.status == "canceled":
        raise UdfRuntimeError(f"job {job.job_id} was canceled: nothing was written")
    return result_of_job(job)


def print_on_stderr(_: str, line: str) -> None:
    """A line of the run: stdout is for its result."""
    print(line, file=sys.stderr, flush=True)


def target(what: str, entrypoint: str | None) -> Any:
    """A file, folder or zip becomes a Udf; anything else is for the server to find."""
    path = Path(what).expanduser()
    if not path.exists() and not what.endswith((".py", ".zip")):
        if entrypoint:
            raise ValueError("--entrypoint chooses a function of a file; a saved function has its own")
        return what
    from fused._load import load_path, udf_of_code
    from fused.errors import SourceError

    if entrypoint and path.suffix == ".py" and path.is_file():
        return udf_of_code(path.read_text(encoding="utf-8-sig").strip("\n"), entrypoint=entrypoint, file=path)
    try:
        return load_path(path)
    except SourceError as error:
        raise ValueError(str(error).replace("by entrypoint=", "by --entrypoint NAME")) from error


def read_parameters(pairs: list[str]) -> dict[str, Any]:
    """``n=3`` is text for the annotation to read, ``n:=3`` a JSON value."""
    found: dict[str, Any] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name.rstrip(":").isidentifier():
            raise ValueError(f"{pair!r} is not a parameter: write name=value, or name:=JSON")
        if name.endswith(":"):
            try:
                found[name[:-1]] = json.loads(value)
            except ValueError as error:
                raise ValueError(f"{pair!r}: {value!r} is not JSON: {error}") from None
        else:
            found[name] = value
    return found


def read_tile(text: str) -> tuple[int, int, int]:
    parts = text.split("/")
    if len(parts) != 3 or not all(part.isdecimal() for part in parts):
        raise ValueError(f"--tile {text!r} is not z/x/y, as 6/33/22")
    z, x, y = map(int, parts)
    return z, x, y


def format_of(output: str | None) -> str | None:
    """The format that a file's suffix names; None without one."""
    from fused._options import FORMATS

    suffix = Path(output).suffix.lower() if output and output != "-" else ""
    if not suffix:
        return None
    name = SUFFIX_FORMATS.get(suffix, suffix[1:])
    if name not in FORMATS:
        raise ValueError(f"-o {output}: {suffix!r} is no format; give one with --format, as --format parquet")
    return name


def check_output(output: str | None) -> None:
    """Before the run: a long one should not end in a file that cannot be written."""
    if output and output != "-":
        path = Path(output).expanduser()
        if not path.parent.is_dir():
            raise ValueError(f"-o {output}: there is no folder {str(path.parent)!r}")
        if path.is_dir():
            raise ValueError(f"-o {output} is a folder; name a file in it")


def write_bytes(result: UdfEvaluationResult, output: str | None) -> None:
    content = result.original_content or b""
    if output and output != "-":
        path = Path(output).expanduser()
        path.write_bytes(content)
        print(f"{path}: {len(content)} bytes, {result.original_headers.get('content-type', '')}", file=sys.stderr)
        return
    if sys.stdout.isatty() and b"\0" in content[:1000]:
        raise ValueError(f"the result is {len(content)} bytes that a terminal cannot show: give -o FILE, or pipe it on")
    sys.stdout.buffer.write(content)
    sys.stdout.flush()


def print_about(result: UdfEvaluationResult) -> None:
    kind = result.original_headers.get("content-type", "a value of this process")
    where = f", request id {result.request_id}" if result.request_id else ""
    print(f"{result.time_taken_seconds * 1000:.1f} ms, {kind}{where}", file=sys.stderr)
    for name, text in (("stdout", result.stdout), ("stderr", result.stderr)):
        if text and not result.has_exception:
            print(f"--- {name}\n{text.rstrip()}\n---", file=sys.stderr)
