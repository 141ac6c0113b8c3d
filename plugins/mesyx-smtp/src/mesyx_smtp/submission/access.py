"""The submission listener: sessions in which somebody logs in, and what they hand over goes to that person's view."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from email.utils import format_datetime

from mesyx_core.api import Context, Delivery, Locked, LoginFailed, MesyxError, Peer, Temporary, View
from mesyx_core.wire.limits import Budget, Failures
from mesyx_smtp import replies
from mesyx_smtp.config import SubmissionConfig
from mesyx_smtp.events import Login
from mesyx_smtp.server import Server
from mesyx_smtp.session import Session, tell
from mesyx_smtp.submission.engine import SubmissionEngine
from mesyx_smtp.submission.post import Post
from mesyx_smtp.transaction import Transaction

FAILURES = 3
"""Failed log-ins until the connection is closed."""

DELAY = 1.0
"""Seconds before the answer to the first; doubles with each."""


class Submission(Server):
    """One [access.NAME] that uses smtp."""

    def __init__(self, config: SubmissionConfig, context: Context) -> None:
        super().__init__(config, context)
        self.login_time = config.timeouts.login
        self.budget = Budget(max(int(config.memory), int(config.size)))

    def session(self, peer: Peer) -> MemberSession:
        engine = SubmissionEngine(
            self.hostname,
            self.limits,
            tls=self.tls.mode == "starttls",
            local=peer.local,
            random=self.context.random,
            salt=self.context.salt,
            admit=self.admit(peer),
        )
        return MemberSession(self, peer, engine)


class MemberSession(Session):
    """A session that submits what it is given to the view of who has logged in."""

    def __init__(self, server: Submission, peer: Peer, engine: SubmissionEngine) -> None:
        super().__init__(server, peer, engine)
        self._submission = server
        self._member = engine
        self._view: View | None = None
        self._failures = Failures(FAILURES, DELAY)
        self._deadline = self._loop.call_later(server.login_time, self._late)

    def _late(self) -> None:
        """Strangers may not stay; what they say does not prolong it."""
        if self.busy:
            self._deadline = self._loop.call_later(1, self._late)
        elif not self._member.known:
            self.expire()

    async def login(self, event: Login) -> None:
        """Let them in, or tell why not. Slow on purpose after failures."""
        name, proof = event.attempt
        context = self._submission.context
        try:
            if not name:
                raise LoginFailed("wrong name or app password")
            self._view = await context.login(name, proof)
            self._member.admitted(self._view.identities)
            self.peer.welcome()
        except LoginFailed:
            await context.sleep(self._failures.another())
            enough = self._failures.enough
            self._member.denied(replies.TOO_MANY_LOGINS if enough else replies.LOGIN_FAILED, close=enough)
        except Locked as locked:
            self._member.denied(replies.reply(454, "4.7.0", str(locked)))
        except Temporary as error:
            self._member.denied(replies.failure(error))
        except MesyxError as error:
            self._member.denied(replies.reply(535, "5.7.8", str(error)))
        except Exception as error:
            tell(error)
            self._member.denied(replies.INTERNAL)

    def begin(self, transaction: Transaction) -> AbstractAsyncContextManager[Delivery]:
        assert self._view is not None
        return Post(self._submission.context, self._view, self._submission.budget, transaction)

    def trace(self, transaction: Transaction) -> bytes:
        """That it came in here, by whom or from where is nobody's business (RFC 3848 for `with`)."""
        host = self._submission.config.hostname or "localhost"
        now = self._submission.context.now().replace(microsecond=0)
        return f"Received: by {host} with {self.protocol}A;\r\n\t{format_datetime(now)}\r\n".encode()

    def connection_lost(self, exc: Exception | None) -> None:
        self._deadline.cancel()
        super().connection_lost(exc)


@asynccontextmanager
async def open_submission(config: SubmissionConfig, context: Context) -> AsyncIterator[Submission]:
    """`Provider.open`. Raises Misconfigured when the TLS files are broken."""
    yield Submission(config, context)
