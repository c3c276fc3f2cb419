"""``engine="remote"``: the run protocol of client-protocol.md §2.2, as the official client speaks it."""

from __future__ import annotations

import json
import sys
import threading
import time
import uuid
from typing import TYPE_CHECKING, Any

from fused import _transport
from fused._inside import channel
from fused._options import options
from fused._run.decode import decode
from fused._run.evaluation import UdfEvaluationResult
from fused._run.failure import failure_of
from fused._run.follow import follow
from fused._run.parameters import encode_parameters, parameter_text
from fused.errors import ServerError, UdfTimeoutError
from fused.models.step import UdfJobStepConfig
from fused.models.udf import Udf
from fused.warnings import FusedInProgressWarning, warn_caller

if TYPE_CHECKING:
    from fused._jobs.response import RunResponse
    from fused._run.arguments import Call

QUERY_BYTES_MAX = 4_000  # longer parameters of a shared function travel in a body
POLL_SECONDS = (0.0, 0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)  # the server holds each poll for a while itself

JOB = "x-fused-job-id"  # of an answer: the run went on as this job

_clients: dict[str, str] = {}  # server → client id
_clients_lock = threading.Lock()
# In a query these are the server's (core/run/run_request.cpp); parameters of the same name travel in a body.
RESERVED = frozenset(
    {
        "format", "profile", "cache_max_age", "fused_cache_disable_stream", "_stream_logs", "_include_log",
        "dtype_out_vector", "dtype_out_raster", "fused_session_token", "explain_cache", "cache_reset",
    }
)  # fmt: skip


class RemoteRun:
    """One run on the server; ``attempt`` may be called again after a failure and keeps the run id."""

    def __init__(self, call: Call, parameters: dict[str, Any]) -> None:
        self._call = call
        self._run_id = str(uuid.uuid4())
        self._shown = 0  # lines of this attempt that were shown while it ran
        self._udf: Udf | None = call.udf
        self._tile = "" if call.tile is None else _transport.path_of("tiles", *map(str, call.tile))
        if call.token is None and self._udf is None:
            from fused._load import load

            self._udf = load(call.name or "")
            parameters = call.known_parameters(self._udf, parameters)
        self._parameters = encode_parameters(parameters)
        defaults = (
            options.default_dtype_out_raster,
            options.default_dtype_out_vector,
            options.default_dtype_out_simple,
        )
        self._formats = call.formats or ",".join(defaults)
        self._body = b"" if self._udf is None else self._order(self._udf)

    def _order(self, udf: Udf) -> bytes:
        step = UdfJobStepConfig(udf=udf.set_parameters(self._parameters)).model_dump_json()
        return json.dumps({"step_config": step, "format": self._formats, "profile": False}, ensure_ascii=False).encode()

    def attempt(self) -> UdfEvaluationResult:
        """Runs once and shows what was printed. A failure of the function is in the result; one of server or network is
        raised.
        """
        result = self.ask()
        if not self._shown:
            _print_streams(result, self._call.follow_logs is not None and channel() is not None)
        return result

    def ask(self) -> UdfEvaluationResult:
        """``attempt`` that shows nothing."""
        started = time.monotonic()
        self._shown = 0
        response = self._shared() if self._call.token is not None else self._ad_hoc()
        result = self._result(response)
        result.time_taken_seconds = time.monotonic() - started
        return result

    # -- asking -----------------------------------------------------------------------------------------------------

    def _shared(self) -> _transport.Response:
        base = _transport.shared_url(self._call.token or "")
        path = base + (f"/run{self._tile}" if self._tile else "/run/file")
        query: dict[str, Any] = {"format": self._formats, **self._about_cache()}
        as_text = {name: parameter_text(value) for name, value in self._parameters.items()}
        fits = sum(len(name) + len(value) for name, value in as_text.items()) <= QUERY_BYTES_MAX
        if fits and None not in self._parameters.values() and not set(as_text) & RESERVED:
            return self._send_followed(base, "GET", path, {**as_text, **query}, b"")
        body = json.dumps(self._parameters, ensure_ascii=False).encode()
        return self._send_followed(base, "POST", path, query, body)

    def _send_followed(self, base: str, *request: Any) -> _transport.Response:
        """The request of a shared function; where lines are wanted they are read beside it."""
        show = self._call.follow_logs
        if show is None or channel() is not None:
            return self._send(*request)
        answer: list[_transport.Response | Exception] = []

        def ask() -> None:
            try:
                answer.append(self._send(*request))
            except Exception as error:
                answer.append(error)

        asking = threading.Thread(target=ask, name=f"fused.run {self._call.label}", daemon=True)
        asking.start()
        path = f"{base}/runs{_transport.path_of(self._run_id)}/logs"
        deadline = time.monotonic() + options.run_timeout
        self._shown = follow(path, show, deadline, lambda: asking.is_alive() and not answer)
        asking.join()
        if isinstance(answer[0], Exception):
            raise answer[0]
        return answer[0]

    def _ad_hoc(self) -> _transport.Response:
        base = f"{_transport.path_of('realtime', client_id())}/api/v1/run/udf"
        query = self._about_cache()
        if channel() is not None:  # a run that waits in one request gives up its place; one that polls would hold it
            return self._send("POST", f"{base}{self._tile}", query, self._body)
        show = self._call.follow_logs
        at_once = {} if show is None else {"Prefer": "respond-async"}  # its lines are to be read from the beginning
        response = self._send("POST", f"{base}/start{self._tile}", query, self._body, at_once)
        deadline = time.monotonic() + options.run_timeout
        if show is not None and response.status == 202:
            self._shown = follow(_transport.path_of("api", "v1", "runs", self._run_id, "logs"), show, deadline)
        polls = 0
        while response.status == 202 and JOB not in response.headers:
            if time.monotonic() > deadline:
                raise UdfTimeoutError(
                    f"no result of {self._call.label!r} within {options.run_timeout:g} s (fused.options.run_timeout); "
                    "the server ends the run when nobody asks for it any more",
                    request_id=self._run_id,
                )
            time.sleep(POLL_SECONDS[min(polls, len(POLL_SECONDS) - 1)])
            polls += 1
            response = self._send("GET", f"{base}/get{_transport.path_of(self._run_id)}", {}, b"")
        return response

    def _about_cache(self) -> dict[str, Any]:
        reset = {"cache_reset": "true"} if self._call.cache_reset else {}
        return {"cache_max_age": self._call.cache_max_age, **reset}

    def _send(
        self, method: str, path: str, query: dict[str, Any], body: bytes, more: dict[str, str] | None = None
    ) -> _transport.Response:
        headers = {"Fused-Run-Id": self._run_id, **(more or {})}
        if channel() is None:
            headers["Fused-Recursion"] = "1"  # inside, the server knows how deep it is
            headers["Fused-On-Timeout"] = self._call.on_timeout
        if body:
            headers["Content-Type"] = "application/json"
        timeout = None if "/start" in path or "/get/" in path else options.run_timeout
        return _transport.request(method, path, query, headers, body, repeatable=True, timeout=timeout)

    # -- the answer -------------------------------------------------------------------------------------------------

    def _result(self, response: _transport.Response) -> UdfEvaluationResult:
        result = evaluated(response, self._udf, "the shared function", f"fused.run({self._call.label!r})")
        result.udf = self._udf or self._call.token
        return result


