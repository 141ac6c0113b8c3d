"""The SMTP client without a socket (RFC 5321): replies in, commands and events out, and a fate for every recipient.

Feed it what the server said, call `next` for events until it gives None, and send what `output` gives after each call.
MAIL and RCPT are pipelined (RFC 2920); DATA is not, so that no message is begun that has no recipients.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple, TypeAlias

from mesyx_smtp.egress import auth, parameters
from mesyx_smtp.egress.address import Address
from mesyx_smtp.egress.reply import REASON, TOTAL, Replies, Reply, ReplyError, clean

BATCH: Final = 100
"""Recipients of one transaction: as many as every server must take (RFC 5321, section 4.5.3.1.8)."""
WINDOW: Final = 4096
"""Bytes of commands that are on their way at once: less than any network's buffers, so that both ends can always go
on."""

Phase: TypeAlias = Literal["greeting", "command", "data", "end"]


class Fate(NamedTuple):
    """What a server did with one recipient."""

    word: Literal["sent", "never", "soft", "unfit", "unsure"]
    """`never`: refused for good. `soft`: not now, and another server may be asked. `unfit`: this server cannot, another
    may be able to. `unsure`: it may have been delivered; asking another server could do it twice."""
    reason: str
    relayed: bool = False
    """`sent`, and the server does not promise the notice of its delivery that was asked for (RFC 3461, 5.2.2)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """How to deal with one server."""

    hello: str
    """Our name, or address literal."""
    tls: Literal["may", "must", "off", "on"] = "may"
    """`off`: not even if offered. `on`: it is on already."""
    login: auth.Login | None = None
    ourselves: frozenset[str] = frozenset()
    """Names, in lower case, by which we would greet ourselves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mail:
    """One message for one server. Addresses have been parsed."""

    sender: Address | None
    """None: the null reverse path."""
    recipients: Mapping[str, Address]
    """By their own spelling."""
    size: int = 0
    eight_bit: bool = False
    utf8_header: bool = False
    require_tls: bool = False
    ret: str = ""
    envid: str = ""
    notify: Mapping[str, str] = field(default_factory=dict)
    """NOTIFY by recipient (RFC 3461), and ORCPT."""
    orcpt: Mapping[str, str] = field(default_factory=dict)


class StartTls(NamedTuple):
    """Begin TLS now, then call `secured`."""


class Content(NamedTuple):
    """Send the content, dots doubled, then call `ending`, and send what ends it."""


class Close(NamedTuple):
    """Send the output, then close; every recipient has a fate."""


Event: TypeAlias = StartTls | Content | Close
_Work: TypeAlias = Generator[Event | None, None, None]


class _Over(Exception):
    """The session cannot go on; the fate of all that have none."""

    def __init__(self, word: Literal["never", "soft", "unfit"], reason: str) -> None:
        self.fate = Fate(word, reason)


class Client:
    """One connection, one message."""

    def __init__(self, terms: Terms, mail: Mail) -> None:
        self.fates: dict[str, Fate] = {}
        """By recipient; all of them once Close was given."""
        self.phase: Phase = "greeting"
        """What is waited for, which says how long."""
        self.heard = 0
        """Replies so far: with each one, waiting begins anew."""
        self.secure = terms.tls == "on"
        self.tls_refused = False
        """The server offers STARTTLS, and then will not begin."""
        self.login_refused = False
        """The server would not let us log in."""
        self._terms = terms
        self._mail = mail
        self._replies = Replies(TOTAL + 4096 * len(mail.recipients))
        self._output = bytearray()
        self._offered: dict[str, str] = {}
        self._at_stake: list[str] = []  # recipients of the content that is under way
        self._unsure = False  # the end of the content may have reached the server
        self._script = self._run()
        self._closed = False

    # --- the driver's side --------------------------------------------------------------------------------------------

    def feed(self, data: bytes) -> None:
        """Bytes from the server."""
        if not self._closed:
            try:
                self._replies.feed(data)
            except ReplyError as error:
                self.lost(f"4.5.0 {error.what}")

    def output(self) -> bytes:
        """Commands to send; forgotten here once taken."""
        data = bytes(self._output)
        self._output.clear()
        return data

    def next(self) -> Event | None:
        """Work until the driver must do something; None: needs more input."""
        if self._closed:
            return Close()
        return next(self._script)

    def secured(self) -> None:
        """TLS is on."""
        self.secure = True

    def ending(self, terminator: bytes) -> None:
        """All the content is sent; `terminator`, which ends it, is put out. From here on it may be delivered."""
        self._unsure = True
        self._output += terminator

    def lost(self, reason: str) -> None:
        """The connection is of no more use. Everybody without a fate gets one."""
        self._closed = True
        if self._unsure:
            told = clean(reason, REASON - 40) + " (may have been delivered)"
            self._settle(self._at_stake, Fate("unsure", told))
        self._settle(self._mail.recipients, Fate("soft", clean(reason)))

    # --- the session --------------------------------------------------------------------------------------------------

    def _run(self) -> Generator[Event | None, None, None]:
        try:
            yield from self._begin()
            yield from self._transactions()
        except _Over as over:
            self._settle(self._at_stake, over.fate)
            self._settle(self._mail.recipients, over.fate)
        except ReplyError as error:
            self.lost(f"4.5.0 {error.what}")
        if not self._closed:
            self._output += b"QUIT\r\n"
        self._closed = True
        yield Close()

    def _begin(self) -> _Work:
        greeting = yield from self._reply("greeting")
        if greeting.kind != 2:
            raise _Over("unfit" if greeting.kind == 5 else "soft", greeting.reason("the greeting"))
        yield from self._hello()
        if self._terms.tls in ("may", "must") and "STARTTLS" in self._offered:
            yield from self._start_tls()
        if not self.secure and (self._terms.tls == "must" or self._terms.login):
            raise _Over("unfit", "5.7.10 encryption needed, and the server does not offer STARTTLS")
        if self._terms.login:
            yield from self._authenticate(self._terms.login)

    def _hello(self) -> _Work:
        reply = yield from self._ask(f"EHLO {self._terms.hello}")
        if reply.kind == 5 and not self.secure:
            reply = yield from self._ask(f"HELO {self._terms.hello}")
            reply = Reply(reply.code, reply.lines[:1])
        if reply.kind != 2:
            raise _Over("unfit" if reply.kind == 5 else "soft", reply.reason("EHLO"))
        name = reply.lines[0].partition(" ")[0].lower()
        if name in self._terms.ourselves:
            raise _Over("never", "5.4.6 mail loop: the server for this address is this node itself")
        words = (line.partition(" ") for line in reply.lines[1:])
        self._offered = {word.upper(): rest.strip() for word, _, rest in words}

    def _start_tls(self) -> _Work:
        reply = yield from self._ask("STARTTLS")
        if reply.code != 220:
            self.tls_refused = True
            raise _Over("unfit" if reply.kind == 5 and self._terms.tls == "must" else "soft", reply.reason("STARTTLS"))
        if self._replies.buffered:
            raise _Over("soft", "4.7.0 the server, or somebody on the way, spoke between STARTTLS and TLS")
        yield StartTls()
        if not self.secure or self._replies.buffered:
            raise _Over("soft", "4.7.0 TLS did not begin")
        yield from self._hello()

    def _authenticate(self, login: auth.Login) -> _Work:
        try:
            mechanism = auth.choose(login, self._offered.get("AUTH", "").upper().split())
            first = mechanism.first()
            initial = "" if first is None else f" {auth.encode(first)}"
            reply = yield from self._ask(f"AUTH {mechanism.name}{initial}")
            while reply.code == 334:
                reply = yield from self._ask(auth.encode(mechanism.respond(auth.decode(reply.lines[0]))))
            if reply.kind == 2 and not mechanism.proved:
                raise auth.AuthError("the server has not shown that it knows the password")
        except auth.AuthError as error:
            self.login_refused = True
            raise _Over("soft", f"4.7.0 cannot log in: {error.what}") from None
        if reply.kind != 2:
            self.login_refused = True
            raise _Over("soft", f"4.7.8 cannot log in: {reply.reason('AUTH')}")

    # --- messages -----------------------------------------------------------------------------------------------------

    def _transactions(self) -> _Work:
        left = self._fit()
        while left:
            batch, rest = left[:BATCH], left[BATCH:]
            crowded = yield from self._transaction(batch)
            left = crowded + rest
            if left:
                yield from self._ask("RSET")

    def _fit(self) -> list[str]:
        """Recipients that this server can be asked for; the others get their fate."""
        mail, everybody = self._mail, list(self._mail.recipients)
        largest = self._offered.get("SIZE", "")
        if largest.isdecimal() and len(largest) < 20 and 0 < int(largest) < mail.size:
            raise _Over("never", f"5.3.4 the message has {mail.size} bytes, and the server takes {int(largest)}")
        if mail.eight_bit and "8BITMIME" not in self._offered:
            raise _Over("unfit", "5.6.3 the message has 8-bit text, and the server takes 7-bit text only")
        if mail.require_tls and "REQUIRETLS" not in self._offered:  # RFC 8689, section 4.2.1
            raise _Over("unfit", "5.7.30 the message requires TLS all the way, which the server does not promise")
        if "SMTPUTF8" in self._offered:
            return everybody
        if mail.utf8_header or not _plain(mail.sender):
            raise _Over("unfit", "5.6.7 the message needs SMTPUTF8, and the server does not offer it")
        needing = [each for each in everybody if not _plain(mail.recipients[each])]
        self._settle(needing, Fate("unfit", "5.6.7 the address needs SMTPUTF8, and the server does not offer it"))
        return [each for each in everybody if each not in self.fates]

    def _transaction(self, batch: Sequence[str]) -> Generator[Event | None, None, list[str]]:
        """Gives those whom the server wants in another transaction."""
        replies = yield from self._envelope(batch)
        if replies[0].kind != 2:
            raise _Over("never" if replies[0].kind == 5 else "soft", replies[0].reason("MAIL"))
        crowded: list[str] = []
        self._at_stake = []
        for each, reply in zip(batch, replies[1:], strict=True):
            if reply.kind == 2:
                self._at_stake.append(each)
            elif self._at_stake and _too_many(reply):
                crowded.append(each)
            else:
                self.fates[each] = Fate("never" if reply.kind == 5 else "soft", reply.reason("RCPT"))
        if self._at_stake:
            yield from self._data()
        return crowded

    def _envelope(self, batch: Sequence[str]) -> Generator[Event | None, None, list[Reply]]:
        """Replies to MAIL and each RCPT; to MAIL alone when that was refused."""
        mail = self._mail
        utf8 = mail.utf8_header or not _plain(mail.sender) or not all(_plain(mail.recipients[each]) for each in batch)
        commands = [parameters.mail(mail, self._offered, utf8=utf8, secure=self.secure)]
        commands += [parameters.rcpt(mail, each, self._offered, utf8=utf8) for each in batch]
        replies: list[Reply] = []
        for window in _windows(commands, WINDOW if "PIPELINING" in self._offered else 0):
            self._say("".join(window))
            for _ in window:
                replies.append((yield from self._reply("command")))
            if replies[0].kind != 2:
                return replies[:1]
        return replies

    def _data(self) -> _Work:
        self._say("DATA\r\n")
        reply = yield from self._reply("data")
        if reply.code == 354:
            yield Content()
            reply = yield from self._reply("end")
            place, done = "the end of the message", reply.kind == 2 and self._unsure
        else:
            place, done = "DATA", False
        if done:
            for each in self._at_stake:
                self.fates.setdefault(each, Fate("sent", reply.reason(), self._owed(each)))
        else:
            self._settle(self._at_stake, Fate("never" if reply.kind == 5 else "soft", reply.reason(place)))
        self._at_stake = []
        self._unsure = False

    def _owed(self, recipient: str) -> bool:
        notify = self._mail.notify.get(recipient, "").upper()
        return "DSN" not in self._offered and "SUCCESS" in notify.split(",")

    # --- words --------------------------------------------------------------------------------------------------------

    def _say(self, commands: str) -> None:
        if self._replies.buffered:  # what is said before it was asked for is the answer to nothing
            early = self._replies.next()
            closing = early is not None and early.code == 421
            raise _Over("soft", early.reason() if early and closing else "4.5.0 the server speaks out of turn")
        self._output += commands.encode()

    def _ask(self, command: str) -> Generator[Event | None, None, Reply]:
        self._say(f"{command}\r\n")
        return (yield from self._reply("command"))

    def _reply(self, phase: Phase) -> Generator[Event | None, None, Reply]:
        self.phase = phase
        while (reply := self._replies.next()) is None:
            yield None
        self.heard += 1
        if reply.code == 421:  # it closes now, whatever it was asked (RFC 5321, section 3.8)
            raise _Over("soft", reply.reason())
        return reply

    def _settle(self, recipients: Sequence[str] | Mapping[str, Address], fate: Fate) -> None:
        for each in recipients:
            self.fates.setdefault(each, fate)


def _plain(address: Address | None) -> bool:
    """Whether it can be said without SMTPUTF8; a domain always can, in A-labels."""
    return address is None or address.local.isascii()


def _too_many(reply: Reply) -> bool:
    """ "Too many recipients", which is about the transaction and not about this one (RFC 5321, section 4.5.3.1.10)."""
    return reply.code in (452, 552) and reply.status[1:] in ("", ".5.3")


def _windows(commands: Sequence[str], size: int) -> Iterator[list[str]]:
    window: list[str] = []
    used = 0
    for command in commands:
        if window and used + len(command) > size:
            yield window
            window, used = [], 0
        window.append(command)
        used += len(command)
    yield window
