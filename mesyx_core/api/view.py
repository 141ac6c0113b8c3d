"""The account view: what an access sees of one store, in batches; nothing here is a protocol of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, Protocol, TypeAlias

from pydantic import JsonValue

from mesyx_core.api.message import Body, Message

Uids: TypeAlias = Sequence[tuple[int, int]]
"""Inclusive UID ranges, ascending, disjoint. An open end is given as 2**32 - 1."""

Field: TypeAlias = Literal["flags", "time", "size", "envelope", "structure"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mailbox:
    """A mailbox as one client's view sees it at one moment. Names use "/" as the separator and are plain Unicode."""

    id: bytes
    """Stable on all nodes (RFC 8474 MAILBOXID)."""
    name: str
    use: str = ""
    """RFC 6154 without backslash: "Sent", "Drafts", "Trash", "Junk", "Archive"; else empty."""
    subscribed: bool = True
    uidvalidity: int = 1
    uidnext: int = 1
    exists: int = 0
    unseen: int = 0
    modseq: int = 1
    """Highest modification sequence of anything in it, removals included."""
    keywords: Sequence[str] = ()
    """Keywords in use on its messages, sorted; what IMAP's FLAGS response shows besides the system flags."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One message in one mailbox. Fields that were not asked for are None."""

    uid: int
    id: bytes
    """Stable id of the message (origin and seq, hashed): RFC 8474 EMAILID."""
    thread: bytes = b""
    """Stable id of its thread: RFC 8474 THREADID. Empty when threads are not known."""
    modseq: int = 0
    flags: frozenset[str] | None = None
    """System flags with backslash ("\\\\Seen"), keywords without."""
    time: datetime | None = None
    size: int | None = None
    """Octets of the message as IMAP serves it."""
    envelope: bytes | None = None
    """Packed by `mesyx_core.mime`; `mime.unpack_envelope` reads it."""
    structure: bytes | None = None
    """Packed by `mesyx_core.mime`; `mime.unpack_part` reads it. It has the byte ranges of every part."""
    locked: bool = False
    """Its key is not open here: envelope, structure and content cannot be had until it is."""


# --- changes a person makes; each is sealed as an op ---


@dataclass(frozen=True, slots=True, kw_only=True)
class Flag:
    """Add and remove flags on messages of one mailbox."""

    mailbox: bytes
    uids: Uids
    add: frozenset[str] = frozenset()
    remove: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """Put messages into another mailbox as well (COPY), or instead (MOVE)."""

    mailbox: bytes
    uids: Uids
    to: bytes
    move: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Remove:
    """Take messages out of a mailbox for good (EXPUNGE). Out of the last one it is deleted."""

    mailbox: bytes
    uids: Uids


@dataclass(frozen=True, slots=True, kw_only=True)
class Create:
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rename:
    """Another name for a mailbox and, by that, for all below it. Renaming INBOX moves what is in it to a new mailbox,
    and must be the only change of its batch (RFC 3501, section 6.3.5)."""

    mailbox: bytes
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Delete:
    mailbox: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscribe:
    """A subscription is by name: it outlives its mailbox (RFC 9051, section 6.3.7)."""

    name: str
    on: bool = True


Change: TypeAlias = Flag | File | Remove | Create | Rename | Delete | Subscribe


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What a batch of changes did, once durable."""

    modseq: int
    filed: Sequence[tuple[int, int]] = ()
    """For each File in order: (source UID, destination UID), for COPYUID."""
    unchanged: Sequence[int] = ()
    """UIDs left alone because they were modified after `unchanged_since`."""


# --- search ---


@dataclass(frozen=True, slots=True)
class Query:
    """A node of a search. `op` is one of:

    and, or, not     over `terms`
    all
    uid              `value`: Uids
    flag, unflag     `value`: a flag or keyword
    before, on, since            internal date; `value`: datetime.date
    sentbefore, senton, sentsince     the Date header; `value`: datetime.date
    larger, smaller  `value`: octets
    header           `name`, `value`: substring, case-insensitive; an empty value: the header exists
    from, to, cc, bcc, subject   `value`: substring of the decoded header
    body, text       `value`: substring of decoded text (body), or of headers and text (text)
    modseq           `value`: int, changed at or after
    id, thread       `value`: bytes, as in `Row`
    """

    op: str
    value: object = None
    name: str = ""
    terms: tuple[Query, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed:
    """What is new in one mailbox since a modification sequence; enough for IDLE to speak without asking back."""

    mailbox: bytes
    modseq: int
    exists: int
    added: Sequence[int] = ()
    """UIDs that came in."""
    removed: Sequence[int] = ()
    """UIDs that went out."""
    flags: Mapping[int, frozenset[str]] = field(default_factory=dict)
    """UID to all its flags now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """What an account on a gateway tells those who are attached, and nobody keeps."""

    account: str
    name: str
    """What kind of event, as the plugin calls it."""
    value: JsonValue


