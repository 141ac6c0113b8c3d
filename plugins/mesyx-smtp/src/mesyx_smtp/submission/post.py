"""One message on its way from a person's program to the account view: completed, and kept only when that says so."""

from __future__ import annotations

from types import TracebackType

from mesyx_core.api import ACCEPT, Bytes, Context, Message, Receipt, Refused, Scalar, Temporary, Verdict, View
from mesyx_core.wire.limits import Budget
from mesyx_smtp.submission.completing import header, missing
from mesyx_smtp.transaction import Transaction

NO_DOMAIN = Verdict(word="reject", reason="5.1.3 A recipient needs a domain: LOCAL@DOMAIN")


class Post:
    """A Delivery. Its content stays in memory, within the listener's budget, until `View.submit` has sealed it: nothing
    readable touches the disk."""

    def __init__(self, context: Context, view: View, budget: Budget, transaction: Transaction) -> None:
        self._context = context
        self._view = view
        self._budget = budget
        self._transaction = transaction
        self._recipients: list[str] = []
        self._trace = b""
        self._content = bytearray()
        self._held = 0

    async def __aenter__(self) -> Post:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._budget.give(self._held)
        self._content.clear()

    async def recipient(self, address: str) -> Verdict:
        if "@" not in address:
            return NO_DOMAIN
        self._recipients.append(address)
        return ACCEPT

    async def trace(self, header: bytes) -> None:
        self._trace = header

    async def write(self, chunk: bytes) -> None:
        if not self._budget.take(len(chunk)):
            raise Temporary("Too many messages are being handed over just now")
        self._held += len(chunk)
        self._content += chunk

    async def commit(self) -> Receipt:
        """Raises Temporary or Locked when it cannot be kept now."""
        message = self._message()
        try:
            made = await self._view.submit(message)
        except Refused as refused:
            verdict = Verdict(word="reject", reason=str(refused))
            return Receipt(verdicts=dict.fromkeys(self._recipients, verdict))
        return Receipt(verdicts=dict.fromkeys(self._recipients, ACCEPT), trace=made.hex())

    def _message(self) -> Message:
        now = self._context.now()
        head = header(self._content)
        added = missing(head, self._transaction.sender, now, self._context.random)
        body = Bytes(b"".join((self._trace, added, self._content)))
        self._content.clear()  # a large message is here once, and twice only while it is joined
        return Message(
            kind="mail",
            time=now,
            direction="out",
            account=self._context.instance,
            sender=self._transaction.sender,
            recipients=tuple(self._recipients),
            envelope=self._envelope(head),
            body=body,
        )

    def _envelope(self, head: bytes) -> dict[str, Scalar]:
        given = self._transaction
        envelope: dict[str, Scalar] = {
            **given.envelope,
            "reverse_path": given.sender,
            "eight_bit": given.eight_bit,
            "trace": len(self._trace),
        }
        if head.isascii() and all(map(str.isascii, (given.sender, *self._recipients))):
            envelope.pop("smtputf8", None)  # asked for and not needed: more servers can take it without
        return envelope
