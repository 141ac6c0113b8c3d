"""Envelopes and structures as bytes for an index: version 1, then compact CBOR."""

from __future__ import annotations

from typing import Any, Final

import cbor2

from mesyx_core.mime.model import Address, Envelope, Message, Part

VERSION: Final = b"\x01"


class PackError(ValueError):
    """Bytes that `pack_envelope` or `pack_part` did not make."""


def pack_envelope(envelope: Envelope) -> bytes:
    """The bytes that `unpack_envelope` takes."""
    return VERSION + cbor2.dumps(_from_envelope(envelope))


def unpack_envelope(data: bytes) -> Envelope:
    """The envelope that was packed. Raises PackError."""
    try:
        return _to_envelope(_load(data))
    except (TypeError, ValueError, IndexError, cbor2.CBORDecodeError) as error:
        raise PackError("not a packed envelope") from error


def pack_part(part: Part) -> bytes:
    """The bytes that `unpack_part` takes; everything below the part included."""
    return VERSION + cbor2.dumps(_from_part(part))


def unpack_part(data: bytes) -> Part:
    """The part that was packed, with everything below it. Raises PackError."""
    try:
        return _to_part(_load(data))
    except (TypeError, ValueError, IndexError, RecursionError, cbor2.CBORDecodeError) as error:
        raise PackError("not a packed part") from error


def _load(data: bytes) -> list[Any]:
    if data[:1] != VERSION:
        raise PackError("unknown version")
    value = cbor2.loads(data[1:])
    if not isinstance(value, list):
        raise PackError("not a list")
    return value


def _from_envelope(envelope: Envelope) -> list[Any]:
    date, subject, from_, sender, reply_to, to, cc, bcc, in_reply_to, message_id = envelope
    return [
        date,
        subject,
        from_,
        None if sender == from_ else sender,  # as most are
        None if reply_to == from_ else reply_to,
        to,
        cc,
        bcc,
        in_reply_to,
        message_id,
    ]


def _to_envelope(value: list[Any]) -> Envelope:
    date, subject, from_, sender, reply_to, to, cc, bcc, in_reply_to, message_id = value
    authors = _addresses(from_)
    return Envelope(
        date,
        subject,
        authors,
        authors if sender is None else _addresses(sender),
        authors if reply_to is None else _addresses(reply_to),
        _addresses(to),
        _addresses(cc),
        _addresses(bcc),
        in_reply_to,
        message_id,
    )


def _addresses(value: list[Any]) -> tuple[Address, ...]:
    return tuple([Address(*address) for address in value])


def _from_part(part: Part) -> list[Any]:
    """Offsets, then what parts differ in, the rarest last and left out where it is empty."""
    inside: Any = None
    if part.message is not None:
        inside = [_from_envelope(part.message.envelope), _from_part(part.message.part)]
    elif part.parts:
        inside = [_from_part(child) for child in part.parts]
    value = [
        part.header_start,
        part.body_start,
        part.end,
        part.lines,
        part.type,
        part.subtype,
        part.encoding,
        part.params,
        inside,
        part.disposition,
        part.disposition_params,
        part.id,
        part.description,
        part.language,
        part.location,
        part.md5,
    ]
    while value[-1] is None or value[-1] == ():
        value.pop()
    return value


def _to_part(value: list[Any]) -> Part:
    header_start, body_start, end, lines, type_, subtype, encoding = value[:7]
    rest = value[7:]
    params, inside, disposition, disposition_params, id_, description, language, location, md5 = rest + [None] * (
        9 - len(rest)
    )
    message = None
    parts: tuple[Part, ...] = ()
    if inside is not None:
        if type_ == b"multipart":
            parts = tuple([_to_part(child) for child in inside])
        else:
            message = Message(_to_envelope(inside[0]), _to_part(inside[1]))
    return Part(
        type_, subtype, _pairs(params), id_, description, encoding, md5, disposition, _pairs(disposition_params),
        tuple(language or ()), location, header_start, body_start, end, lines, parts, message,
    )  # fmt: skip


def _pairs(value: list[Any] | None) -> tuple[tuple[bytes, bytes], ...]:
    return tuple([(name, text) for name, text in value]) if value else ()
