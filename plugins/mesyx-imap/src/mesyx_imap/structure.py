"""ENVELOPE, BODY and BODYSTRUCTURE (RFC 3501, section 7.4.2) from what `mesyx_core.mime` found."""

from __future__ import annotations

from mesyx_core.mime import EMPTY, Address, Envelope, Parameters, Part
from mesyx_imap.format import nstring, string


def envelope(given: Envelope) -> bytes:
    """An envelope in parentheses."""
    author = _addresses(given.from_)  # who mostly is the sender as well, and is replied to
    return b"(%b %b %b %b %b %b %b %b %b %b)" % (
        nstring(given.date),
        nstring(given.subject),
        author,
        author if given.sender == given.from_ else _addresses(given.sender),
        author if given.reply_to == given.from_ else _addresses(given.reply_to),
        _addresses(given.to),
        _addresses(given.cc),
        _addresses(given.bcc),
        nstring(given.in_reply_to),
        nstring(given.message_id),
    )


def _addresses(given: tuple[Address, ...]) -> bytes:
    if not given:
        return b"NIL"
    return b"(%b)" % b"".join([b"(%b %b %b %b)" % tuple([nstring(value) for value in address]) for address in given])


def body(part: Part, extended: bool) -> bytes:
    """A part's structure; `extended` is BODYSTRUCTURE's form."""
    return _multipart(part, extended) if part.type == b"multipart" else _single(part, extended)


def _multipart(part: Part, extended: bool) -> bytes:
    inner = b"".join([body(each, extended) for each in part.parts or (EMPTY,)])
    if not extended:
        return b"(%b %b)" % (inner, string(part.subtype))
    return b"(%b %b %b %b)" % (inner, string(part.subtype), _parameters(part.params), _extension(part))


def _single(part: Part, extended: bool) -> bytes:
    text = part.type == b"text"
    params = part.params or ((b"charset", b"us-ascii"),) if text else part.params
    fields = [
        string(part.type),
        string(part.subtype),
        _parameters(params),
        nstring(part.id),
        nstring(part.description),
        string(part.encoding),
        b"%d" % part.size,
    ]
    if part.message is not None:
        fields += (envelope(part.message.envelope), body(part.message.part, extended), b"%d" % part.lines)
    elif text:
        fields.append(b"%d" % part.lines)
    if extended:
        fields += (nstring(part.md5), _extension(part))
    return b"(%b)" % b" ".join(fields)


def _extension(part: Part) -> bytes:
    """Disposition, language and location."""
    disposition = b"NIL"
    if part.disposition is not None:
        disposition = b"(%b %b)" % (string(part.disposition), _parameters(part.disposition_params))
    language = b"(%b)" % b" ".join(map(string, part.language)) if part.language else b"NIL"
    return b"%b %b %b" % (disposition, language, nstring(part.location))


def _parameters(params: Parameters) -> bytes:
    if not params:
        return b"NIL"
    return b"(%b)" % b" ".join([b"%b %b" % (string(name), string(value)) for name, value in params])
