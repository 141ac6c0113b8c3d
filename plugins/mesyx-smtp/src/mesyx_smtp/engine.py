"""The SMTP server without a socket (RFC 5321): bytes in, replies and events out.

Feed it what the peer sent, call `next` for events until it gives None, and send what `output` gives after each call.
Events with an answer hold everything back until it comes, so replies leave in the order of the commands (RFC 2920).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from mesyx_core.api import Receipt, Verdict
from mesyx_smtp import arguments, chunks, replies
from mesyx_smtp.chunks import Chunks
from mesyx_smtp.conversation import Conversation, State
from mesyx_smtp.data import Scanner
from mesyx_smtp.events import Aborted, Content, Event, Recipient, StartTls
from mesyx_smtp.limits import Limits
from mesyx_smtp.transaction import Transaction

_NOT_OFFERED = frozenset({b"AUTH", b"ETRN", b"EXPN", b"SAML", b"SEND", b"SOML", b"TURN"})

_NOT_SMTP = frozenset({b"CONNECT", b"DELETE", b"GET", b"HEAD", b"OPTIONS", b"PATCH", b"POST", b"PUT"})
"""A browser that was talked into speaking to port 25."""


def always() -> bool:
    """No limit."""
    return True


class Engine(Conversation):
    """One connection. `tls`: STARTTLS is offered. `admit`: whether one more message may begin now."""

    DSN: ClassVar[bool] = False
    """RFC 3461's parameters are offered."""
    AUTH: ClassVar[bool] = False
    """RFC 4954's are."""
    KEPT: ClassVar[str] = "sealed"
    """What has happened to a message that was kept."""

    def __init__(self, hostname: str, limits: Limits, *, tls: bool = False, admit: Callable[[], bool] = always) -> None:
        super().__init__(limits)
        self.hello = ""
        """The peer's name for itself."""
        self.extended = False
        """It said EHLO, not HELO."""
        self.secure = False
        self.transaction: Transaction | None = None
        self._hostname = hostname
        self._tls = tls
        self._admit = admit
        self._scanner = _NO_CONTENT
        self._chunks = _NO_CHUNKS
        self._refusal: bytes | None = None  # the node's own, told when the content has ended

    # --- the driver's side --------------------------------------------------------------------------------------------

    @property
    def in_content(self) -> bool:
        """Between DATA's 354 and the end of the message, or inside a chunk."""
        return self._state is State.CONTENT or self._state is State.CHUNK

    @property
    def in_message(self) -> bool:
        """The same, and between the chunks of a message."""
        return self.in_content or (self.transaction is not None and self.transaction.chunked)

    def greet(self) -> None:
        """Say 220."""
        self._output += f"220 {self._hostname} ESMTP Mesyx\r\n".encode()

    def recipient(self, verdict: Verdict) -> None:
        """Answer a Recipient event."""
        assert self._state is State.RECIPIENT
        assert self.transaction is not None
        self._state = State.COMMAND
        if verdict.word == "reject":
            self._error(replies.recipient(verdict))
        else:
            self.transaction.recipients.append(self.transaction.asked)
            self._output += replies.RECIPIENT_OK

    def kept(self, receipt: Receipt) -> None:
        """Answer the last Content event: durable, or refused by filters."""
        assert self._state is State.COMMIT
        self._finish()
        reply = replies.receipt(receipt, self.KEPT)
        if reply.startswith(b"2"):
            self._errors = self._idle = 0
            self._output += reply
        else:
            self._error(reply)

    def fail(self, reply: bytes) -> None:
        """Answer a Recipient event, or refuse the message and swallow the rest of it. The peer is not blamed."""
        if self.in_content:
            self._refusal = reply
            self._drop()
        elif self._state is State.COMMIT:
            self._finish()
            self._output += reply
        elif self._state is State.RECIPIENT:
            self._state = State.COMMAND
            self._output += reply

    def secured(self) -> None:
        """TLS is on: what was said before counts for nothing (RFC 3207, section 4.2)."""
        self._state = State.COMMAND
        self.secure = True
        self.hello = ""
        self.extended = False

    # --- commands -----------------------------------------------------------------------------------------------------

    def _obey(self, line: bytes) -> Event | None:
        verb, _, argument = line.partition(b" ")
        verb = verb.upper()
        command = self._COMMANDS.get(verb)
        if command is not None:
            return command(self, argument.strip(b" "))
        if verb in _NOT_SMTP:
            self._close(replies.NOT_SMTP)
        elif verb in _NOT_OFFERED:
            self._error(replies.NOT_OFFERED)
        else:
            self._error(replies.UNKNOWN if verb.isalpha() and line.isascii() else replies.NOT_TEXT)
        return None

    def _ehlo(self, argument: bytes) -> Event | None:
        lines = [self._hostname, *self._extensions()]
        if self._tls and not self.secure:
            lines.append("STARTTLS")
        text = "".join(f"250-{line}\r\n" for line in lines) + "250 HELP\r\n"
        return self._greeted(argument, text, extended=True)

    def _extensions(self) -> list[str]:
        """What EHLO offers, besides STARTTLS."""
        size = f"SIZE {self._limits.size}"
        return ["PIPELINING", size, "8BITMIME", "SMTPUTF8", "CHUNKING", "ENHANCEDSTATUSCODES"]

    def _helo(self, argument: bytes) -> Event | None:
        return self._greeted(argument, f"250 {self._hostname}\r\n", extended=False)

    def _greeted(self, argument: bytes, reply: str, *, extended: bool) -> Event | None:
        if not argument:
            return self._error(replies.ARGUMENT_NEEDED)
        self.hello = argument.decode("ascii", "replace")
        self.extended = extended
        self._idled(reply.encode())
        return self._drop()

    def _mail(self, argument: bytes) -> Event | None:
        if not self.hello:
            return self._error(replies.HELLO_FIRST)
        if self.transaction is not None:
            return self._error(replies.MAIL_TWICE)
        secure = self.AUTH and self.secure  # only submission promises REQUIRETLS, and only where TLS is on
        given = arguments.sender(argument, self._limits.size, dsn=self.DSN, login=self.AUTH, require_tls=secure)
        if isinstance(given, bytes):
            return self._error(given)
        refusal = self._refused(given.address)
        if refusal is not None:
            return self._error(refusal)
        if not self._admit():
            self._output += replies.TOO_FAST
            return None
        self.transaction = Transaction(given.address, given.eight_bit, given.utf8, dict(given.envelope))
        self._output += replies.SENDER_OK
        return None

    def _refused(self, sender: str) -> bytes | None:
        """Why mail of this sender is not taken; an MX takes everybody's."""
        return None

    def _rcpt(self, argument: bytes) -> Event | None:
        if self.transaction is None:
            return self._error(replies.MAIL_FIRST)
        if self.transaction.chunked:
            return self._error(replies.IN_CHUNKS)
        given = arguments.recipient(argument, utf8=self.transaction.utf8, dsn=self.DSN)
        if isinstance(given, bytes):
            return self._error(given)
        address = given.address
        if address in self.transaction.recipients:
            self._output += replies.RECIPIENT_OK
            return None
        if len(self.transaction.recipients) >= self._limits.recipients:
            self._output += replies.TOO_MANY_RECIPIENTS
            return None
        self.transaction.envelope.update(given.envelope)
        self.transaction.asked = address
        self.transaction.begun = True
        self._state = State.RECIPIENT
        return Recipient(address)

    def _data(self, argument: bytes) -> Event | None:
        if argument:
            return self._error(replies.NO_ARGUMENT)
        if self.transaction is None:
            return self._error(replies.MAIL_FIRST)
        if not self.transaction.recipients:
            return self._error(replies.NO_RECIPIENTS if self.transaction.asked else replies.RECIPIENT_FIRST)
        if self.transaction.chunked:
            return self._error(replies.IN_CHUNKS)
        if self._lines.size:  # to go on would be to take a message for commands, or commands for a message
            return self._close(replies.TALKED_TOO_SOON)
        self._scanner = Scanner(self._limits.size, self._limits.received)
        self._state = State.CONTENT
        self._refusal = None
        self._output += replies.GO_AHEAD
        return None

    def _bdat(self, argument: bytes) -> Event | None:
        chunk = chunks.parse(argument)
        if chunk is None:
            return self._close(replies.BAD_CHUNK)
        fault: bytes | None = None
        if self.transaction is None:
            fault = replies.MAIL_FIRST
        elif not self.transaction.recipients:
            fault = replies.NO_RECIPIENTS if self.transaction.asked else replies.RECIPIENT_FIRST
        elif not self.transaction.chunked:
            self.transaction.chunked = True
            self._refusal = None
            self._chunks = Chunks(self._limits.size, self._limits.received)
        if fault is not None:  # its bytes come all the same, and are no commands
            self._refusal = None
            self._chunks = Chunks(self._limits.size, self._limits.received, fault)
        self._chunks.begin(chunk)
        if self._chunks.size + chunk.size > 2 * self._limits.size:
            self._close(replies.TOO_MUCH)
            return self._aborted()
        self._state = State.CHUNK
        return None

    def _rset(self, argument: bytes) -> Event | None:
        if argument:
            return self._error(replies.NO_ARGUMENT)
        self._idled(replies.OK)
        return self._drop()

    def _noop(self, argument: bytes) -> Event | None:
        return self._idled(replies.OK)

    def _help(self, argument: bytes) -> Event | None:
        return self._idled(replies.HELP)

    def _vrfy(self, argument: bytes) -> Event | None:
        return self._idled(replies.WILL_TRY) if argument else self._error(replies.ARGUMENT_NEEDED)

    def _quit(self, argument: bytes) -> Event | None:
        if argument:
            return self._error(replies.NO_ARGUMENT)
        return self._close(f"221 2.0.0 {self._hostname} closing\r\n".encode())

    def _starttls(self, argument: bytes) -> Event | None:
        if not self._tls:
            return self._error(replies.NOT_OFFERED)
        if argument:
            return self._error(replies.NO_ARGUMENT)
        if self.secure:
            return self._error(replies.TLS_ALREADY)
        if self.transaction is not None:
            return self._error(replies.TLS_IN_MAIL)
        if self._lines.size:
            return self._close(replies.PLAIN_BEFORE_TLS)
        self._state = State.TLS
        return StartTls()

    _COMMANDS: ClassVar[Mapping[bytes, Callable[[Any, bytes], Event | None]]] = {
        b"EHLO": _ehlo,
        b"HELO": _helo,
        b"MAIL": _mail,
        b"RCPT": _rcpt,
        b"DATA": _data,
        b"BDAT": _bdat,
        b"RSET": _rset,
        b"NOOP": _noop,
        b"HELP": _help,
        b"VRFY": _vrfy,
        b"QUIT": _quit,
        b"STARTTLS": _starttls,
    }

    # --- content ------------------------------------------------------------------------------------------------------

    def _scan(self) -> Event | None:
        content = self._scanner.feed(self._lines.raw(self._lines.size))
        refusal = self._refusal or self._scanner.fault
        if self._scanner.ended:
            self._lines.feed(self._scanner.rest)
            self._state = State.COMMIT
            return Content(content, True) if refusal is None else self._refuse(refusal)
        if refusal is None:
            return Content(content, False) if content else None
        if self._scanner.size > 2 * self._limits.size:
            self._close(replies.TOO_MUCH)
        return self._aborted()

    def _chunk(self) -> Event | None:
        chunk = self._chunks
        content = chunk.feed(self._lines.raw(chunk.left))
        refusal = self._refusal or chunk.fault
        if refusal is not None:
            return self._aborted() if chunk.left else self._refuse(refusal)
        if chunk.ended:
            self._state = State.COMMIT
            return Content(content, True)
        if content:  # the chunk is answered only when the driver has dealt with this
            return Content(content, False)
        if not chunk.left:
            self._state = State.COMMAND
            self._output += replies.CHUNK_OK
        return None

    @property
    def _hungry(self) -> bool:
        return self._chunks.left > 0

    def _refuse(self, reply: bytes) -> Event | None:
        aborted = self._aborted()
        self._finish()
        if reply is self._refusal:
            self._output += reply
        else:
            self._error(reply)
        return aborted

    def _finish(self) -> None:
        self._state = State.COMMAND
        self._scanner = _NO_CONTENT
        self._chunks = _NO_CHUNKS
        self.transaction = None

    # --- state --------------------------------------------------------------------------------------------------------

    def _drop(self) -> Event | None:
        """Forget the transaction; Aborted if somebody holds its delivery."""
        aborted = self._aborted()
        self.transaction = None
        return aborted

    def _aborted(self) -> Event | None:
        begun = self.transaction is not None and self.transaction.begun
        if self.transaction is not None:
            self.transaction.begun = False
        return Aborted() if begun else None


_NO_CONTENT = Scanner(0, 0)
_NO_CHUNKS = Chunks(0, 0)
