"""Delivery status notifications (RFC 3464, RFC 6522; RFC 6533 where addresses are not ASCII)."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from email.utils import format_datetime
from typing import Final

from mesyx_core.api import Body, Bytes, Message, Outcome
from mesyx_core.mime import header_fields
from mesyx_smtp.egress.content import HEADER, inspect
from mesyx_smtp.egress.outcome import replied, status
from mesyx_smtp.egress.reply import clean

_XTEXT: Final = re.compile(r"\+([0-9A-F]{2})")
_CONDITION: Final = {"never": "FAILURE", "later": "DELAY", "sent": "SUCCESS"}
_ACTION: Final = {"never": "failed", "later": "delayed", "sent": "relayed"}
_SUBJECT: Final = {
    "never": "Undelivered mail returned to sender",
    "later": "Delayed mail, still being tried",
    "sent": "Mail handed on, without word of its delivery",
}
_BESIDE: Final = {"never": "", "later": " (still being tried)", "sent": " (handed on)"}
_WORDS: Final = {
    "never": """\
This is an automatic message of the mail gateway {host}.

Your message could not be delivered to {whom} below, and is not
tried again. What each server said stands beside it.
""",
    "later": """\
This is an automatic message of the mail gateway {host}.

Your message has not been delivered yet to {whom} below. You
need not do anything: it is tried again by itself, and you will hear of it
if that fails.
""",
    "sent": """\
This is an automatic message of the mail gateway {host}.

