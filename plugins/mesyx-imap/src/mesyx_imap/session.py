"""One connection's session: its state, and how a command becomes replies (RFC 3501, sections 3 and 5)."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from enum import Enum
from typing import NamedTuple, TypeAlias

from mesyx_core.api import Context, Locked, MesyxError, Temporary, View
from mesyx_core.wire.limits import Failures
from mesyx_imap.capability import capabilities
from mesyx_imap.errors import Bad, Failure, No
from mesyx_imap.limits import Limits
from mesyx_imap.output import Closed, Output, Wire
from mesyx_imap.parser import Cursor
from mesyx_imap.reader import Command, Event, Fault, Go
from mesyx_imap.recent import Marks
from mesyx_imap.selected import Selected

_log = logging.getLogger(__name__)


class When(Enum):
    """In which state a command may come."""

    ALWAYS = 0
    STRANGER = 1
    PERSON = 2
    SELECTED = 3


Run: TypeAlias = Callable[["Session", Cursor], Awaitable[bytes]]
"""Reads its arguments, writes untagged responses, and returns the text of its OK."""


class Entry(NamedTuple):
    """A command."""

    run: Run
    when: When = When.ALWAYS
    expunge: bool = True
    """EXPUNGE may come before its tagged reply (RFC 3501, section 7.4.1)."""


class Session:
    """Takes events in order; each is answered before `handle` returns."""

    def __init__(
        self,
        context: Context,
        wire: Wire,
        commands: Mapping[bytes, Entry],
        marks: Callable[[bytes], Awaitable[Marks]],
        limits: Limits,
    ) -> None:
        self.context = context
        self.wire = wire
        self.limits = limits
        self.out = Output(wire)
        self.ended = False
        """Close once all is written."""
        self.upgrade = False
        """Begin TLS once all is written."""
        self.idling = False
        self.failures = Failures(limits.failures, limits.failure_delay)
        self._commands = commands
        self._marks_of = marks
        self._bad = 0
        self._view: View | None = None
        self._marks: Marks | None = None
        self._selected: Selected | None = None

    # --- state ---

    @property
    def view(self) -> View:
        """The store of who has logged in. Raises Bad before."""
        if self._view is None:
            raise Bad(b"Log in first")
        return self._view

    @property
    def owner(self) -> bytes | None:
        """The id of the store, after log-in."""
        return self._view.owner if self._view else None

    @property
    def known(self) -> bool:
        """Somebody has logged in."""
        return self._view is not None

    @property
    def marks(self) -> Marks:
        if self._marks is None:
            raise Bad(b"Log in first")
        return self._marks

    @property
    def selected(self) -> Selected:
        """The selected mailbox. Raises Bad when there is none."""
        if self._selected is None:
            raise Bad(b"Select a mailbox first")
        return self._selected

    @property
    def writable(self) -> Selected:
        """The selected mailbox. Raises No when it is only examined."""
        if self.selected.read_only:
            raise No(b"[NOPERM] Mailbox is open read-only")
        return self.selected

    @property
    def current(self) -> Selected | None:
        return self._selected

    def select(self, selected: Selected | None) -> None:
        self._selected = selected

    async def admit(self, view: View) -> None:
        """Log in."""
        self._marks = await self._marks_of(view.owner)
        self._view = view
        self.wire.admitted()

    # --- events ---

    async def greet(self) -> None:
        """What the server says first."""
        self.out.write(b"* OK [CAPABILITY %b] Mesyx\r\n" % capabilities(self.wire, known=False))
        await self.out.flush()

    async def handle(self, event: Event) -> None:
        """Answer one event. Raises Closed."""
        if isinstance(event, Go):
            self.out.write(b"+ OK\r\n")
        elif isinstance(event, Fault):
            self._refuse(event)
        else:
            await self._answer(event)
        await self.out.flush()

    def _refuse(self, fault: Fault) -> None:
        self.out.write(b"%b %b\r\n" % (fault.tag, fault.text))
        if fault.fatal:
            self.bye(b"Too much for this server")
        elif fault.text.startswith(b"BAD"):
            self._count_bad()

    def _count_bad(self) -> None:
        self._bad += 1
        if self._bad >= self.limits.bad:
            self.bye(b"Too many commands that are not IMAP")

    def bye(self, text: bytes) -> None:
        """Say why the connection ends."""
        self.out.write(b"* BYE %b\r\n" % text)
        self.ended = True

    async def _answer(self, command: Command) -> None:
        entry = self._commands.get(command.name)
        try:
            if entry is None:
                raise Bad(b"Unknown command")
            self._permit(entry.when)
            text = b"OK " + await entry.run(self, Cursor(command.texts, command.literals))
            self._bad = 0
        except Failure as failure:
            text = failure.word + b" " + failure.text
        except MesyxError as error:
            text = b"NO " + _reason(error)
        except Closed:
            raise
        except Exception as error:
            # By type and place only: values may hold a person's mail.
            _log.error("%s failed with %s", command.name.decode("ascii"), type(error).__name__)
            text = b"NO [SERVERBUG] Internal error"
        if self._selected and not self.ended:
            self._tell(entry is None or entry.expunge)
        self.out.write(b"%b %b\r\n" % (command.tag, text))
        if text.startswith(b"BAD"):
            self._count_bad()

    def _permit(self, when: When) -> None:
        if when is When.STRANGER and self._view is not None:
            raise Bad(b"Already logged in")
        if when in (When.PERSON, When.SELECTED) and self._view is None:
            raise Bad(b"Log in first")
        if when is When.SELECTED and self._selected is None:
            raise Bad(b"Select a mailbox first")

    def _tell(self, expunge: bool) -> None:
        for response in self.selected.tell(expunge):
            self.out.write(response)

    # --- what others change ---

    async def watch(self) -> None:
        """Hear of changes to the selected mailbox until cancelled; while idling, tell of them at once."""
        selected = self.selected
        async for batch in self.view.changes(selected.modseq):
            for changed in batch:
                selected.notice(changed)
            self.speak()

    async def catch_up(self) -> None:
        """Hear now of all that has changed in the selected mailbox, so that this command's reply tells it."""
        if self._selected is None:
            return
        now = await self.view.mailboxes([self._selected.mailbox.name])
        if not now or now[0].id != self._selected.id or now[0].modseq <= self._selected.modseq:
            return
        changes = self.view.changes(self._selected.modseq)
        for changed in await anext(changes, ()):
            self._selected.notice(changed)
        if isinstance(changes, AsyncGenerator):
            await changes.aclose()

    def speak(self) -> None:
        """While idling, tell what waits; a client that does not read is told later."""
        if self.idling and not self.wire.congested:
            self._tell(expunge=True)
            self.out.push()


def _reason(error: MesyxError) -> bytes:
    code = b"[UNAVAILABLE] " if isinstance(error, Locked | Temporary) else b"[CANNOT] "
    text = str(error).encode("ascii", "replace").translate(None, bytes(range(32)) + b"[]\x7f")
    return code + (text[:200] or b"Refused")
