"""Requests to the server: over HTTP from outside, over the worker's channel from inside a running function.

``request`` gives any reply as it is; ``call_json`` turns errors into ``fused.errors`` and gives the JSON value.
"""

from __future__ import annotations

import json
import platform
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode, urlsplit

from fused._inside import channel
from fused._options import API_PREFIX, options
from fused._version import __version__
from fused.errors import (
    AuthenticationError,
    BusyError,
    ConfigurationError,
    ConflictError,
    InvalidArgumentError,
    NotFoundError,
    RevisionError,
    ServerError,
    SourceError,
    TransportError,
)
from fused.warnings import FusedVersionWarning, warn_caller

if TYPE_CHECKING:
    import requests

BUSY = frozenset({429, 502, 503})
RETRY_SECONDS_MAX = 8.0
CONNECT_SECONDS = 10.0
_local = threading.local()
_versions_seen: set[str] = set()


@dataclass
class Response:
    """A reply: header names in lower case, the whole body."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def request_id(self) -> str | None:
        """The run's id, which names its log, else the id of the request."""
        return self.headers.get("x-fused-run-id") or self.headers.get("x-request-id")

    @property
    def content_type(self) -> str:
        """Without parameters, in lower case; "" when there is none."""
        return self.headers.get("content-type", "").split(";")[0].strip().lower()

    def json(self) -> Any:
        """The body as JSON; ``ServerError`` when it is something else (a proxy's page)."""
        try:
            return json.loads(self.body)
        except ValueError:
            shown = self.body[:200].decode("utf-8", "replace")
            message = (
                f"the server answered {self.status} with something that is not JSON: {shown!r}; is base_url right?"
            )
            raise ServerError(message, status=self.status, request_id=self.request_id) from None


def path_of(*parts: str) -> str:
    """``/a/b`` of parts, each quoted so that names with ``/``, ``?`` or ``..`` stay one part; ``@`` stays readable."""
    return "".join(
        "/" + (quote(part, safe="@:,") if part not in (".", "..") else part.replace(".", "%2E")) for part in parts
    )


def request(
    method: str,
    path: str,
    query: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
    body: bytes = b"",
    *,
    repeatable: bool | None = None,
    timeout: float | None = None,
) -> Response:
    """One request. ``path``: below ``base_url``, ``/api/v1/…`` of the same server, or a whole address.

    ``repeatable``: may it be sent again after the connection broke (default: everything but POST); 502, 503 and 429 are
    always tried again, up to ``options.request_max_retries`` times. ``timeout``: seconds, default
    ``options.request_timeout``. Raises ``TransportError`` and ``ConfigurationError``; never for a status.
    """
    given = {name: value for name, value in (query or {}).items() if value is not None}
    asked = urlencode(given, quote_via=quote) if given else ""
    target = f"{path}?{asked}" if asked else path
    inside = channel()
    if inside is not None:
        return _by_channel(inside, method, target, headers, body)
    url = target if target.startswith(("http://", "https://")) else _root(path) + target
    sent = _headers(url, headers)
    again = method != "POST" if repeatable is None else repeatable
    return _by_http(method, url, sent, body, again, timeout or options.request_timeout)


@dataclass
class Stream:
    """A reply whose body comes in pieces, each as soon as it is there."""

    status: int
    pieces: Iterator[bytes]


@contextmanager
def stream(path: str, headers: Mapping[str, str], silence: float) -> Iterator[Stream]:
    """A GET from outside a running function, sent once. ``silence``: seconds without a byte after which it is given up.

    ``TransportError`` for whatever goes wrong with the connection, also while its pieces are read.
    """
    import requests

    url = path if path.startswith(("http://", "https://")) else _root(path) + path
    sent = {**_headers(url, headers), "Accept": "text/event-stream", "Accept-Encoding": "identity"}
    try:
        with _session().get(url, headers=sent, stream=True, timeout=(CONNECT_SECONDS, silence)) as reply:
            yield Stream(reply.status_code, _pieces(reply))
    except requests.RequestException as error:
        raise TransportError(f"GET {_shown(url)}: {error}") from None


def _pieces(reply: requests.Response) -> Iterator[bytes]:
    raw: Any = reply.raw
    read = getattr(raw, "read1", None) or raw._fp.read1  # urllib3 before 2.1 has none of its own
    while True:
        try:
            piece = read(1 << 16)
        except Exception as error:  # urllib3's, http.client's and the system's have nothing else in common
            raise TransportError(f"GET {_shown(reply.url)}: {error}") from None
        if not piece:
            return
        yield piece


