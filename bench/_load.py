"""Load for benches: sends files over SMTP or LMTP on many connections, one command at a time as smtp-source does.

A program of its own, so that it has an interpreter of its own; prints seconds, from the first connection to the last
reply.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import sys
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

import uvloop

CORPUS = Path(__file__).resolve().parents[1] / "tests" / "corpus" / "mail.tar.xz"
"""3,000 real mails."""


def corpus(path: Path) -> Iterator[bytes]:
    """The mails of a tar file with one mail per member, as they go over the wire before dots are stuffed."""
    with tarfile.open(path) as tar:
        for member in tar:
            file = tar.extractfile(member) if member.isfile() else None
            if file is not None:
                yield wire(file.read())


def wire(mail: bytes) -> bytes:
    """CRLF at each line's end, no mbox "From " line."""
    if mail.startswith(b"From "):
        mail = mail.partition(b"\n")[2]
    lines = re.sub(rb"\r*\n", b"\n", mail).replace(b"\r", b" ").replace(b"\0", b" ")
    return (lines if lines.endswith(b"\n") else lines + b"\n").replace(b"\n", b"\r\n")


def stuffed(mail: bytes) -> bytes:
    """What follows DATA, with the end."""
    mail = mail.replace(b"\r\n.", b"\r\n..")
    return (b"." + mail if mail.startswith(b".") else mail) + b".\r\n"


class Sender(asyncio.Protocol):
    """One connection: takes mails off the common list until there are none."""

    def __init__(self, mails: Iterator[bytes], hello: bytes, recipient: bytes) -> None:
        self.done = asyncio.get_running_loop().create_future()
        self._mails = mails
        self._hello = hello
        self._recipient = recipient
        self._reply = b""
        self._talk = self._script()
        self._wanted = next(self._talk)
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # uvloop's is an asyncio.Transport by behaviour only

    def data_received(self, data: bytes) -> None:
        self._reply += data
        while (end := re.search(rb"(?m)^\d{3} [^\n]*\n", self._reply)) is not None:
            code, self._reply = self._reply[end.start() : end.start() + 3], self._reply[end.end() :]
            if code[:1] != self._wanted:
                self._fail(f"wanted {self._wanted.decode()}xx, got {code.decode()}")
                return
            try:
                self._wanted = next(self._talk)
            except StopIteration:
                self._transport.close()
                self.done.set_result(None)
                return

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self._fail("connection lost")

    def _fail(self, why: str) -> None:
        self._transport.close()
        if not self.done.done():
            self.done.set_exception(ConnectionError(why))

    def _script(self) -> Iterator[bytes]:
        """Yields the first digit that the next reply must have."""
        yield b"2"
        self._transport.write(self._hello + b" bench.example.net\r\n")
        yield b"2"
        for mail in self._mails:
            self._transport.write(b"MAIL FROM:<bob@example.net>\r\n")
            yield b"2"
            self._transport.write(b"RCPT TO:<%b>\r\n" % self._recipient)
            yield b"2"
            self._transport.write(b"DATA\r\n")
            yield b"3"
            self._transport.write(mail)
            yield b"2"
        self._transport.write(b"QUIT\r\n")
        yield b"2"


async def send(port: int, connections: int, mails: list[bytes], *, lmtp: bool, recipient: str) -> float:
    """Seconds for all of `mails`."""
    loop, common = asyncio.get_running_loop(), iter(mails)
    begun = time.monotonic()
    senders = [
        (
            await loop.create_connection(
                lambda: Sender(common, b"LHLO" if lmtp else b"EHLO", recipient.encode()), "127.0.0.1", port
            )
        )[1]
        for _ in range(connections)
    ]
    await asyncio.gather(*(sender.done for sender in senders))
    return time.monotonic() - begun


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--connections", type=int, required=True)
    parser.add_argument("--messages", type=int, required=True)
    parser.add_argument("--corpus", type=Path, default=CORPUS)
    parser.add_argument("--recipient", default="alice@example.org")
    parser.add_argument("--lmtp", action="store_true")
    options = parser.parse_args()
    found = [stuffed(mail) for mail in corpus(options.corpus)]
    # Every nth, so that a short run sees the same mixture as a long one.
    step = max(1, len(found) // options.messages)
    mails = [found[(n * step) % len(found)] for n in range(options.messages)]
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        seconds = runner.run(
            send(options.port, options.connections, mails, lmtp=options.lmtp, recipient=options.recipient)
        )
    json.dump({"seconds": seconds, "bytes": sum(map(len, mails))}, sys.stdout)


if __name__ == "__main__":
    main()
