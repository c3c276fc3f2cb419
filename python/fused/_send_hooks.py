"""Tells that a job has ended: the server starts it for an address or a mailbox that the job names
(core/jobs/hook_outbox.hpp).

Standard input has a line of JSON each, ``{"kind": "url" | "email", "target", "key", "job": {…}}``; each is answered by
``{"error": null}``, or ``{"error": "why", "final": whether trying again is useless}``. ``key`` is the same at every
try, for a receiver that must not act twice.
"""

from __future__ import annotations

import http.client
import ipaddress
import json
import os
import signal
import smtplib
import socket
import ssl
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import EmailMessage
from typing import Any
from urllib.parse import unquote, urlsplit

from fused._download_address import RefusedAddress, connect
from fused._version import __version__

SECONDS, MAIL_SECONDS = 20.0, 50.0  # of one try in all: the server waits a minute
AGAIN = frozenset({408, 409, 425, 429})
_YES = ("1", "true", "yes")


class Final(Exception):
    """Trying again is useless."""


def main() -> None:
    """Serves orders until there are no more."""
    for line in sys.stdin:
        order = json.loads(line)
        answer: dict[str, Any] = {"error": None}
        act, seconds = (post, SECONDS) if order["kind"] == "url" else (mail, MAIL_SECONDS)
        try:
            with within(seconds):
                act(order["target"], order["key"], order["job"])
        except Exception as failure:  # whatever it is, the server has to know it
            final = isinstance(failure, Final | RefusedAddress | smtplib.SMTPRecipientsRefused)
            answer = {"error": f"{type(failure).__name__}: {failure}"[:400], "final": final}
        print(json.dumps(answer), flush=True)


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """``TimeoutError`` when what is inside takes longer, however it spends its time. In the main thread only."""

    def late(*_: Any) -> None:
        raise TimeoutError(f"it took longer than {seconds:g} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def post(url: str, key: str, job: dict[str, Any]) -> None:
    """The job's record as JSON; anything but 2xx is a failure. Redirects are not followed."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise Final(f"{url!r} is no address of http or https")
    secure = parts.scheme == "https"
    port = parts.port or (443 if secure else 80)
    only_public = os.environ.get("FUSED_DOWNLOAD_PRIVATE", "") not in _YES
    plain, _ = connect(parts.hostname, port, SECONDS, only_public)
    connection = http.client.HTTPConnection(parts.hostname, port, timeout=SECONDS)
    context = ssl.create_default_context()
    connection.sock = context.wrap_socket(plain, server_hostname=parts.hostname) if secure else plain
    headers = {
        "Content-Type": "application/json",
        "User-Agent": f"fused-server/{__version__}",
        "Idempotency-Key": key,
        "Host": parts.netloc.rpartition("@")[2],
    }
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        connection.request("POST", target, json.dumps(job, ensure_ascii=False).encode(), headers)
        reply = connection.getresponse()
        reply.read(1 << 16)
    finally:
        connection.close()
    if not 200 <= reply.status < 300:
        told = f"{url.partition('?')[0]} answered {reply.status} {reply.reason}"
        raise OSError(told) if reply.status >= 500 or reply.status in AGAIN else Final(told)


def mail(to: str, key: str, job: dict[str, Any]) -> None:
    """A short message over the server's SMTP setting."""
    parts = urlsplit(os.environ.get("FUSED_SMTP_URL", ""))
    if parts.scheme not in ("smtp", "smtps") or not parts.hostname:
        raise Final("this server has no mail server (FUSED_SMTP_URL is smtp[s]://[user:password@]host[:port])")
    message = EmailMessage()
    message["Subject"] = f"job {job['job_name']}: {job['status']}"
    message["From"] = os.environ.get("FUSED_SMTP_FROM") or f"fused@{socket.gethostname()}"
    message["To"] = to
    message["Message-ID"] = f"<{key.replace('/', '.')}@fused-server>"
    lines = [f"{name}: {value}" for name, value in job.items() if value is not None]
    message.set_content("\n".join(lines) + f"\n\nfused jobs show {job['job_id']}\n")
    kind = smtplib.SMTP_SSL if parts.scheme == "smtps" else smtplib.SMTP
    with kind(parts.hostname, parts.port or 0, timeout=SECONDS) as server:
        if parts.scheme == "smtp":
            server.ehlo()
            if server.has_extn("starttls"):
                server.starttls(context=ssl.create_default_context())
                server.ehlo()
        if parts.username:
            if not isinstance(server.sock, ssl.SSLSocket) and not _is_this_machine(server.sock):
                raise OSError(
                    f"{parts.hostname} offers no STARTTLS, and a password is not sent in clear; give FUSED_SMTP_URL as "
                    "smtps://…, or a mail server that asks for none"
                )
            server.login(unquote(parts.username), unquote(parts.password or ""))
        server.send_message(message)


def _is_this_machine(connection: socket.socket | None) -> bool:
    if connection is None:
        return False
    return ipaddress.ip_address(str(connection.getpeername()[0]).partition("%")[0]).is_loopback


if __name__ == "__main__":
    main()