Your message was handed on for {whom} below, to a server that
does not tell when it delivers. You hear of it again only if that fails.
""",
}


@dataclass(frozen=True, slots=True)
class Joined:
    """Several bodies, one after the other."""

    parts: Sequence[Body]

    @property
    def size(self) -> int:
        return sum(part.size for part in self.parts)

    async def read(self, start: int = 0, stop: int | None = None) -> AsyncIterator[bytes]:
        stop = self.size if stop is None else stop
        for part in self.parts:
            if start < part.size and stop > 0:
                async for chunk in part.read(max(0, start), min(stop, part.size)):
                    yield chunk
            start, stop = start - part.size, stop - part.size


async def compose(
    message: Message, outcomes: Mapping[str, Outcome], *, host: str, now: datetime, token: str
) -> Message | None:
    """The report on those of `outcomes` that the sender wants to hear of. None if there are none, and always about a
    message that is a report itself: its reverse path is empty. `token`: what no other report has."""
    envelope = message.envelope
    path = str(envelope.get("reverse_path", message.sender))
    told = {each: outcome for each, outcome in outcomes.items() if _wanted(envelope.get(f"notify/{each}"), outcome)}
    if not path or not told:
        return None
    word = next(word for word in _SUBJECT if any(outcome.word == word for outcome in told.values()))
    header = await _header(message.body)
    utf8 = not header.isascii() or not path.isascii() or not all(each.isascii() for each in told)
    whole = word == "never" and envelope.get("ret") == "FULL"
    boundary = f"=_{token}"
    network_id = f"{token}@{host}"
    top = [
        "Return-Path: <>",
        f"Date: {format_datetime(now.replace(microsecond=0))}",
        f"From: Mail delivery <MAILER-DAEMON@{host}>",
        f"To: <{clean(path, 900)}>",
        f"Subject: {_SUBJECT[word]}",
        f"Message-ID: <{network_id}>",
        *_reference(header),
        "Auto-Submitted: auto-replied",
        "MIME-Version: 1.0",
        "Content-Type: multipart/report; report-type=delivery-status;",
        f'\tboundary="{boundary}"',
        *([] if not utf8 else ["Content-Transfer-Encoding: 8bit"]),
    ]
    human = [
        *_part(boundary, "text/plain; charset=utf-8", "8bit"),
        *_words(told, host, word),
    ]
    machine = [
        *_part(boundary, f"message/{'global-' if utf8 else ''}delivery-status", "8bit" if utf8 else ""),
        f"Reporting-MTA: dns; {host}",
        *_original_envelope(envelope.get("envid")),
        f"Arrival-Date: {format_datetime(message.time.replace(microsecond=0))}",
        *(line for each, outcome in told.items() for line in _recipient(message, each, outcome, now, utf8=utf8)),
    ]
    eight_bit = (await inspect(message.body)).eight_bit if whole else utf8
    kind = (
        ("message/global" if utf8 else "message/rfc822")
        if whole
        else ("message/global-headers" if utf8 else "text/rfc822-headers")
    )
    returned = _part(boundary, kind, "8bit" if eight_bit else "")
    parts = [
        Bytes(_lines([*top, *human, *machine, *returned])),
        message.body if whole else Bytes(header),
        Bytes(_lines(["", f"--{boundary}--"])),
    ]
    return Message(
        kind="mail",
        time=now,
        body=Joined(parts),
        network=message.network,
        account=message.account,
        sender="",
        recipients=(path,),
        network_id=network_id,
        envelope={"reverse_path": ""},
    )


def _wanted(notify: object, outcome: Outcome) -> bool:
    """NOTIFY (RFC 3461, section 4.1). Where it was not given, failures and delays are told. What was sent is told only
    where nobody else does (section 5.2.2)."""
    asked = str(notify or "FAILURE,DELAY").upper().split(",")
    return _CONDITION[outcome.word] in asked and (outcome.word != "sent" or outcome.relayed)


async def _header(body: Body) -> bytes:
    """The header with its last CRLF; at most `HEADER` bytes, whole lines."""
    found = b""
    async for chunk in body.read(0, HEADER):
        found += chunk
        end = found.find(b"\r\n\r\n")
        if end >= 0:
            return found[: end + 2]
    return found[: found.rfind(b"\r\n") + 2]


def _reference(header: bytes) -> Iterator[str]:
    """So that programs show the report beside the message that it is about."""
    for name, value, *_ in header_fields(header, 0, len(header)):
        text = clean(value.decode("ascii", "replace"), 900)
        if name.lower() == b"message-id" and re.fullmatch(r"<[^<>\s]+>", text):
            yield f"In-Reply-To: {text}"
            yield f"References: {text}"
            return


def _part(boundary: str, kind: str, encoding: str) -> list[str]:
    return ["", f"--{boundary}", f"Content-Type: {kind}"] + (
        [f"Content-Transfer-Encoding: {encoding}", ""] if encoding else [""]
    )


def _words(told: Mapping[str, Outcome], host: str, word: str) -> Iterator[str]:
    """What a person reads."""
    whom = "the address" if len(told) == 1 else "the addresses"
    yield from _WORDS[word].format(host=host, whom=whom).splitlines()
    for each, outcome in told.items():
        yield ""
        yield f"<{clean(each, 900)}>" + ("" if outcome.word == word else _BESIDE[outcome.word])
        said = f"{outcome.remote} said: " if replied(outcome) and outcome.remote else ""
        yield f"    {clean(said + outcome.reason, 900)}"


def _original_envelope(envid: object) -> Iterator[str]:
    if envid:
        yield f"Original-Envelope-Id: {_printed(_decoded(str(envid)))}"


def _recipient(message: Message, address: str, outcome: Outcome, now: datetime, *, utf8: bool) -> Iterator[str]:
    yield ""
    kind, semicolon, original = str(message.envelope.get(f"orcpt/{address}", "")).partition(";")
    if semicolon:
        yield f"Original-Recipient: {_printed(kind)}; {_printed(_decoded(original))}"
    yield f"Final-Recipient: {'rfc822' if address.isascii() else 'utf-8'}; {clean(address, 900)}"
    yield f"Action: {_ACTION[outcome.word]}"
    yield f"Status: {status(outcome)}"
    server = outcome.remote.partition(" ")[0]
    if server:
        yield f"Remote-MTA: dns; {_printed(server)}"
    reason = clean(outcome.reason, 900)
    shown = reason if utf8 else _printed(reason)
    if shown:
        yield f"Diagnostic-Code: {'smtp' if replied(outcome) else 'x-mesyx'}; {shown}"
    yield f"Last-Attempt-Date: {format_datetime(now.replace(microsecond=0))}"


def _decoded(xtext: str) -> str:
    """xtext (RFC 3461, section 4)."""
    return _XTEXT.sub(lambda found: chr(int(found[1], 16)), xtext)


def _printed(text: str) -> str:
    """One line of ASCII."""
    return "".join(c if " " <= c <= "~" else "?" for c in clean(text, 900))


def _lines(lines: Sequence[str]) -> bytes:
    return "".join(f"{line}\r\n" for line in lines).encode("utf-8", "replace")
