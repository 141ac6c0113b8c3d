"""A message that a person's program hands in: who it may be from, what of it is sent, and what of it is kept."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final, NamedTuple

from mesyx_core import mime
from mesyx_core.api import Body, Message, Refused
from mesyx_core.mailbox import gateways
from mesyx_core.record import outgoing

HEADER: Final = 1 << 20
LOOKED: Final = 64 * 1024
"""Bytes of those fields that say who a mail is from: they are looked into on the event loop."""
_VALUE: Final = rb"[^\0\v\f\r\n]*+(?:\r\n[ \t][^\0\v\f\r\n]*+)*+(?:\r\n|\Z)"
_SOUND: Final = re.compile(rb"(?:[!-9;-~]++[ \t]*+:" + _VALUE + rb")*+")
"""Fields as RFC 5322, section 2.2, has them, and nothing else: no two programs then disagree on their names."""
_FIELD: Final = re.compile(
    rb"^((?:resent-)?bcc|from|sender|resent-from|resent-sender|message-id)[ \t]*+:(" + _VALUE + rb")",
    re.IGNORECASE | re.MULTILINE,
)
_SECRET: Final = frozenset((b"bcc", b"resent-bcc"))
_CLAIMS: Final = frozenset((b"sender", b"resent-from", b"resent-sender"))
_QUOTED: Final = re.compile(r'"((?>(?:[^"\\]|\\.)*))("?)', re.DOTALL)
_BETWEEN: Final = re.compile(r'[\s<>,;:()"]+')
OURS: Final = frozenset(("submission", "login"))
"""What a copy's envelope says and a request's does not: it is nobody's business but the sender's."""


class Head(NamedTuple):
    """What is to be known of a mail before it is sent."""

    authors: tuple[str, ...]
    """Every address in From, also one that not every program would take for the author."""
    claims: tuple[str, ...]
    """Every address in Sender, Resent-From and Resent-Sender."""
    froms: int
    """How many From fields there are: there should be one."""
    message_id: str
    """Without angle brackets; empty when there is none."""
    secret: tuple[tuple[int, int], ...]
    """Where Bcc stands."""
    fault: str = ""
    """Why it cannot be said for sure what the header names; nothing else is known then."""


async def head_of(message: Message) -> Head:
    """Look into a mail's header; what is no mail has none."""
    nothing = Head((), (), 0, "", ())
    if message.kind != "mail":
        return nothing
    header = await _header(message.body)
    if header is None:
        return nothing._replace(fault="the header of this mail is larger than 1 MiB")
    if not _SOUND.fullmatch(header):
        return nothing._replace(fault="the header of this mail has a line that programs may read in different ways")
    fields = [(field[1].lower(), field) for field in _FIELD.finditer(header)]
    open_ = [(name, field) for name, field in fields if name not in _SECRET]
    if sum(len(field[0]) for _, field in open_) > LOOKED:
        return nothing._replace(fault="the header of this mail names its sender in more than 64 KiB")
    found = mime.summary(b"".join(field[0] for name, field in open_ if name not in _CLAIMS))
    froms = [field[2] for name, field in open_ if name == b"from"]
    authors = [_address(one) for one in found.envelope.from_ if one.host is not None]
    return Head(
        tuple(dict.fromkeys([*authors, *_shown(froms)])) if authors else (),
        tuple(_shown(field[2] for name, field in open_ if name in _CLAIMS)),
        len(froms),
        found.message_id,
        tuple(field.span() for name, field in fields if name in _SECRET),
    )


async def _header(body: Body) -> bytes | None:
    """All of it, without the empty line; None where its end is not in the first MiB."""
    data = b"".join([chunk async for chunk in body.read(0, HEADER)])
    if data.startswith(b"\r\n"):
        return b""
    end = data.find(b"\r\n\r\n")
    if end < 0:
        return data if body.size <= HEADER else None
    return data[: end + 2]


