"""HTTP for ``fused.download``: one file into one partial file, resumed where the server allows it."""

from __future__ import annotations

import base64
import hashlib
import http.client
import os
import ssl
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from email.message import Message
from typing import Any, BinaryIO
from urllib.parse import SplitResult, unquote, urljoin, urlsplit
from urllib.request import getproxies, proxy_bypass

from fused._download_address import connect, only_public
from fused._version import __version__

CONNECT_S = 10.0
STALL_S = 30.0
REDIRECTS_MAX = 10
CHUNK_BYTES = 1 << 20
_SHOWN_BODY = 300
_REDIRECTS = (301, 302, 303, 307, 308)
_TRY_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})


class Refused(Exception):
    """Asking again will not help; the message says what to do."""


class Broken(Exception):
    """It may work another time; ``after_s`` when the server said when."""

    def __init__(self, message: str, after_s: float | None = None) -> None:
        super().__init__(message)
        self.after_s = after_s


@dataclass
class Part:
    """What there is of a file already: ``size`` bytes of the version that ``validator`` names."""

    size: int = 0
    validator: str | None = None
    total: int | None = None
    digests: dict[str, bytes] = field(default_factory=dict)


Progress = Callable[[int, int | None], None]


def fetch(url: str, file: BinaryIO, part: Part, bytes_max: int | None, deadline: float, progress: Progress) -> None:
    """Appends to ``file`` what it lacks. ``part`` says afterwards how far it came, also when this raises."""
    reply, connection = _open(url, part, deadline)
    try:
        _check_status(url, reply, part)
        if reply.status == 200 and part.size:
            file.seek(0)
            file.truncate()
            part.size = 0
        decode = _decoder(url, reply)
        kept = part.validator if reply.status == 206 else None
        part.validator = None if decode else _validator(reply) or kept
        part.total = _total(reply, part.size) if decode is None else None
        part.digests = _digests(reply.headers, reply.status == 206) if decode is None else {}
        _check_size(url, part.total, bytes_max, file)
        _copy(url, reply, connection, file, part, bytes_max, deadline, progress, decode)
    except (OSError, http.client.HTTPException, zlib.error) as error:
        raise Broken(f"the connection broke after {part.size} bytes: {_why(error)}") from None
    finally:
        connection.close()