def evaluated(response: _transport.Response, udf: Udf | None, what: str, doing: str) -> UdfEvaluationResult:
    """What the server's answer to a run says; a failure of the function is in it. ``what`` failed, where ``udf`` is not
    known; errors of the server name what was being done.
    """
    try:
        metadata = json.loads(response.headers.get("x-fused-metadata") or "{}")
    except ValueError:
        metadata = {}
    result = UdfEvaluationResult(
        udf=udf,
        stdout=str(metadata.get("stdout") or ""),
        stderr=str(metadata.get("stderr") or ""),
        profile=metadata.get("profile"),
        original_content=response.body,
        original_headers=dict(response.headers),
        status=response.status,
        request_id=response.request_id,
    )
    if "x-fused-cached" in response.headers:
        result.is_cached, result.cache_source = True, "object_storage"
    elif response.headers.get("x-cache", "").lower() == "hit":
        result.is_cached, result.cache_source = True, "memory"
    failed = metadata.get("has_exception") or metadata.get("errormsg") or metadata.get("error_type")
    if response.status == 202 and JOB in response.headers:
        result.data = _goes_on(response)
    elif failed:
        failure_of(result, metadata, response, udf, what)
    elif 200 <= response.status < 300 or "x-fused-metadata" in response.headers:
        result.data = decode(response.content_type, response.body)
    else:
        _transport.raise_for_status(response, doing)
    return result


def _goes_on(response: _transport.Response) -> RunResponse:
    """The job that the run has become."""
    from fused._jobs.response import RunResponse

    job = RunResponse.of_id(response.headers[JOB])
    said = response.json().get("message") or f"the run goes on as job {job.job_id}"
    how = f"`fused jobs logs -f {job.job_id}`, .wait_for_job(), .get_results(0)"
    warn_caller(f"{said}: {how}", FusedInProgressWarning)
    return job.refresh_status()


def result_of_job(job: RunResponse) -> UdfEvaluationResult:
    """The answer of a run that went on as ``job``, which has ended: in the format that the run was asked for."""
    path = f"{_transport.path_of('realtime', client_id())}/api/v1/run/udf/get{_transport.path_of(job.job_id)}"
    response = _transport.request("GET", path, None, {"Fused-Run-Id": job.job_id})
    return evaluated(response, None, repr(job.job_name), f"reading the result of job {job.job_id}")


def client_id() -> str:
    """The environment to run in: ``options.realtime_client_id``, else the best one the server offers (asked once)."""
    chosen = options.realtime_client_id
    if chosen is not None:
        return str(chosen)
    server = "" if channel() is not None else f"{_transport.base_url()} {options.authorization()}"
    with _clients_lock:
        known = _clients.get(server)
    if known is None:
        offered = _transport.call_json("GET", "/realtime-instance/available", "asking where functions run")
        if not offered:
            raise ServerError("the server offers no environment to run functions in", status=503)
        known = str(max(offered, key=lambda each: each.get("preference_rank") or 0)["client_id"])
        with _clients_lock:
            _clients[server] = known
    return known


def _print_streams(result: UdfEvaluationResult, wanted: bool) -> None:
    """What the function printed on the server is shown when it failed, or when ``options.verbose_udf_runs`` is set."""
    if not (options.verbose_udf_runs or result.has_exception or wanted):
        return
    if result.stdout:
        print(result.stdout, end="" if result.stdout.endswith("\n") else "\n")
    if result.stderr and not result.has_exception:
        print(result.stderr, end="" if result.stderr.endswith("\n") else "\n", file=sys.stderr)
