"""Open entries in a worker thread: unseal, unpack, take mail apart. Reads the index, changes nothing."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Final, NamedTuple, TypeAlias

from mesyx_core import mime
from mesyx_core.api import Message
from mesyx_core.mailbox import names
from mesyx_core.mailbox.contents import Inside, fold, pack
from mesyx_core.mailbox.ledger import Ledger
from mesyx_core.mailbox.model import SEQ, SEQ_MASK, Arrival, Why
from mesyx_core.mailbox.seeds import Seal, SeedLocked, Seeds, SeedUnknown, SeedWrong
from mesyx_core.mailbox.submissions import Copy, about, trace_of
from mesyx_core.record import content, marks, outgoing, payloads
from mesyx_core.record.content import BlobRef, Content
from mesyx_core.record.entry import Entry, Header, Kind, decode_header
from mesyx_core.record.payloads import Target
from mesyx_core.record.powers import may_seal, may_write, overstepped
from mesyx_core.record.shape import RecordError
from mesyx_core.vault import labels
from mesyx_core.vault.authority import Authority
from mesyx_core.vault.encoding import digest
from mesyx_core.vault.seal import SealError

log = logging.getLogger(__name__)

INSTEAD: Final = "instead"
"""In the envelope of a message that stands for another."""
WRONG_SEAL: Final = "seals another seed than the one committed to"
_SENT: Final = names.named("Sent")
_FLAGS: Final = 64
"""Flags that one message may bring."""


class Nothing(NamedTuple):
    """Nothing in it for the index."""

    entry: int


class NewEpoch(NamedTuple):
    entry: int
    number: int
    commitment: bytes
    epoch: payloads.Epoch | None
    """None when its payload is not here;"""
    wanted: bool = False
    """and then whether it may still come."""


class NewSeal(NamedTuple):
    """An epoch's seed, sealed once more."""

    entry: int
    origin: int
    number: int
    seal: Seal
    good: bool
    """Opened here, and the one that was committed to."""


class Closed(NamedTuple):
    entry: int
    number: int


class Letter(NamedTuple):
    """A message, ready to be kept."""

    arrival: Arrival
    """Its keyset row is not known yet: 0."""
    target: Target
    inside: Inside
    place: tuple[int, int]
    """Epoch and index, each of which counts once."""
    copy: Copy | None = None
    """What it is a sender's own copy of."""
    stands: int = 0
    """The entry that it stands for from now on; 0 for none. `arrival` is that one's."""


class Unread(NamedTuple):
    """A message whose body lies in a blob, to be read before `read` makes a Letter of it."""

    entry: int
    target: Target
    opened: Content
    body: BlobRef
    sealed_size: int
    own: bool
    place: tuple[int, int]


class Deed(NamedTuple):
    """A batch of ops."""

    entry: int
    data: bytes
    place: tuple[int, int]


class Word(NamedTuple):
    """What a client or a gateway says about messages on their way out."""

    entry: int
    value: outgoing.Told
    day: bytes
    """The recipient of the day that it is sealed to as well; empty for none."""
    place: tuple[int, int]


class Later(NamedTuple):
    entry: int
    why: Why


class Violation(NamedTuple):
    """Something that its writer may not do, or that is not what it claims to be."""

    entry: int
    what: str


Item: TypeAlias = Nothing | NewEpoch | NewSeal | Closed | Letter | Unread | Deed | Word | Later | Violation