class View(Protocol):
    """One store, opened by one log-in. Every method may raise Locked (key not open) or Refused (reason)."""

    @property
    def store(self) -> str:
        """The store's name on this node."""

    @property
    def owner(self) -> bytes:
        """The store's id, 32 bytes."""

    async def mailboxes(self, names: Sequence[str] | None = None) -> Sequence[Mailbox]:
        """All mailboxes in name order, INBOX first; or those named. Unknown names are left out."""

    async def subscriptions(self) -> Sequence[str]:
        """Subscribed names, whether or not the mailbox exists."""

    async def uids(self, mailbox: bytes) -> tuple[Sequence[int], int]:
        """All UIDs of a mailbox, ascending, and the modification sequence this is the state of."""

    def rows(self, mailbox: bytes, uids: Uids, fields: frozenset[Field]) -> AsyncIterator[Sequence[Row]]:
        """Batches of rows in UID order. UIDs that are gone are left out."""

    def content(self, mailbox: bytes, uids: Uids) -> AsyncIterator[Sequence[tuple[int, Body]]]:
        """Batches of (UID, whole message) in UID order; at most 64 messages or 4 MiB in memory at a time. UIDs that are
        gone or locked are left out."""

    async def search(self, mailbox: bytes, query: Query) -> Sequence[int]:
        """Matching UIDs, ascending."""

    async def change(self, changes: Sequence[Change], unchanged_since: int | None = None) -> Done:
        """All or nothing; returns once durable."""

    async def append(self, mailbox: bytes, message: Message) -> int:
        """Seal a person's own message into a mailbox; returns its UID once durable. `message.time` becomes its internal
        date, `message.flags` its first flags. A Message-ID that Sent already holds is not filed there again: its UID is
        the answer."""

    @property
    def identities(self) -> Sequence[str]:
        """Addresses that this log-in may send as, sorted, as `mesyx_core.wire.addresses.normal` writes them; any of
        them with a +tag is meant too."""

    async def submit(self, message: Message, by: str | None = None) -> bytes:
        """Hand a message to a gateway to send; returns the submission's id, 16 bytes, once durable here.

        `message.body` is the whole message as the access completed it (Date, Message-ID: RFC 6409, section 8),
        `message.sender` its return path ("" for <>), `message.recipients` whom it is to reach, `message.envelope` what
        else the egress is to know (`require_tls`, `smtputf8`, DSN parameters). Bcc stays in the sender's own copy, in
        Sent, and is not sent. `by` names the gateway that is to send it by its node key in hex; else one is chosen.
        The same bytes for the same recipients from the same log-in within ten minutes are the same submission, whose
        id is the answer. With no gateway that could take it now, it waits here for one.

        Raises Refused for a sender or From that is not among `identities`, for no recipients, or for a gateway that
        may not send; Temporary (disk full, no keyset) or Locked when it cannot be kept now.
        """

    def changes(self, since: int) -> AsyncIterator[Sequence[Changed]]:
        """What changed after modification sequence `since`, in any mailbox, then waits for more; never ends by itself.
        What has changed before the call comes at once, and a view's own changes are among it."""

    def ask(self, account: str, name: str, value: JsonValue) -> AsyncIterator[JsonValue]:
        """A request to whatever holds the store's `account` on a gateway (`Answers.answer`), and its answers as they
        come, for at most two minutes. Nothing of it is kept anywhere. Raises Refused when there is no such account or
        it refuses, Temporary when no answer comes."""

    def events(self) -> AsyncIterator[Event]:
        """What the store's accounts tell by `Context.signal`, from now on; never ends by itself, and may have gaps.
        While it is read, the gateways know that somebody is attached."""
