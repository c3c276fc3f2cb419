"""What is wrong with a request is said in one shape, and the server's memory stays flat."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.conftest import Server
from tests.contract.conftest import People, ask, check_error
from tests.counts import tell

JSON = {"Content-Type": "application/json"}
RUN = "/server/v1/realtime/local/api/v1/run/udf"
MEBIBYTE = 1 << 20


def raw(server: Server, request: bytes) -> bytes:
    parts = urlsplit(server.base_url)
    with socket.create_connection((parts.hostname, parts.port), timeout=120) as connection:
        connection.sendall(request)
        connection.shutdown(socket.SHUT_WR)
        reply = b""
        while more := connection.recv(65536):
            reply += more
    return reply


def resident_bytes(server: Server) -> int:
    return int(Path(f"/proc/{server.pid}/statm").read_text().split()[1]) * 4096


@pytest.mark.parametrize(
    ("method", "target", "status", "kind"),
    [
        ("GET", "/nowhere", 404, "not_found"),
        ("GET", "/server/v1", 404, "not_found"),
        ("GET", "/server/v1/udf/by-id/", 404, "not_found"),
        ("DELETE", "/health", 405, "method_not_allowed"),
        ("PUT", "/server/v1/udf/new", 405, "method_not_allowed"),
        ("GET", "/%", 400, "invalid_argument"),
        ("GET", "/%zz", 400, "invalid_argument"),
        ("GET", "/a%00b", 400, "invalid_argument"),
        ("GET", "/health?a=%00", 400, "invalid_argument"),
        ("GET", "/health?a=%ff", 400, "invalid_argument"),
        ("GET", "/health?%", 400, "invalid_argument"),
        ("GET", "/server/v1/../../etc/passwd", 400, "invalid_argument"),
        ("GET", "/server/v1/%2e%2e/etc/passwd", 400, "invalid_argument"),
        ("GET", "/api/v1/run/no-such-function", 404, "not_found"),
        ("GET", "/api/v1/run/owner@localhost/contract_matrix/tiles/30/0/0", 404, "not_found"),
        ("GET", "/api/v1/run/owner@localhost/contract_matrix/tiles/1/-1/0", 404, "not_found"),
        ("GET", "/api/v1/run/owner@localhost/contract_matrix/tiles/1/2/0", 404, "not_found"),
        ("GET", "/api/v1/run/contract_matrix?format=nonsense", 400, "invalid_argument"),
        ("GET", "/api/v1/run/contract_matrix.nonsense", 400, "invalid_argument"),
        ("GET", "/server/v1/udf/by-id/..", 400, "invalid_argument"),
        ("GET", "/server/v1/udf/by-id/" + "x" * 300, 404, "not_found"),
        ("GET", "/server/v1/udf/by-id/%F0%9F%98%80", 404, "not_found"),
        ("GET", "/server/v1/udf/by-id/a%2Fb", 404, "not_found"),
        ("GET", "/server/v1/udf/self?limit=-1", 400, "invalid_argument"),
    ],
)
def test_wrong_requests_are_told_why(
    method: str, target: str, status: int, kind: str, server: Server, people: People, error_schema: dict[str, Any]
) -> None:
    answer = ask(server, method, target, server.token)
    shape = check_error(answer, error_schema)
    assert (answer.status, shape["error_type"]) == (status, kind), shape


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"null", b'"x"', b"{}", b'{"step_config": 3}', b'{"step_config": "{"}', b'{"step_config": "[]"}',
     b'{"step_config": "{}"}', b"\xff\xfe", b"[" * 100_000, b'{"a":' * 10_000, b'{"step_config": "{\\"udf\\": null}"}',
     b'{"slug": "a", "udf_body": "{}"}', b'{"slug": 1, "udf_body": {}}', b"a=b"],
)  # fmt: skip
@pytest.mark.parametrize(
    "target", [RUN, RUN + "/start", "/server/v1/udf/new", "/server/v1/udf-access-token/new", "/api/v1/users"]
)
def test_bodies_that_are_no_request_are_told_why(
    body: bytes, target: str, server: Server, people: People, error_schema: dict[str, Any]
) -> None:
    answer = ask(server, "POST", target, server.token, body, JSON)
    assert 400 <= answer.status < 500, answer
    check_error(answer, error_schema)


@pytest.mark.parametrize("name", ["a/b", "..", "../x", "", "😀", "x" * 300, "a\nb", "a\u0000b", ".hidden", "a b\u2028"])
def test_names_that_cannot_be_files_are_refused_or_kept_as_they_are(
    name: str, server: Server, people: People, error_schema: dict[str, Any]
) -> None:
    udf = {"name": name, "type": "geopandas_v2", "code": "@fused.udf\ndef udf():\n    return 1\n", "headers": []}
    content = json.dumps({"slug": name, "udf_body": json.dumps(udf), "udf_type": "auto"}).encode()
    answer = ask(server, "POST", "/server/v1/udf/new", server.token, content, JSON)
    if answer.status == 200:
        record = answer.json()
        assert record["slug"] == name
        ask(server, "DELETE", f"/server/v1/udf/by-id/{record['id']}", server.token)
    else:
        assert answer.status in (400, 422), answer
        check_error(answer, error_schema)


def test_a_parameter_of_ten_mebibytes_is_refused_by_name(
    server: Server, people: People, error_schema: dict[str, Any]
) -> None:
    answer = ask(server, "GET", "/api/v1/run/contract_matrix?n=" + "1" * (10 * MEBIBYTE), server.token)
    assert 400 <= answer.status < 500, answer.status
    shape = check_error(answer, error_schema)
    assert len(shape["message"]) < 2_000, "the message repeats the parameter"


def test_a_url_beyond_the_limit_is_414(server: Server, error_schema: dict[str, Any]) -> None:
    answer = ask(server, "GET", "/health?a=" + "x" * (13 * MEBIBYTE))
    assert answer.status == 414
    check_error(answer, error_schema)


def test_headers_beyond_the_limit_are_431(server: Server, error_schema: dict[str, Any]) -> None:
    answer = ask(server, "GET", "/health", headers={"X-Long": "x" * 40_000})
    assert answer.status == 431
    check_error(answer, error_schema)


def test_a_body_beyond_the_limit_is_413_before_it_is_read(server: Server, error_schema: dict[str, Any]) -> None:
    head = (
        f"POST {RUN} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {server.token}\r\n"
        "Content-Length: 10737418240\r\n\r\n"
    )
    reply = raw(server, head.encode())
    assert reply.startswith(b"HTTP/1.1 413 "), reply[:200]
    assert json.loads(reply.split(b"\r\n\r\n", 1)[1])["error_type"] == "too_large"


def test_memory_stays_flat_under_what_is_refused(server: Server, people: People) -> None:
    chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    endless = (
        f"POST {RUN} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {server.token}\r\n"
        "Transfer-Encoding: chunked\r\n\r\n"
    ).encode()
    test_a_parameter_of_ten_mebibytes_is_refused_by_name(server, people, {"type": "object"})
    before = resident_bytes(server)
    for _ in range(3):
        parts = urlsplit(server.base_url)
        with socket.create_connection((parts.hostname, parts.port), timeout=120) as connection:
            connection.sendall(endless)
            try:
                for _ in range(2_000):  # 125 MiB where 64 are allowed
                    connection.sendall(chunk)
            except OSError:
                pass
        ask(server, "GET", "/health?a=" + "x" * (11 * MEBIBYTE))
    grown = resident_bytes(server) - before
    tell(f"resident memory grew by {grown / MEBIBYTE:.1f} MiB over 3 × (125 MiB body, 11 MiB URL)")
    assert grown < 160 * MEBIBYTE, grown


@pytest.mark.parametrize(
    "request_text",
    [
        "GET /health HTTP/1.1\nHost: localhost\n\n",
        "GET /health HTTP/1.1\r\n\r\n",
        "GET /health HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n",
        "GET /health HTTP/1.1\r\nHost: localhost\r\nA: b\r\n c\r\n\r\n",
        "GET  /health HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "GET /health HTTP/9.9\r\nHost: localhost\r\n\r\n",
        "POST /health HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST /health HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        "POST /health HTTP/1.1\r\nHost: localhost\r\nContent-Length: +1\r\n\r\na",
        "\x00\x00\x00\x00\r\n\r\n",
    ],
)
def test_what_two_parsers_could_read_differently_is_refused(
    request_text: str, server: Server, error_schema: dict[str, Any]
) -> None:
    reply = raw(server, request_text.encode("latin-1"))
    assert reply.startswith(b"HTTP/1.1 400 "), reply[:200]
    assert b"\r\nconnection: close\r\n" in reply
    shape = json.loads(reply.split(b"\r\n\r\n", 1)[1])
    assert set(shape) == {"error_type", "message", "detail", "request_id"}
