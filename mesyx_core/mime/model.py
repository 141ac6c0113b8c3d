"""The values that MIME work gives: plain, immutable, and holding bytes just as IMAP shows them."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple, TypeAlias

Parameters: TypeAlias = tuple[tuple[bytes, bytes], ...]
"""(name in lower case, value) in the order of the header. RFC 2231 forms are left as they stand; see `parameter`."""


class Limits(NamedTuple):
    """What a hostile message may cost. Past a limit the rest is left undivided, never refused."""

    depth: int = 50
    """Nested multiparts and messages. A deeper one is shown as application/octet-stream."""
    parts: int = 10_000
    """Parts in all. The last one keeps the rest of the message."""
    parameters: int = 100
    """Parameters of one header field; a thousand times as many in a message."""
    header: int = 1 << 20
    """Bytes of one header that are looked into."""
    addresses: int = 10_000
    """Addresses of one envelope field; ten times as many in a message."""


class Address(NamedTuple):
    """An address of an envelope (RFC 3501, section 7.4.2).

    A group is its marker (None, None, name, None), its members, and (None, None, None, None). A mailbox without a
    domain has the host MISSING_DOMAIN, a domain without a mailbox the mailbox MISSING_MAILBOX, because None would
    mean a group.
    """

    name: bytes | None
    route: bytes | None
    mailbox: bytes | None
    host: bytes | None


class Envelope(NamedTuple):
    """A header's envelope (RFC 3501, section 7.4.2): unfolded, without CR, LF and NUL, otherwise raw.

    None: there is no such field; b"" or (): it is there, or defaulted, and empty. Sender and Reply-To are From where
    they are missing or empty. An address field shows NIL for ().
    """

    date: bytes | None = None
    subject: bytes | None = None
    from_: tuple[Address, ...] = ()
    sender: tuple[Address, ...] = ()
    reply_to: tuple[Address, ...] = ()
    to: tuple[Address, ...] = ()
    cc: tuple[Address, ...] = ()
    bcc: tuple[Address, ...] = ()
    in_reply_to: bytes | None = None
    message_id: bytes | None = None


class Part(NamedTuple):
    """A MIME entity and its place: data[header_start:body_start] is its header, data[body_start:end] its body.

    The header includes the empty line after it; the newline before a boundary belongs to the boundary. Tokens (type,
    subtype, encoding, disposition, parameter names) are in lower case. No value has CR, LF or NUL; 8-bit bytes may be
    there. A multipart may have no parts: RFC 3501's grammar wants one then, so show EMPTY in its place.
    """

    type: bytes = b"text"
    subtype: bytes = b"plain"
    params: Parameters = ()
    """Empty where the header gives none: text then means charset us-ascii."""
    id: bytes | None = None
    description: bytes | None = None
    encoding: bytes = b"7bit"
    md5: bytes | None = None
    disposition: bytes | None = None
    disposition_params: Parameters = ()
    language: tuple[bytes, ...] = ()
    location: bytes | None = None
    header_start: int = 0
    body_start: int = 0
    end: int = 0
    lines: int = 0
    """LFs in the body; counted for every type."""
    parts: tuple[Part, ...] = ()
    """Of a multipart, in order."""
    message: Message | None = None
    """Of a message/rfc822, always; of anything else, never. One that is base64 is shown as application/octet-stream."""

    @property
    def size(self) -> int:
        """Octets of the body, as transferred."""
        return self.end - self.body_start


class Message(NamedTuple):
    """What a message/rfc822 holds. The part's header_start is the outer part's body_start."""

    envelope: Envelope
    part: Part


class Summary(NamedTuple):
    """All of a message that a mailbox index stores, from one pass over it."""

    envelope: Envelope
    part: Part
    date: datetime | None
    """The Date header, aware, at the offset that it names; None when it is missing or no date."""
    message_id: str
    """Without angle brackets; empty when there is none."""
    references: tuple[str, ...]
    """References, then In-Reply-To: oldest first, without angle brackets, each once; the last 100."""
    header_range: tuple[int, int]
    """Start and end of the header, with the empty line after it."""


class HeaderField(NamedTuple):
    """One field of a header: data[start:end] is all of it with its line end; the value is still folded and raw."""

    name: bytes
    value: bytes
    start: int
    end: int


EMPTY = Part()
"""An empty text/plain part: what BODYSTRUCTURE shows in a multipart that has none."""