class Opener:
    """Opens entries of one store."""

    def __init__(
        self,
        ledger: Ledger,
        seeds: Seeds,
        authority: Callable[[], Authority],
        gone: Callable[[int, int], bool] = lambda origin, seq: False,
    ) -> None:
        """`gone` tells of an entry whether its payload was dropped or purged."""
        self._gone = gone
        self._ledger = ledger
        self._seeds = seeds
        self._authority = authority

    def open(self, origin: int, entries: Iterable[tuple[int, Entry]]) -> list[Item]:
        """What is in entries of one origin, in order; one that cannot be opened never stops the others."""
        roles = _Roles(self._authority(), *self._ledger.nodes[origin])
        return [self._open(origin, seq, entry, roles) for seq, entry in entries]

    def _open(self, origin: int, seq: int, entry: Entry, roles: _Roles) -> Item:
        at = origin << SEQ | seq
        try:
            header = decode_header(entry.header)
            allowed = roles.at(seq)
            if allowed and not may_write(header.kind, allowed):
                return Violation(at, overstepped(Kind(header.kind).name.lower()))
            if header.kind == Kind.CLOSE:
                return Closed(at, header.epoch)
            if header.kind == Kind.EPOCH:
                return self._epoch(origin, seq, header, entry.payload)
            if header.kind not in (Kind.SEALED, Kind.RESEAL):
                return Nothing(at)
            if entry.payload is None:
                return Later(at, "gone" if self._gone(origin, seq) else "body")
            if not allowed:
                return Later(at, "member")
            if header.kind == Kind.RESEAL:
                return self._reseal(at, entry.payload)
            return self._sealed(origin, seq, header, entry.payload, allowed)
        except SeedUnknown:
            return Later(at, "epoch")
        except SeedLocked as locked:
            # What is sealed to another node, or to a gateway's recipient of the day, is no business of this one.
            return Nothing(at) if locked.target.kind in ("node", "day") else Later(at, "locked")
        except SeedWrong:
            return Violation(at, "the seed is not the one committed to")
        except SealError:
            return Violation(at, "not sealed as it should be")
        except RecordError:
            return Violation(at, "not in the form it should have")
        except Exception as error:  # one message that we fail at must not keep all others from their reader
            return _failed(at, error)

    def _epoch(self, origin: int, seq: int, header: Header, payload: bytes | None) -> Item:
        at = origin << SEQ | seq
        if payload is None:
            wanted = not self._gone(origin, seq)
            return NewEpoch(at, header.epoch, header.s, None, wanted) if header.s else Later(at, "body")
        epoch = payloads.decode_epoch(payload)
        if header.s not in (b"", epoch.commitment):
            return Violation(at, "not in the form it should have")
        self._seeds.learn(origin, header.epoch, epoch)
        return NewEpoch(at, header.epoch, epoch.commitment, epoch)

    def _reseal(self, at: int, payload: bytes) -> Item:
        reseal = marks.decode_reseal(payload)
        cited = self._ledger.origins.get((reseal.node, reseal.incarnation))
        if cited is None:
            return Later(at, "epoch")
        seal = Seal(reseal.target, reseal.file)
        verdict = self._seeds.check(cited, reseal.number, seal)
        if verdict == "wrong":
            return Violation(at, WRONG_SEAL)
        return NewSeal(at, cited, reseal.number, seal, verdict == "good")

    def _sealed(self, origin: int, seq: int, header: Header, payload: bytes, roles: frozenset[str]) -> Item:
        at = origin << SEQ | seq
        target, data = self._seeds.open(origin, seq, header, payload)
        opened = content.unpack(data)
        place = (header.epoch, header.index)
        own = "client" in roles
        if not may_seal(opened.kind, roles):
            return Violation(at, overstepped(opened.kind))
        if opened.kind == "op":
            if not isinstance(opened.value, bytes):
                return Violation(at, "not in the form it should have")
            return Deed(at, opened.value, place)
        if opened.message is None:
            told = outgoing.decode(opened)
            day = target.id if target.kind == "day" else b""
            return Nothing(at) if told is None else Word(at, told, day, place)
        if isinstance(opened.body, BlobRef):
            sizes = dict(header.blobs)
            if opened.body.hash not in sizes:
                return Violation(at, "its body is in a blob that it does not name")
            return Unread(at, target, opened, opened.body, sizes[opened.body.hash], own, place)
        return self._letter(at, target, opened.message, opened.body, own, place)

    def read(self, unread: Unread, body: bytes) -> Item:
        """The message, once its body was read from its blob."""
        assert unread.opened.message is not None
        try:
            return self._letter(unread.entry, unread.target, unread.opened.message, body, unread.own, unread.place)
        except SeedUnknown:
            return Later(unread.entry, "epoch")
        except Exception as error:  # as above
            return _failed(unread.entry, error)

    def _letter(
        self, entry: int, target: Target, message: Message, body: bytes, own: bool, place: tuple[int, int]
    ) -> Letter | Violation:
        summary, stood = mime.summary(body), _instead(message) if own else None
        if stood is not None:
            node, incarnation, seq = self._ledger.ref(entry)
            if not self._authority().may_purge(node, target.id, incarnation, seq):
                return Violation(entry, "stands for another message, from a node that may purge none")
            own = "client" in self._authority().roles(*stood)
        email = names.email(*(stood or self._ledger.ref(entry)))
        mailbox, name = names.of_message(message.mailbox, message.kind, message.conversation, own)
        link, always = _link(message, body, summary.message_id, own and mailbox == _SENT)
        arrival = Arrival(
            entry=self._entry(*stood) if stood else entry,
            keyset=0,
            time=content.milliseconds(message.time),
            link=link,
            always=always,
            mailbox=mailbox,
            mailbox_name=name,
            flags=_flags(message.flags),
            email=email,
            thread=_thread(summary, email),
        )
        head = fold(mime.header_text(body, summary.part))
        text = fold("\n".join(mime.body_texts(body, summary.part)))
        inside = Inside(
            entry=entry,
            size=len(body),
            sent=summary.date.toordinal() if summary.date else None,
            envelope=mime.pack_envelope(summary.envelope),
            structure=mime.pack_part(summary.part),
            text=f"{head}\n{text}",
            head=pack(head),
            body=pack(text),
        )
        copy = _copy(message, body) if own else None
        return Letter(arrival, target, inside, place, copy, arrival.entry if stood else 0)

    def _entry(self, node: bytes, incarnation: bytes, seq: int) -> int:
        """As the index numbers it. Raises SeedUnknown while nothing of its log has come."""
        row = self._ledger.origins.get((node, incarnation))
        if row is None:
            raise SeedUnknown
        return row << SEQ | seq


