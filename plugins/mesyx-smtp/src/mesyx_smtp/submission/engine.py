"""What submission speaks beyond what an MX does: AUTH (RFC 4954), and who may send as whom (RFC 6409, section 6.1)."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Callable, Collection, Mapping
from typing import Any, ClassVar

from mesyx_core.api import Refused
from mesyx_core.wire.addresses import normal
from mesyx_core.wire.mechanisms import Attempt, Mechanism, mechanism
from mesyx_core.wire.sasl import LIMIT, SaslError
from mesyx_core.wire.tls import private
from mesyx_smtp import replies
from mesyx_smtp.conversation import State
from mesyx_smtp.engine import Engine
from mesyx_smtp.events import Event, Login
from mesyx_smtp.limits import LINE, Limits

MECHANISMS = ("SCRAM-SHA-256", "PLAIN", "LOGIN")

LONG_LINE = 12288
"""Longest line of an AUTH exchange (RFC 4954, section 4)."""


class SubmissionEngine(Engine):
    """Nothing is taken from who has not logged in, and nobody logs in where others could listen."""

    DSN = True
    AUTH = True
    KEPT = "queued"

    def __init__(
        self,
        hostname: str,
        limits: Limits,
        *,
        tls: bool,
        local: bool,
        random: Callable[[int], bytes],
        salt: Callable[[str], bytes],
        admit: Callable[[], bool],
    ) -> None:
        """`local`: the peer is on this machine. `random`, `salt`: as in `Context`."""
        super().__init__(hostname, limits, tls=tls, admit=admit)
        self.known = False
        """Somebody has logged in."""
        self._local = local
        self._random = random
        self._salt = salt
        self._identities: Collection[str] = ()
        self._talk: Mechanism | None = None
        self._proved = False
        self._lines.limit = LONG_LINE

    # --- the driver's side --------------------------------------------------------------------------------------------

    def admitted(self, identities: Collection[str]) -> None:
        """Answer a Login event: it is who it says, and may send as these (`View.identities`)."""
        assert self._talk is not None
        self._state = State.COMMAND
        self._identities = identities
        last = self._talk.success()
        if last is None:
            self._welcome()
        else:
            self._proved = True
            self._challenge(last)

    def denied(self, reply: bytes, *, close: bool = False) -> None:
        """Answer a Login event."""
        self._state = State.COMMAND
        self._talk = None
        if close:
            self._close(reply)
        else:
            self._error(reply)

    def secured(self) -> None:
        super().secured()
        self.known = False
        self._identities = ()

    # --- commands -----------------------------------------------------------------------------------------------------

    def _extensions(self) -> list[str]:
        offered = [*super()._extensions(), "DSN"]
        if self.secure:
            offered.append("REQUIRETLS")
        return [*offered, f"AUTH {' '.join(MECHANISMS)}"] if self._private else offered

    @property
    def _private(self) -> bool:
        return private(local=self._local, secure=self.secure)

    def _obey(self, line: bytes) -> Event | None:
        if self._talk is not None:
            return self._respond(self._talk, line)
        if len(line) > LINE and line[:5].upper() != b"AUTH ":
            return self._error(replies.LINE_TOO_LONG)
        return super()._obey(line)

    def _misread(self, reply: bytes) -> Event | None:
        return self._give_up(reply)

    def _mail(self, argument: bytes) -> Event | None:
        if not self.known:
            return self._error(replies.LOGIN_FIRST if self._private else replies.TLS_FIRST)
        return super()._mail(argument)

    def _refused(self, sender: str) -> bytes | None:
        """Why nobody here sends as this; a null reverse path is nobody's."""
        try:
            if not sender or normal(sender) in self._identities:
                return None
        except Refused:
            pass
        return replies.foreign(self._identities)

    def _auth(self, argument: bytes) -> Event | None:
        name, _, initial = argument.partition(b" ")
        if not self.extended:
            return self._error(replies.HELLO_FIRST)
        if self.known:
            return self._error(replies.LOGIN_TWICE)
        if self.transaction is not None:
            return self._error(replies.LOGIN_IN_MAIL)
        if not name:
            return self._error(replies.ARGUMENT_NEEDED)
        if not self._private:
            return self._error(replies.LOGIN_IN_CLEAR)
        talk = mechanism(name.decode("ascii", "replace"), self._random, self._salt)
        if talk is None:
            return self._error(replies.NO_MECHANISM)
        self._talk = talk
        if initial:
            return self._respond(talk, initial)
        return self._challenge(talk.opening)

    def _challenge(self, challenge: bytes) -> Event | None:
        self._output += b"334 %b\r\n" % b64encode(challenge)
        return None

    def _respond(self, talk: Mechanism, line: bytes) -> Event | None:
        if line == b"*":
            return self._give_up(replies.CANCELLED)
        response = _decoded(line)
        if response is None:
            return self._give_up(replies.NOT_BASE64)
        if self._proved:
            return self._welcome()
        try:
            step = talk.respond(response)
        except SaslError:
            return self._give_up(replies.BAD_LOGIN)
        if not isinstance(step, Attempt):
            return self._challenge(step)
        self._state = State.LOGIN
        return Login(step)

    def _welcome(self) -> Event | None:
        self._talk = None
        self._proved = False
        self.known = True
        self._output += replies.LOGGED_IN
        return None

    def _give_up(self, reply: bytes) -> Event | None:
        self._talk = None
        self._proved = False
        return self._error(reply)

    _COMMANDS: ClassVar[Mapping[bytes, Callable[[Any, bytes], Event | None]]] = {
        **Engine._COMMANDS,
        b"MAIL": _mail,
        b"AUTH": _auth,
    }


def _decoded(line: bytes) -> bytes | None:
    if line == b"=":
        return b""
    try:
        return b64decode(line, validate=True) if len(line) <= 2 * LIMIT else None
    except ValueError:
        return None
