"""Which addresses ``fused.download`` may speak to: checked after the name was resolved, and then connected to as it is.

In a function on a server only public addresses, unless the server was started with ``FUSED_DOWNLOAD_PRIVATE=1``: a URL
that somebody passes in must not reach the server's own network. Elsewhere the user's own machine and network are his to
ask, but what a public server redirects to must be public too.
"""

from __future__ import annotations

import ipaddress
import os
import socket
from typing import Any

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_REFUSED_V6 = [ipaddress.ip_network(text) for text in ("fec0::/10", "64:ff9b:1::/48", "::/96")]


class RefusedAddress(ValueError):
    """The name leads to an address that may not be asked."""


def is_public(address: Address) -> bool:
    """Is it of the internet at large; addresses inside of others (IPv4 in IPv6) count as those."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is None and address in _NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is None and address.teredo is not None:
            inner = address.teredo[1]
        if inner is not None:
            return is_public(inner)
        if any(address in network for network in _REFUSED_V6):
            return False
    return address.is_global and not address.is_multicast and not address.is_reserved


def only_public() -> bool:
    """Does this process run a server's function."""
    from fused.context import get_global_context

    return get_global_context() is not None and os.environ.get("FUSED_DOWNLOAD_PRIVATE", "") not in ("1", "true", "yes")


def resolve(host: str, port: int, public: bool) -> list[tuple[Any, ...]]:
    """``getaddrinfo`` results; ``RefusedAddress`` when one of them may not be asked.

    All must be public: of a name with a public and a private address one cannot know which will be used.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    except UnicodeError as error:
        raise ValueError(f"{host!r} is no host name: {error}") from None
    for *_, where in found:
        address = ipaddress.ip_address(str(where[0]).partition("%")[0])
        if public and not is_public(address):
            raise RefusedAddress(
                f"{host!r} leads to {address}, which is not a public address; functions on a server may download from "
                "public ones only (an administrator allows others with FUSED_DOWNLOAD_PRIVATE=1)"
                if only_public()
                else f"a public server redirects to {host!r} at {address}, which is not a public address"
            )
    return list(found)


def connect(host: str, port: int, seconds: float, public: bool) -> tuple[socket.socket, bool]:
    """A connection to one of the checked addresses, and whether that is a public one."""
    error: OSError | None = None
    for family, kind, protocol, _, where in resolve(host, port, public):
        connection = socket.socket(family, kind, protocol)
        try:
            connection.settimeout(seconds)
            connection.connect(where)
            return connection, is_public(ipaddress.ip_address(str(where[0]).partition("%")[0]))
        except OSError as failed:
            connection.close()
            error = failed
    raise error or OSError(f"{host!r} has no address")