def _shown(values: Iterable[bytes]) -> Iterator[str]:
    """Whatever looks like an address outside quoted strings: of `a@x <b@y>` or `a@x (b@y)` some programs show the one,
    and some the other."""
    for value in values:
        bare = _QUOTED.sub(lambda quoted: " " if quoted[2] else quoted[1], value.decode("utf-8", "replace"))
        around = [_BETWEEN.split(part.strip()) for part in bare.split("@")]
        for left, right in pairwise(around):
            if left[-1] and right[0]:
                yield f"{left[-1]}@{right[0]}"


def _address(address: mime.Address) -> str:
    return b"@".join((address.mailbox or b"", address.host or b"")).decode("utf-8", "replace")


def senders(message: Message, head: Head) -> tuple[str, ...]:
    """Every address in whose name a mail is: on its envelope and in its header."""
    path = str(message.envelope.get("reverse_path", ""))
    return tuple(dict.fromkeys(each for each in (message.sender, path, *head.authors, *head.claims) if each))


def check(message: Message, head: Head, identities: Collection[str]) -> None:
    """Raises Refused for a message to nobody or to too many, from somebody else, or that does not say from whom."""
    if not message.recipients:
        raise Refused("a message to nobody", "name at least one recipient")
    if len(message.recipients) > outgoing.MAX_RECIPIENTS:
        raise Refused(f"more than {outgoing.MAX_RECIPIENTS} recipients", "send it to them in several messages")
    if any(len(address) > outgoing.MAX_ADDRESS for address in message.recipients):
        raise Refused("a recipient's address is too long", "correct it")
    remedy = "send as one of its identities" if identities else "let a gateway grant an address to the store"
    if head.fault:
        raise Refused(head.fault, "correct it: lines of NAME: VALUE, each ended by CRLF, without control characters")
    if message.kind == "mail" and (head.froms != 1 or not head.authors):
        raise Refused("a mail has one From field that says who sends it", "correct it")
    claimed = senders(message, head) if message.kind == "mail" else ()
    if not all(gateways.granted(address, identities) for address in claimed):
        raise Refused("this log-in may not send as that address", remedy)


def copy_of(message: Message, id: bytes, network_id: str, extra: Mapping[str, str]) -> Message:
    """The sender's own copy: mail goes to Sent, a line to its conversation."""
    return replace(
        message,
        direction="out",
        mailbox="Sent" if message.kind == "mail" else message.mailbox,
        flags=message.flags | {"\\Seen"},
        network_id=network_id,
        envelope={**message.envelope, "submission": id, **extra},
    )


def request_of(message: Message, head: Head, numbered: Sequence[tuple[int, str]]) -> Message:
    """What a gateway is given to send: for those recipients, without Bcc."""
    dropped = {message.recipients[number] for number in range(len(message.recipients))} - {to for _, to in numbered}
    envelope = {
        key: value
        for key, value in message.envelope.items()
        if key not in OURS and not (key.startswith(("notify/", "orcpt/")) and key.partition("/")[2] in dropped)
    }
    body: Body = Without(message.body, head.secret) if head.secret else message.body
    return Message(
        kind=message.kind,
        time=message.time,
        body=body,
        network=message.network,
        account=message.account,
        conversation=message.conversation,
        direction="out",
        sender=message.sender,
        recipients=tuple(address for _, address in numbered),
        claimed=message.claimed,
        network_id=head.message_id or message.network_id,
        envelope=envelope,
        importance=message.importance,
    )


@dataclass(frozen=True, slots=True)
class Without:
    """A Body that leaves out some places of another: (start, end), ascending, disjoint."""

    body: Body
    places: tuple[tuple[int, int], ...]

    @property
    def size(self) -> int:
        return self.body.size - sum(end - start for start, end in self.places)

    async def read(self, start: int = 0, stop: int | None = None) -> AsyncIterator[bytes]:
        """As api.Body."""
        start, stop, _ = slice(start, stop).indices(self.size)
        for first, last in self._kept():
            length = last - first
            if start < length and stop > 0:
                async for chunk in self.body.read(first + max(start, 0), first + min(stop, length)):
                    yield chunk
            start, stop = start - length, stop - length

    def _kept(self) -> list[tuple[int, int]]:
        edges = [0, *(edge for place in self.places for edge in place), self.body.size]
        return [(first, last) for first, last in zip(edges[::2], edges[1::2], strict=True) if first < last]