def _failed(entry: int, error: Exception) -> Later:
    log.error("an entry could not be opened: %s; it is tried again at the next start", type(error).__name__)
    return Later(entry, "fault")


class _Roles:
    """What a node's log may hold, up to the place where a manifest cut it off and beyond."""

    def __init__(self, authority: Authority, node: bytes, incarnation: bytes) -> None:
        member = authority.member(node)
        self._now = member.roles if member else frozenset[str]()
        self._before = self._now
        self._cut = 0
        for cut in authority.effective.cuts:
            if (cut.node, cut.incarnation) == (node, incarnation):
                self._cut = cut.seq
                past = (manifest.member(node) for manifest in authority.manifests.values())
                self._before = frozenset(role for member in past if member for role in member.roles)

    def at(self, seq: int) -> frozenset[str]:
        return self._before if seq <= self._cut else self._now


def _instead(message: Message) -> tuple[bytes, bytes, int] | None:
    """The entry that a message stands for, as `instead` wrote it."""
    value = message.envelope.get(INSTEAD)
    if type(value) is not bytes or len(value) != 56:
        return None
    return value[:32], value[32:48], int.from_bytes(value[48:], "big") & SEQ_MASK


def instead(message: Message, node: bytes, incarnation: bytes, seq: int) -> Message:
    """A message that shall stand for the one in this entry, with its place, flags and UID, once that is purged."""
    return replace(message, envelope={**message.envelope, INSTEAD: node + incarnation + seq.to_bytes(8, "big")})


def _copy(message: Message, body: bytes) -> Copy | None:
    """What the index keeps of a sender's own copy; None when it is none."""
    id, login = message.envelope.get("submission"), message.envelope.get("login")
    if type(id) is not bytes or len(id) != outgoing.ID:
        return None
    digest = None
    if type(login) is str:
        begun = hashlib.sha256(about(login, message.sender, message.recipients))
        begun.update(memoryview(body)[trace_of(message, len(body)) :])
        digest = begun.digest()
    time = content.milliseconds(message.time) // 1000
    return Copy(id, digest, time, message.network, message.sender, message.recipients)


def sent_link(message_id: str) -> bytes:
    """What all forms of a message that its own person filed in Sent have in common."""
    return hashlib.sha256(b"sent\x00" + message_id.encode("utf-8", "replace")).digest()[:16]


def _link(message: Message, body: bytes, message_id: str, sent: bool) -> tuple[bytes | None, bool]:
    """What entries of the same message have in common, and whether that is enough at any distance in time. Of what its
    own person files in Sent the Message-ID is enough: programs file another form of what they submit."""
    if message.kind == "mail":
        if not message_id:
            return None, False
        if sent:
            return sent_link(message_id), False
        trace = message.envelope.get("trace", 0)
        below = hashlib.sha256(memoryview(body)[trace if type(trace) is int and 0 < trace <= len(body) else 0 :])
        return hashlib.sha256(b"mail\x00" + message_id.encode("utf-8", "replace") + below.digest()).digest()[:16], False
    if not message.network_id:
        return None, False
    same = json.dumps([message.kind, message.network, message.conversation, message.network_id])
    return hashlib.sha256(same.encode()).digest()[:16], True


def _thread(summary: mime.Summary, email: bytes) -> bytes:
    """The message that a conversation began with names it, here and on every node."""
    first = summary.references[0] if summary.references else summary.message_id
    return digest(labels.THREAD, first.encode("utf-8", "replace") if first else email)[:16]


def _flags(flags: frozenset[str]) -> frozenset[str]:
    """A message's first flags: of what IMAP could show, the first few."""
    return frozenset(sorted(filter(names.is_flag, flags))[:_FLAGS])
