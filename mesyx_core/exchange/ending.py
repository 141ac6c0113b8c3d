"""How a conversation ends: the last word, its codes, and the errors that it becomes on the other side."""

from __future__ import annotations

from typing import Final, NoReturn

import anyio
from anyio.abc import ByteStream

from mesyx_core.api import MesyxError

from .errors import InvitationRefused, NotMember, PeerEnded, Violation
from .frames import MAX_REASON, End
from .session import Session

STOPPED: Final = 0
VIOLATED: Final = 1
NOT_A_MEMBER: Final = 2
NOT_INVITED: Final = 3
FAILED: Final = 4

LAST_WORD_SECONDS: Final = 2.0
GONE: Final = (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError, OSError)


class Over(Exception):
    """The peer stopped, and said so."""


async def last_word(stream: ByteStream, session: Session, failure: MesyxError | None) -> None:
    """Say why it ends, if the peer still listens; then close. Not to be cancelled, and short."""
    session.end(_code(failure), failure.what[:MAX_REASON] if failure else "")
    with anyio.CancelScope(shield=True):
        with anyio.move_on_after(LAST_WORD_SECONDS):
            try:
                if session.ended is None:
                    await stream.send(session.take())
            except GONE:
                pass
        await anyio.aclose_forcefully(stream)


def raise_end(end: End) -> NoReturn:
    """The peer's last word as what the caller should see."""
    reason = "".join(c for c in end.reason if c.isprintable())
    match end.code:
        case 0:
            raise Over
        case 2:
            raise NotMember(f"the peer refused: {reason}", "compare `mesyx store show` on both nodes")
        case 3:
            raise InvitationRefused(reason)
        case _:
            raise PeerEnded(f"the peer ended the session: {reason}")


def _code(failure: MesyxError | None) -> int:
    match failure:
        case None:
            return STOPPED
        case NotMember():
            return NOT_A_MEMBER
        case InvitationRefused():
            return NOT_INVITED
        case Violation():
            return VIOLATED
        case _:
            return FAILED
