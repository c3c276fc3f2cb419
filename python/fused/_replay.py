"""``fused.replay``: runs a logged run again and says what is no longer the same."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fused._options import FORMATS
from fused._run.evaluation import UdfEvaluationResult
from fused.errors import NotFoundError, ServerError
from fused.models.header import Header
from fused.models.udf import Udf

FOLDER_SECONDS = 20.0  # until the folder of a run that has ended is there


@dataclass
class Replay:
    """What ``fused.replay`` found.

    ``request_id``: of the logged run; ``log``: its ``metadata.json``; ``udf``: the function as it was then.
    ``result``: of the new run (``.data`` is its value), ``new_log`` its ``metadata.json``. ``changed``: what is no
    longer the same, for people. ``is_same``: the same bytes, or the same failure; None where the log is of a server
    that kept no digest.
    """

    request_id: str
    log: dict[str, Any]
    udf: Udf
    result: UdfEvaluationResult
    new_log: dict[str, Any]
    changed: list[str]
    is_same: bool | None

    def difference(self) -> str:
        """In one sentence: whether the result equals that of the logged run."""
        before, now = self.log["outcome"], self.new_log.get("outcome") or self.log["outcome"]
        if before != now:
            return f"it ended with {before!r} then, and with {now!r} now"
        if now != "ok":
            return "the same failure" if self.is_same else "another failure: " + _failure(self.log, self.new_log)
        size = len(self.result.original_content or b"")
        if self.is_same is None:
            return f"the log has no digest of the result ({self.log.get('result_bytes')} bytes then, {size} now)"
        if self.is_same:
            return f"the same {size} bytes"
        return f"another result ({self.log.get('result_bytes')} bytes then, {size} now)"


def replay(request_id: str) -> Replay:
    """Runs a logged run again on the server: its code, parameters, tile and format, without the cache.

    ``request_id``: the id that an error names and ``fused logs`` lists, or how it begins. It runs as whoever asks now,
    with the packages and files of today: ``.changed`` says what of it is no longer the same.

    Raises ``NotFoundError`` when there is no such run, ``ValueError`` when it cannot be repeated: its parameters were
    too large for the log.
    """
    run = read_run(request_id)
    udf = udf_of_run(run)
    result = _run_again(run, udf)
    new_log = _wait_for(result.request_id or "")
    log = {key: value for key, value in run.items() if key not in ("udf.json", "stdout.log", "stderr.log")}
    return Replay(run["request_id"], log, udf, result, new_log, _changes(log, new_log), _is_same(log, new_log, result))


def read_run(request_id: str) -> dict[str, Any]:
    """The four files of one run: ``metadata.json`` with ``udf.json``, ``stdout.log`` and ``stderr.log`` as members."""
    if not isinstance(request_id, str) or not request_id or not set(request_id) <= set("0123456789abcdefABCDEF-."):
        raise ValueError(f"{request_id!r} is no request id; `fused logs` lists them")
    found = _read(request_id)
    if not found:
        raise NotFoundError(
            f"there is no run {request_id!r} in the logs (a run's folder appears within a second of its end; logs are "
            "kept for log_retention_days)",
            status=404,
        )
    if len(found) > 1:
        ids = ", ".join(str(run["request_id"]) for run in found[:5])
        raise ValueError(f"{request_id!r} is the beginning of several request ids: {ids}; give more of it")
    return found[0]


def _read(wanted: str) -> list[dict[str, Any]]:
    import fused
    from fused._cli.logs import READER

    parameters = {"wanted": wanted, "n": 6, "whole": True}
    return list(fused.run(fused.load(READER), parameters=parameters, engine="remote", _format="json"))


def udf_of_run(run: Mapping[str, Any]) -> Udf:
    """The function as the log has it."""
    logged = json.loads(run["udf.json"])
    udf = Udf(
        logged.get("name") or run["udf_name"],
        logged["code"],
        entrypoint=logged.get("entrypoint"),
        headers=[Header.of_json(each) for each in logged.get("headers") or []],
        metadata={},
    )
    if run.get("udf_id"):
        udf.metadata = {"fused:id": run["udf_id"]}
    return udf


def _run_again(run: Mapping[str, Any], udf: Udf) -> UdfEvaluationResult:
    import fused

    parameters = run.get("parameters")
    if not isinstance(parameters, dict):
        raise ValueError(
            f"run {run['request_id']} cannot be repeated, for its parameters are not in the log "
            f"({run.get('parameters_note')})"
        )
    keywords: dict[str, Any] = {}
    if run.get("tile"):
        keywords["z"], keywords["x"], keywords["y"] = map(int, run["tile"].split("/"))
        parameters = {name: value for name, value in parameters.items() if name not in ("z", "x", "y")}
    if run.get("format") in FORMATS:  # not bin, pdf, gz, none: those are what the value was by itself
        keywords["_format"] = run["format"]
    result: UdfEvaluationResult = fused.run(
        udf,
        parameters=parameters,
        engine="remote",
        cache_max_age="0s",
        _return_response=True,
        _ignore_unknown_arguments=True,
        **keywords,
    )
    return result


def _wait_for(request_id: str) -> dict[str, Any]:
    """``metadata.json`` of a run that has ended; empty when it does not appear."""
    deadline = time.monotonic() + FOLDER_SECONDS
    pause = 0.05
    while request_id:
        found = [run for run in _read(request_id) if run["request_id"] == request_id]
        if found:
            return {key: value for key, value in found[0].items() if not key.endswith((".log", ".json"))}
        if time.monotonic() > deadline:
            break
        time.sleep(pause)
        pause = min(2 * pause, 1.0)
    return {}


def _is_same(log: Mapping[str, Any], new_log: Mapping[str, Any], result: UdfEvaluationResult) -> bool | None:
    if log["outcome"] != "ok" or result.exception is not None:
        same_outcome = log["outcome"] == new_log.get("outcome")
        return same_outcome and all(log.get(key) == new_log.get(key) for key in ("error_class", "error_message"))
    if not log.get("result_sha256"):
        return None
    return bool(hashlib.sha256(result.original_content or b"").hexdigest() == log["result_sha256"])


def _failure(log: Mapping[str, Any], new_log: Mapping[str, Any]) -> str:
    then, now = (f"{each.get('error_class')}: {each.get('error_message')}" for each in (log, new_log))
    return f"{then!r:.300} then, {now!r:.300} now"


def _changes(log: Mapping[str, Any], new_log: Mapping[str, Any]) -> list[str]:
    changed = _function_changes(log)
    if not new_log:
        return [*changed, "the log folder of the new run did not appear: packages and files are not compared"]
    if log.get("environment") and new_log.get("environment"):
        if log["environment"] != new_log["environment"]:
            then, now = log["environment"][:12], new_log["environment"][:12]
            changed.append(f"packages: interpreter, installed packages or server are others ({then} then, {now} now)")
    else:
        changed.append("packages: the log does not say which it ran with")
    if log.get("user_email") != new_log.get("user_email"):
        changed.append(f"who asks: {log.get('user_email')} then, {new_log.get('user_email')} now")
    if log.get("share_token_id"):
        changed.append("who asks: it came by a share token")
    return changed + _called_changes(log, new_log) + _file_changes(log, new_log)


def _function_changes(log: Mapping[str, Any]) -> list[str]:
    from fused._transport import call_json, path_of

    if not log.get("udf_id") or not log.get("revision"):
        return []
    try:
        record = call_json("GET", f"/udf/by-id{path_of(log['udf_id'])}", "looking for the saved function")
    except NotFoundError:
        return [f"function: {log['udf_name']!r} is not saved any more (the code of the log was run)"]
    if record.get("revision") == log["revision"]:
        return []
    return [
        f"function: {log['udf_name']!r} is at revision {record.get('revision')} now, it was at {log['revision']} (the "
        "code of then was run)"
    ]


def differences(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[str]:
    """How two logged runs (``read_run``) differ in what went in, for people; the first is "A", the second "B"."""
    said = []
    codes = [json.loads(run["udf.json"]) for run in (a, b)]
    if codes[0].get("code") != codes[1].get("code") or codes[0].get("headers") != codes[1].get("headers"):
        said.append("code: it is another one")
    names = {"udf_name": "function", "revision": "revision", "entrypoint": "entry point", "format": "format"}
    names |= {"tile": "tile", "user_email": "who asked"}
    for key, name in names.items():
        if a.get(key) != b.get(key):
            said.append(f"{name}: {a.get(key)!r} in A, {b.get(key)!r} in B")
    parameters = [run.get("parameters") or {} for run in (a, b)]
    for name in dict.fromkeys([*parameters[0], *parameters[1]]):
        values = [repr(each[name]) if name in each else "not given" for each in parameters]
        if values[0] != values[1]:
            said.append(f"parameter {name}: {values[0]:.200} in A, {values[1]:.200} in B")
    if a.get("environment") != b.get("environment"):
        said.append("packages: interpreter, installed packages or server are others")
    called = [_called(run) for run in (a, b)]
    for identity in dict.fromkeys([*called[0], *called[1]]):
        revisions = [", ".join(each.get(identity, [])) or "not used" for each in called]
        if revisions[0] != revisions[1]:
            said.append(f"called function {_name_of(identity)}: {revisions[0]} in A, {revisions[1]} in B")
    return said + [f"{line} (then: A, now: B)" for line in _file_changes(a, b)]


def _called_changes(log: Mapping[str, Any], new_log: Mapping[str, Any]) -> list[str]:
    """Saved functions that it loaded or ran then and now. Several revisions of one id may have been used."""
    then, now = _called(log), _called(new_log)
    changed = []
    for identity in dict.fromkeys([*then, *now]):
        before, after = then.get(identity, []), now.get(identity, [])
        if before == after:
            continue
        name = f"called function: {_name_of(identity)}"
        if not after:
            changed.append(f"{name} was used then ({', '.join(before)}), and is not now")
        elif not before:
            changed.append(f"{name} is used now ({', '.join(after)}), and was not then")
        else:
            changed.append(f"{name} is at revision {', '.join(after)} now, it was at {', '.join(before)}")
    return changed


def _called(log: Mapping[str, Any]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for use in log.get("functions") or []:
        found.setdefault(use["id"], []).append(use["revision"])
    return {identity: sorted(revisions) for identity, revisions in found.items()}


def _name_of(identity: str) -> str:
    from fused._transport import call_json, path_of

    try:
        record = call_json("GET", f"/udf/by-id{path_of(identity)}", "looking for a called function")
    except ServerError:
        return f"{identity} (not saved any more)"
    return f"{record.get('slug') or record.get('name')!r}"


def _file_changes(log: Mapping[str, Any], new_log: Mapping[str, Any]) -> list[str]:
    before = {file["path"]: file for file in log.get("files") or [] if "path" in file}
    after = {file["path"]: file for file in new_log.get("files") or [] if "path" in file}
    left_out = [file["left_out"] for each in (log, new_log) for file in each.get("files") or [] if "left_out" in file]
    changed = [f"files: {left_out[0]} more that were read are not in the log and not compared"] if left_out else []
    if left_out:  # the lists end somewhere: what is in one of them only says nothing
        before = {path: file for path, file in before.items() if path in after}
        after = {path: file for path, file in after.items() if path in before}
    for path, then in before.items():
        now = after.get(path)
        if now is None:
            changed.append(f"file: {path} was read then, and not now")
        elif now["size"] < 0 <= then["size"]:
            changed.append(f"file: {path} is missing ({then['size']} bytes then)")
        elif now["size"] != then["size"]:
            changed.append(f"file: {path} has {now['size']} bytes now, {then['size']} then")
        elif now["mtime_ns"] != then["mtime_ns"]:
            changed.append(f"file: {path} was written again (as many bytes as then)")
    changed += [f"file: {path} is read now, and was not then" for path in after if path not in before]
    return changed