def _headers(url: str, headers: Mapping[str, str] | None) -> dict[str, str]:
    sent = {
        "Fused-Sdk-Version": __version__,
        "User-Agent": user_agent(),
        **options.default_run_headers,
        **(headers or {}),
    }
    authorization = options.authorization()
    if authorization is not None and _same_server(url):
        sent.setdefault("Authorization", authorization)
    return sent


def user_agent() -> str:
    """What this SDK calls itself."""
    return f"fused-server-sdk/{__version__} Python/{platform.python_version()}"


def base_url() -> str:
    """The server in force; ``ConfigurationError`` says how to name one."""
    url = options.base_url
    if url is None:
        raise ConfigurationError(
            "no server is known. Start one with `fused serve`, then name it by `fused login`, by FUSED_BASE_URL and "
            "FUSED_AUTH_TOKEN, or by fused.options.base_url = 'http://127.0.0.1:8783'; or run with engine='local'"
        )
    return str(url)


def shared_url(token: str) -> str:
    """Where this share token is run, as an address that can be handed on."""
    if channel() is not None:
        return f"/realtime-shared{path_of(token)}"
    return f"{options.shared_udf_base_url or base_url() + '/realtime-shared'}{path_of(token)}"


def _root(path: str) -> str:
    base = base_url()
    if path.startswith("/api/v1/") or path == "/health":
        parts = urlsplit(base)
        return f"{parts.scheme}://{parts.netloc}{parts.path.removesuffix(API_PREFIX)}"
    return base


def _same_server(url: str) -> bool:
    known = [urlsplit(str(each)) for each in (options.base_url, options.shared_udf_base_url) if each]
    parts = urlsplit(url)
    return any((parts.scheme, parts.netloc) == (each.scheme, each.netloc) for each in known)


def _by_channel(inside: Any, method: str, target: str, headers: Mapping[str, str] | None, body: bytes) -> Response:
    if not target.startswith(("/api/v1/", "/health")):
        target = API_PREFIX + target
    try:
        status, received, content = inside.request(method, target, dict(headers or {}), body)
    except ConnectionError as error:
        raise TransportError(f"{method} {target.split('?')[0]}: {error}") from None
    return Response(status, {name.lower(): value for name, value in received.items()}, bytes(content))


def _session() -> requests.Session:
    session: requests.Session | None = getattr(_local, "session", None)
    if session is None:
        import requests

        session = requests.Session()
        session.auth = _no_netrc
        _local.session = session
    return session


def _no_netrc(prepared: requests.PreparedRequest) -> requests.PreparedRequest:
    """Stands where requests would look for a password in ~/.netrc and send that instead of our token."""
    return prepared


def _by_http(method: str, url: str, headers: dict[str, str], body: bytes, again: bool, timeout: float) -> Response:
    import requests

    delay = options.request_retry_base_delay
    limits = (min(CONNECT_SECONDS, timeout), timeout)
    for left in range(options.request_max_retries, -1, -1):
        try:
            reply = _session().request(method, url, headers=headers, data=body or None, timeout=limits)
        except (requests.Timeout, requests.ConnectionError) as error:
            failure: Exception = error
            may_repeat = isinstance(error, requests.ConnectTimeout) or (again and not _is_refused(error))
        except requests.RequestException as error:
            raise TransportError(f"{method} {_shown(url)}: {error}") from None
        else:
            response = Response(
                reply.status_code, {name.lower(): value for name, value in reply.headers.items()}, reply.content
            )
            _compare_versions(response)
            if response.status not in BUSY or not left:
                return response
            time.sleep(min(_retry_after(response) or delay, RETRY_SECONDS_MAX))
            delay *= 2
            continue
        if not left or not may_repeat:
            lost = TransportError(_why(method, url, failure, timeout))
            lost.may_have_arrived = not isinstance(failure, requests.ConnectTimeout) and not _is_refused(failure)
            raise lost from None
        time.sleep(min(delay, RETRY_SECONDS_MAX))
        delay *= 2
    raise AssertionError("unreachable")


def _compare_versions(response: Response) -> None:
    """Warns, once for each version, when the server's first two numbers are not ours."""
    name, _, version = response.headers.get("server", "").partition("/")
    if name != "fused" or version in _versions_seen:
        return
    _versions_seen.add(version)
    if version.split(".")[:2] != __version__.split(".")[:2]:
        message = (
            f"this SDK is {__version__}, the server is {version}: install the same version of fused-server on both"
        )
        warn_caller(message, FusedVersionWarning)