def _open(url: str, part: Part, deadline: float) -> tuple[http.client.HTTPResponse, http.client.HTTPConnection]:
    """The answer after redirects; each address is checked before it is spoken to."""
    public = only_public()
    for _ in range(REDIRECTS_MAX + 1):
        parts = urlsplit(url)
        headers = {"User-Agent": f"fused/{__version__}", "Accept": "*/*", "Accept-Encoding": "identity"}
        if part.size and part.validator:
            headers |= {"Range": f"bytes={part.size}-", "If-Range": part.validator}
        if parts.username is not None:
            pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            headers["Authorization"] = "Basic " + base64.b64encode(pair.encode()).decode()
        try:
            connection, was_public = _connect(parts, public, deadline)
        except (TimeoutError, OSError) as error:
            raise Broken(f"{parts.hostname!r} cannot be reached: {_why(error)}") from None
        try:
            target = (
                getattr(connection, "absolute", "") + (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            )
            connection.request("GET", target, headers=headers)
            reply = connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise Broken(f"{parts.hostname!r} gave no answer: {_why(error)}") from None
        where = reply.headers.get("Location")
        if reply.status not in _REDIRECTS or not where:
            return reply, connection
        connection.close()
        public = public or was_public
        url = _redirected(url, where)
    raise Refused(f"it redirects more than {REDIRECTS_MAX} times")


def _redirected(url: str, where: str) -> str:
    target = urljoin(url, where)
    try:
        check_url(target)
    except ValueError as error:
        raise Refused(f"it redirects to what cannot be downloaded: {error}") from None
    if urlsplit(url).scheme == "https" and urlsplit(target).scheme == "http":
        raise Refused(f"it redirects from https to {shown(target)}, which anybody on the way could change")
    return target


def check_url(url: str) -> None:
    """``ValueError`` for what is no http(s) address."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{shown(url)!r} is no http or https address")
    if any(ord(letter) <= 32 or ord(letter) == 127 for letter in url):
        raise ValueError(f"{shown(url)!r} holds spaces or control characters; write them as %20")
    if not url.isascii():
        raise ValueError(f"{shown(url)!r} holds letters that must be written as %…; urllib.parse.quote does it")
    _ = parts.port  # ValueError when it is none


def shown(url: str) -> str:
    """The address without user, password and query, which may hold secrets."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return SplitResult(parts.scheme, host, parts.path, "…" if parts.query else "", "").geturl()[:300]


def _connect(parts: SplitResult, public: bool, deadline: float) -> tuple[http.client.HTTPConnection, bool]:
    host, secure = str(parts.hostname), parts.scheme == "https"
    port = parts.port or (443 if secure else 80)
    seconds = max(0.1, min(CONNECT_S, deadline - time.monotonic()))
    proxy = None if proxy_bypass(f"{host}:{port}") else getproxies().get(parts.scheme)
    made: Any = http.client.HTTPConnection(host, port, timeout=min(STALL_S, max(0.1, deadline - time.monotonic())))
    if proxy:
        through = urlsplit(proxy if "//" in proxy else f"http://{proxy}")
        sock, was_public = connect(str(through.hostname), through.port or 80, seconds, False)
        made.absolute = "" if secure else f"http://{parts.netloc.rpartition('@')[2]}"
        if secure:
            made.set_tunnel(host, port)
            made.sock = sock
            made._tunnel()
            sock = made.sock
    else:
        sock, was_public = connect(host, port, seconds, public)
    if secure:
        sock = _tls().wrap_socket(sock, server_hostname=host)
    sock.settimeout(min(STALL_S, max(0.1, deadline - time.monotonic())))
    made.sock = sock
    return made, was_public


def _tls() -> ssl.SSLContext:
    bundle = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE")
    return ssl.create_default_context(cafile=bundle if bundle and os.path.isfile(bundle) else None)


def _check_status(url: str, reply: http.client.HTTPResponse, part: Part) -> None:
    status = reply.status
    if status == 200:
        return
    if status == 206:
        start = (reply.headers.get("Content-Range") or "").removeprefix("bytes ").partition("-")[0]
        if part.size and start == str(part.size):
            return
        part.size, part.validator = 0, None
        raise Broken("it sent another range than it was asked for")
    if status == 416 and part.size:
        part.size, part.validator = 0, None
        raise Broken("the file became shorter meanwhile")
    text = reply.read(_SHOWN_BODY).decode("utf-8", "replace")
    about = f"{status} {reply.reason}" + (f": {' '.join(text.split())}" if text.strip() and "<" not in text else "")
    if status in _TRY_AGAIN:
        after = reply.headers.get("Retry-After", "")
        raise Broken(f"it answers {about}", float(after) if after.isdecimal() else None)
    advice = {
        401: "; it wants a sign-in: give a signed URL, or https://user:password@…",
        403: "; access is not allowed: the link may have expired",
        404: "; there is nothing at this address",
        410: "; it was removed",
    }.get(status, "")
    raise Refused(f"it answers {about}{advice}")


def _validator(reply: http.client.HTTPResponse) -> str | None:
    tag = reply.headers.get("ETag")
    if tag and not tag.startswith("W/"):
        return tag
    return reply.headers.get("Last-Modified")


def _total(reply: http.client.HTTPResponse, have: int) -> int | None:
    if reply.status == 206:
        total = (reply.headers.get("Content-Range") or "").rpartition("/")[2]
        return int(total) if total.isdecimal() else None
    length = reply.headers.get("Content-Length", "")
    if reply.headers.get("Transfer-Encoding", "").lower() == "chunked":
        return None
    return have + int(length) if length.isdecimal() else None


def _digests(headers: Message, is_range: bool) -> dict[str, bytes]:
    """Checksums of the whole file, as far as the server sends any: hash name → value."""
    found: dict[str, bytes] = {}
    for header in ("Repr-Digest", "Digest") if is_range else ("Repr-Digest", "Content-Digest", "Digest"):
        for item in (headers.get(header) or "").split(","):
            name, _, value = item.strip().partition("=")
            if name.lower() in ("sha-256", "md5", "sha-512"):
                _put(found, name.lower().replace("-", ""), value.strip(":"))
    if not is_range:
        _put(found, "md5", headers.get("Content-MD5"))
    _put(found, "sha256", headers.get("x-amz-checksum-sha256"))
    for item in (headers.get("x-goog-hash") or "").split(","):
        name, _, value = item.strip().partition("=")
        if name == "md5":
            _put(found, "md5", value)
    return found


def _put(found: dict[str, bytes], name: str, text: str | None) -> None:
    lengths = {"md5": 16, "sha256": 32, "sha512": 64}
    try:
        value = base64.b64decode(text or "", validate=True)
    except ValueError:
        return
    if len(value) == lengths[name]:
        found[name] = value


def check_digests(file: Any, part: Part) -> None:
    """``Broken`` when the file is not what the server's checksum says."""
    for name, wanted in part.digests.items():
        file.seek(0)
        if hashlib.file_digest(file, name).digest() != wanted:
            part.size, part.validator = 0, None
            raise Broken(f"its {name} checksum is not the one the server sent")


def _check_size(url: str, total: int | None, bytes_max: int | None, file: BinaryIO) -> None:
    if total is None:
        return
    if bytes_max is not None and total > bytes_max:
        raise Refused(f"it has {total} bytes; max_size allows {bytes_max}")
    disk = os.fstatvfs(file.fileno())
    free = disk.f_bavail * disk.f_frsize
    if total > free + os.fstat(file.fileno()).st_size:
        raise Refused(f"it has {total} bytes, and {free} are free on the disk")


def _decoder(url: str, reply: http.client.HTTPResponse) -> Any | None:
    coding = reply.headers.get("Content-Encoding", "").strip().lower()
    if coding in ("", "identity"):
        return None
    if coding in ("gzip", "x-gzip", "deflate"):
        return zlib.decompressobj(47)
    raise Refused(f"it is sent in the coding {coding!r}, although none was asked for")


def _copy(
    url: str,
    reply: http.client.HTTPResponse,
    connection: http.client.HTTPConnection,
    file: BinaryIO,
    part: Part,
    bytes_max: int | None,
    deadline: float,
    progress: Progress,
    decode: Any | None,
) -> None:
    received = 0
    length = reply.length
    while True:
        left = deadline - time.monotonic()
        if left <= 0:
            raise Refused(f"it took longer than timeout= allows; {part.size} bytes came")
        if connection.sock is not None:
            connection.sock.settimeout(min(STALL_S, left))
        data = reply.read1(CHUNK_BYTES)
        if not data:
            break
        received += len(data)
        if decode is not None:
            data = decode.decompress(data)
            while decode.eof and (rest := decode.unused_data.lstrip(b"\0")):  # a file of several members
                decode = zlib.decompressobj(47)
                data += decode.decompress(rest)
        if bytes_max is not None and part.size + len(data) > bytes_max:
            raise Refused(f"it has more than the {bytes_max} bytes that max_size allows")
        file.write(data)
        part.size += len(data)
        progress(part.size, part.total)
    if length is not None and received < length:
        raise Broken(f"the connection ended after {received} of {length} bytes")
    if part.total is not None and part.size != part.total:
        part.validator = None
        raise Broken(f"{part.size} bytes came and {part.total} were announced")
    if decode is not None and not decode.eof:
        raise Broken("its compressed content ends too early")


def _why(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return str(error) or type(error).__name__
