"""Hostile SMTP clients: whatever they send and however it is cut, the engine answers in whole lines and hands out clean content."""

from __future__ import annotations

from mesyx_smtp.engine import Engine
from mesyx_smtp.events import Close, Content, Event, Recipient, StartTls
from mesyx_smtp.limits import Limits

from mesyx_core.api import ACCEPT, Receipt, Verdict

MAIL = b"EHLO a\r\nMAIL FROM:<b@example.net> SIZE=9 BODY=8BITMIME\r\nRCPT TO:<a@example.org>\r\n"

SEEDS: list[bytes] = [
    b"\xff" + MAIL + b"DATA\r\n",
    b"\x07" + MAIL + b"DATA\r\nSubject: x\r\n\r\n..text\r\n.\r\nQUIT\r\n",
    b"\x01" + MAIL + b"DATA\r\na\n.\nb\r.\r\r\n.\r\nNOOP\r\n",
    b"\x05" + MAIL + b"DATA\r\n" + b"Received: x\r\n" * 110 + b"\r\n.\r\n" + MAIL,
    b'\x30HELO a\r\nSTARTTLS\r\nMAIL FROM:<>\r\nRCPT TO:<"a b"@[192.0.2.1]>\r\nRSET\r\nVRFY x\r\nHELP\r\nEXPN\r\nAUTH\r\n',
    b"\x02"
    + MAIL
    + b"BDAT 3\r\na\r\nBDAT 0\r\nBDAT 1\r\n\rBDAT 1 LAST\r\n\n"
    + MAIL
    + b"BDAT 9000\r\nBDAT 5 LAST\r\nRSET\r\n",
    b"\x20EHLO a\r\nBDAT 7\r\nQUIT\r\n." + MAIL + b"BDAT 2\r\n\n\nDATA\r\nBDAT 5000 LAST\r\nBDAT x\r\n",
    "\x30EHLO a\r\nMAIL FROM:<b\u00f6b@b\u00fccher.example> SMTPUTF8\r\nRCPT TO:<j\u00f6@xn--bcher-kva.example>\r\nDATA\r\n".encode(),
    b"\x10mail from:<@a,@b:c@d> x=y size=1 size=2\r\nrcpt to:<postmaster> a b=c\r\n\r\n\n\rDATA x\r\n",
]

RECEIPTS = (Receipt(verdicts={"a": ACCEPT}, trace="1"), Receipt(verdicts={"a": Verdict(word="reject", reason="\r\n")}))


def target(data: bytes) -> None:
    """The first byte says how the rest is cut; each piece is a packet."""
    step = 1 + (data[0] if data else 0)
    engine = Engine("mx1", Limits(size=4096, errors=50, idle=500), tls=True)
    engine.greet()
    content = b""
    for at in range(1, len(data), step):
        engine.feed(data[at : at + step])
        while (event := engine.next()) is not None:
            content = _answer(engine, event, content)
        said = engine.output()
        assert said == b"" or said.endswith(b"\r\n")
        assert said.isascii()
        assert said.count(b"\r") == said.count(b"\n") == said.count(b"\r\n")
        assert engine.buffered <= 2048 + step


def _answer(engine: Engine, event: Event, content: bytes) -> bytes:
    if isinstance(event, Recipient):
        if event.address.startswith("c"):
            engine.fail(b"451 4.3.0 later\r\n")
        else:
            engine.recipient(Verdict(word="reject") if event.address.startswith("b") else ACCEPT)
        return content
    if isinstance(event, Content):
        content += event.data
        assert len(content) <= 4096
        if event.last:
            assert b"\0" not in content
            assert content.count(b"\r") == content.count(b"\n") == content.count(b"\r\n")
            chunked = engine.transaction is not None and engine.transaction.chunked
            assert chunked or content == b"" or content.endswith(b"\r\n")
            engine.kept(RECEIPTS[len(content) % 2])
            return b""
        return content
    if isinstance(event, StartTls):
        if engine.buffered:
            engine.insecure()
        else:
            engine.secured()
    elif isinstance(event, Close):
        assert engine.next() is None
    return b""