def _is_refused(error: Exception) -> bool:
    """Nobody listens, or the name is unknown: trying again for a minute would only hide it."""
    text = str(error)
    return "Connection refused" in text or "Name or service not known" in text or "getaddrinfo failed" in text


def _why(method: str, url: str, failure: Exception, timeout: float) -> str:
    import requests

    if isinstance(failure, requests.Timeout):
        return f"{method} {_shown(url)}: no answer within {timeout:g} s (fused.options.request_timeout)"
    parts = urlsplit(url)
    return (
        f"{method} {_shown(url)}: cannot reach {parts.scheme}://{parts.netloc} ({_root_cause(failure)}). Is the server "
        "running (`fused serve`), and is that its address (fused.options.base_url, FUSED_BASE_URL, `fused login`)?"
    )


def _root_cause(failure: BaseException) -> str:
    while True:
        inner = failure.__cause__ or failure.__context__ or getattr(failure, "reason", None)
        if not isinstance(inner, BaseException):
            text = str(failure)
            return text.split("] ")[-1] if "Errno" in text else text
        failure = inner


def _shown(url: str) -> str:
    return url.split("?")[0]


def _retry_after(response: Response) -> float | None:
    try:
        return max(0.0, float(response.headers.get("retry-after", "")))
    except ValueError:
        return None


def raise_for_status(response: Response, what: str) -> Response:
    """The reply when it is 2xx; else the error of its status, with the server's message. ``what`` was being done."""
    if 200 <= response.status < 300:
        return response
    raise _error_of(response, what)


def _error_of(response: Response, what: str) -> ServerError:
    message, detail, request_id = "", None, response.request_id
    try:
        value = json.loads(response.body)
    except ValueError:
        value = None
    if isinstance(value, dict):
        detail = value.get("detail")
        message = str(value.get("message") or (detail if isinstance(detail, str) else "") or "")
        request_id = value.get("request_id") or request_id
    if not message:
        message = response.body[:300].decode("utf-8", "replace").strip() or "the server gave no reason"
    text = f"{what}: {message} [HTTP {response.status}]"
    if response.status in (401, 403):
        if response.status == 401:
            text += ". Sign in with `fused login`, or set FUSED_AUTH_TOKEN"
        return AuthenticationError(text, status=response.status, detail=detail, request_id=request_id)
    if response.status in (429, 503):
        error = BusyError(text, status=response.status, detail=detail, request_id=request_id)
        error.retry_after = _retry_after(response)
        return error
    kinds: dict[int, type[ServerError]] = {
        400: InvalidArgumentError,
        404: NotFoundError,
        409: ConflictError,
        412: RevisionError,
    }
    kind = kinds.get(response.status, ServerError)
    return kind(text, status=response.status, detail=detail, request_id=request_id)


def call_json(
    method: str,
    path: str,
    what: str,
    query: Mapping[str, Any] | None = None,
    value: Any = None,
    headers: Mapping[str, str] | None = None,
    *,
    repeatable: bool | None = None,
) -> Any:
    """One request with a JSON body (``value``) and a JSON reply; ``what`` begins the message of an error.

    ``repeatable``: as of ``request``.
    """
    sent = {"Accept": "application/json", **(headers or {})}
    body = b""
    if value is not None:
        sent["Content-Type"] = "application/json"
        body = json.dumps(value, ensure_ascii=False).encode()
    response = raise_for_status(request(method, path, query, sent, body, repeatable=repeatable), what)
    return response.json() if response.body else None


def fetch_public(url: str, bytes_max: int) -> bytes:
    """A file from anywhere, without our token; ``SourceError`` when it is not to be had or larger than
    ``bytes_max``.
    """
    import requests

    try:
        with requests.get(url, timeout=options.request_timeout, stream=True, auth=_no_netrc) as reply:
            reply.raise_for_status()
            content = b"".join(_limited(reply.iter_content(1 << 16), url, bytes_max))
    except requests.RequestException as error:
        raise SourceError(f"{url} cannot be fetched: {error}") from None
    return content


def _limited(parts: Any, url: str, bytes_max: int) -> Any:
    total = 0
    for part in parts:
        total += len(part)
        if total > bytes_max:
            raise SourceError(f"{url} is larger than {bytes_max >> 20} MiB")
        yield part
