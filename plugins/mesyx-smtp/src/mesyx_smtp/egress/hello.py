"""What a node calls itself towards servers (RFC 5321, section 4.1.1.1)."""

from __future__ import annotations

import socket
from ipaddress import IPv6Address, ip_address

import anyio
import anyio.to_thread
from anyio.abc import ByteStream, SocketAttribute


async def own_name(node: str) -> str:
    """The node's name if that is a domain, else the system's if it has a real one. May take a while, for DNS."""
    if "." in node:
        return node
    with anyio.move_on_after(10):
        system = await anyio.to_thread.run_sync(socket.getfqdn, abandon_on_cancel=True)
        if "." in system and not system.endswith(".localdomain"):
            return system
    return node


def hello(name: str, stream: ByteStream) -> str:
    """The argument of EHLO: the name if it is a domain, else the literal of the address that the connection is from."""
    if "." in name:
        return name
    try:
        own = ip_address(str(stream.extra(SocketAttribute.local_address)[0]).partition("%")[0])
    except (anyio.TypedAttributeLookupError, ValueError, LookupError, OSError):
        return name  # by a dialer: nobody is to know
    return f"[IPv6:{own}]" if isinstance(own, IPv6Address) else f"[{own}]"


def names(*own: str) -> frozenset[str]:
    """By which a server may turn out to be this node."""
    return frozenset(each.lower() for each in own if "." in each)
