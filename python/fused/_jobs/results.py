"""The results of a job: files at addresses of their own, with what is known of each beside it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from fused import _transport
from fused._inside import channel
from fused._run.decode import decode
from fused._run.evaluation import UdfEvaluationResult
from fused._run.failure import failure_of

NUMBERS_SHOWN = 5
_NAME = re.compile(r"([0-9]+)(?:\.(?P<rest>.*))?\Z")


def read_results(
    job_id: str,
    listed: list[Mapping[str, Any]],
    arg_index: int,
    why_none: Callable[[int], str | None] = lambda _: None,
) -> Any:
    """Of ``[{"name": "3.parquet", "url"}, {"name": "3.parquet.metadata", "url"}]`` the values by number.

    ``arg_index``: -1 for all as a list, else one. ``ValueError`` when it is not there, with what ``why_none`` says.
    """
    if isinstance(arg_index, bool) or not isinstance(arg_index, int) or arg_index < -1:
        raise ValueError(f"arg_index is {arg_index!r}; it is a number from 0 on, or -1 for all")
    results: dict[int, str] = {}
    metadata: dict[int, str] = {}
    for each in listed:
        match = _NAME.match(str(each["name"]))
        if match is None:
            continue  # a file that the function itself has put there
        place = metadata if str(each["name"]).endswith(".metadata") else results
        place[int(match[1])] = str(each["url"])
    numbers = sorted(results.keys() | metadata.keys())
    if arg_index != -1:
        if arg_index not in numbers:
            raise ValueError(why_none(arg_index) or f"job {job_id} has no result {arg_index}: {_there(numbers)}")
        numbers = [arg_index]
    values = [_read(results.get(number), metadata.get(number), f"task {number} of job {job_id}") for number in numbers]
    return values if arg_index == -1 else values[0]


def _there(numbers: list[int]) -> str:
    if not numbers:
        return "it has left none"
    shown = ", ".join(map(str, numbers[:NUMBERS_SHOWN])) + (", …" if len(numbers) > NUMBERS_SHOWN else "")
    return f"it has left {len(numbers)} ({shown})"


def read_all(job_id: str, listed: list[Mapping[str, Any]], tasks: int) -> list[Any]:
    """The values of all tasks by number; a task's failure is raised, else ``ValueError`` when some have left none."""
    values = read_results(job_id, listed, -1)
    there = {int(match[1]) for each in listed if (match := _NAME.match(str(each["name"])))}
    missing = [number for number in range(tasks) if number not in there]
    if missing:
        shown = ", ".join(map(str, missing[:NUMBERS_SHOWN])) + (", …" if len(missing) > NUMBERS_SHOWN else "")
        raise ValueError(
            f"{len(missing)} of {tasks} tasks of job {job_id} left no result ({shown}); get_results(n) gives one that "
            f"is there, and the log tells of the others: `fused jobs logs {job_id}`"
        )
    return list(values)


def _read(url: str | None, metadata_url: str | None, what: str) -> Any:
    response = _transport.Response(200) if url is None else fetch(url)
    about = fetch(metadata_url).json() if metadata_url else _about(response)
    if about.get("has_exception") or about.get("errormsg") or about.get("error_type"):
        result = UdfEvaluationResult(stdout=str(about.get("stdout") or ""), stderr=str(about.get("stderr") or ""))
        # Not the request that fetched the file: its id names no log.
        failure_of(result, about, _transport.Response(response.status, {}, response.body), None, what)
        result.raise_for_error()
    return decode(response.content_type, response.body)


def _about(response: _transport.Response) -> dict[str, Any]:
    try:
        value = json.loads(response.headers.get("x-fused-metadata") or "{}")
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def fetch(url: str) -> _transport.Response:
    """A file of a job by its link, which needs no token; inside a function too."""
    if channel() is not None:  # inside a function every address of the server goes through its channel
        parts = urlsplit(url)
        url = parts.path + (f"?{parts.query}" if parts.query else "")
    return _transport.raise_for_status(_transport.request("GET", url), "reading a result")
