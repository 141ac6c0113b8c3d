"""Live push: from the gateway's `250` to `* EXISTS` in an IDLE at the client, both real nodes on loopback.

python bench/push.py [--count 500] [--rate 50] [--json]
"""

from __future__ import annotations

import argparse
import imaplib
import json
import smtplib
import socket
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from tests.scenario.cluster import Pair, cluster

MAIL = b"From: bob@example.com\r\nTo: alice@example.org\r\nSubject: push %d\r\n\r\n" + b"x" * 4000 + b"\r\n"


class Idler(threading.Thread):
    """Sits in IDLE and notes when each EXISTS comes."""

    def __init__(self, pair: Pair) -> None:
        super().__init__(daemon=True)
        self.seen: dict[int, float] = {}
        self.ready = threading.Event()
        self._imap = imaplib.IMAP4("127.0.0.1", pair.imap)
        self._imap.login(pair.user, pair.password)
        self._imap.select("INBOX")
        self._imap.send(b"i IDLE\r\n")

    def run(self) -> None:
        connection: socket.socket = self._imap.sock
        buffer = b""
        while data := connection.recv(65536):
            now = time.perf_counter()
            buffer += data
            *lines, buffer = buffer.split(b"\r\n")
            for line in lines:
                if line.startswith(b"+"):
                    self.ready.set()
                if line.endswith(b" EXISTS"):
                    self._note(int(line.split()[1]), now)

    def _note(self, count: int, now: float) -> None:
        """One EXISTS may tell of several messages."""
        for number in range(max(self.seen, default=0) + 1, count + 1):
            self.seen[number] = now


def measure(pair: Pair, count: int, rate: float) -> list[float]:
    """Seconds from `250` to EXISTS for each of `count` messages, sent at `rate` a second."""
    idler = Idler(pair)
    idler.start()
    if not idler.ready.wait(10):
        raise SystemExit("the client does not answer IDLE")
    accepted: dict[int, float] = {}
    with smtplib.SMTP("127.0.0.1", pair.smtp) as smtp:
        smtp.ehlo()
        assert smtp.sock is not None
        smtp.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        began = time.perf_counter()
        for number in range(1, count + 1):
            smtp.mail("bob@example.com")
            smtp.rcpt(pair.address)
            code, reply = smtp.data(MAIL % number)
            accepted[number] = time.perf_counter()
            if code != 250:
                raise SystemExit(f"the gateway answered {code} {reply!r}")
            time.sleep(max(0.0, began + number / rate - time.perf_counter()))
    deadline = time.perf_counter() + 30
    while len(idler.seen) < count and time.perf_counter() < deadline:
        time.sleep(0.01)
    if len(idler.seen) < count:
        raise SystemExit(f"only {len(idler.seen)} of {count} messages were announced")
    return sorted(max(0.0, idler.seen[n] - accepted[n]) for n in accepted)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=500, help="messages (default 500)")
    parser.add_argument("--rate", type=float, default=50, help="messages a second (default 50)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mesyx-push-") as folder, cluster(Path(folder)) as pair:
        times = measure(pair, options.count, options.rate)
    figures = {f"p{p}_ms": round(times[min(len(times) - 1, len(times) * p // 100)] * 1000, 2) for p in (50, 90, 99)}
    figures["max_ms"] = round(times[-1] * 1000, 2)
    if options.json:
        print(json.dumps(figures))
    else:
        print("250 at the gateway to * EXISTS at the client: " + ", ".join(f"{k} {v}" for k, v in figures.items()))


if __name__ == "__main__":
    main()
