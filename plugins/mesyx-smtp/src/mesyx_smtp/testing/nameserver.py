"""A DNS server on loopback that knows one zone."""

from __future__ import annotations

import socketserver
import struct
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, ExitStack
from types import TracebackType
from typing import Any

import dns.exception
import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset

from mesyx_smtp.testing.serving import TcpServer, UdpServer, free_port, serving

TTL = 1


class NameServer(AbstractContextManager["NameServer"]):
    """Answers by UDP and TCP while the block is open. `zone` may be changed meanwhile.

    A zone is name → type → values as a zone file writes them: `{"example.org": {"MX": ["10 mx.example.org."]}}`. A
    name that is not in it does not exist. `failing` names get SERVFAIL, `silent` ones no answer at all; answers above
    `largest` bytes are cut short over UDP, so that they are asked for again by TCP."""

    def __init__(
        self,
        zone: Mapping[str, Mapping[str, Iterable[str]]],
        *,
        failing: Iterable[str] = (),
        silent: Iterable[str] = (),
        largest: int = 1232,
    ) -> None:
        self.zone = {name.lower().removesuffix("."): types for name, types in zone.items()}
        self.failing = set(failing)
        self.silent = set(silent)
        self.largest = largest
        self.asked: list[tuple[str, str, str]] = []
        """("udp" or "tcp", name, type) of each question."""
        self.port = free_port("127.0.0.1")
        self._stack = ExitStack()

    @property
    def address(self) -> str:
        """For `[egress.smtp] resolver`."""
        return f"127.0.0.1:{self.port}"

    def __enter__(self) -> NameServer:
        answer = self._answer

        class Udp(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                data, own = self.request
                reply = answer("udp", data)
                if reply:
                    own.sendto(reply, self.client_address)

        class Tcp(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                while len(size := self.rfile.read(2)) == 2:
                    reply = answer("tcp", self.rfile.read(struct.unpack(">H", size)[0]))
                    if not reply:
                        return
                    self.wfile.write(struct.pack(">H", len(reply)) + reply)

        where = ("127.0.0.1", self.port)
        self._stack.enter_context(serving(UdpServer(where, Udp), TcpServer(where, Tcp)))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def _answer(self, way: str, data: bytes) -> bytes:
        try:
            query = dns.message.from_wire(data)
        except dns.exception.DNSException:
            return b""
        question = query.question[0]
        name = question.name.to_text(omit_final_dot=True).lower()
        kind = dns.rdatatype.to_text(question.rdtype)
        self.asked.append((way, name, kind))
        if name in self.silent:
            return b""
        reply: Any = dns.message.make_response(query)
        reply.flags |= dns.flags.RA
        types = self.zone.get(name)
        if name in self.failing:
            reply.set_rcode(dns.rcode.SERVFAIL)
        elif types is None:
            reply.set_rcode(dns.rcode.NXDOMAIN)
        elif values := list(types.get(kind, ())):
            reply.answer.append(dns.rrset.from_text(question.name, TTL, "IN", kind, *values))
        wire: bytes = reply.to_wire(max_size=65535)
        if way == "udp" and len(wire) > self.largest:
            reply.answer.clear()
            reply.flags |= dns.flags.TC
            wire = reply.to_wire()
        return wire
