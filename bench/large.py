"""Many large mails at once: how much memory a gateway takes, and how fast it is, while all of them come.

python bench/large.py [--connections 50] [--size 50000000] [--json]
"""

from __future__ import annotations

import argparse
import json
import socket
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from bench.accept import Watch  # the checkout is no installed package
from tests.scenario.cluster import Pair, cluster

REST = 120_000_000
"""Bytes that a gateway may take, and"""
EACH = 16_000_000
"""bytes more for each connection."""
LINE = b"x" * 76 + b"\r\n"
CHUNK = LINE * 1024


class Sender(threading.Thread):
    """One connection with one mail; its first half is there before any sends its second."""

    def __init__(self, pair: Pair, size: int, half: threading.Barrier) -> None:
        super().__init__(daemon=True)
        self.reply = b"not sent"
        self._pair = pair
        self._size = size
        self._half = half

    def run(self) -> None:
        with socket.create_connection(("127.0.0.1", self._pair.smtp), 120) as peer, peer.makefile("rb") as replies:

            def say(line: str) -> bytes:
                if line:
                    peer.sendall(line.encode() + b"\r\n")
                while (reply := replies.readline())[3:4] == b"-":
                    pass
                return reply

            for line in ("", "EHLO bench.example.com", "MAIL FROM:<bob@example.com>"):
                say(line)
            say(f"RCPT TO:<{self._pair.address}>")
            self.reply = say("DATA")
            if not self.reply.startswith(b"354"):
                self._half.abort()
                return
            peer.sendall(b"Subject: large\r\n\r\n")
            for number in range(chunks := -(-self._size // len(CHUNK))):
                if number == chunks // 2:
                    self._half.wait(600)
                peer.sendall(CHUNK)
            self.reply = say(".")


def measure(pair: Pair, connections: int, size: int) -> dict[str, Any]:
    """One round; all mails must be kept."""
    half = threading.Barrier(connections)
    senders = [Sender(pair, size, half) for _ in range(connections)]
    before = pair.gateway.rss()
    watch = Watch(pair.gateway)
    watch.start()
    began = time.monotonic()
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()
    seconds = time.monotonic() - began
    refused = [sender.reply for sender in senders if not sender.reply.startswith(b"250")]
    largest = watch.stop()
    if refused:
        raise SystemExit(f"{len(refused)} of {connections} mails were not kept: {refused[0]!r}")
    return {
        "connections": connections,
        "bytes": size,
        "seconds": round(seconds, 3),
        "mb_per_second": round(connections * size / seconds / 1e6, 1),
        "rss_before": before,
        "rss": largest,
        "limit": REST + EACH * connections,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--connections", type=int, default=50, help="mails at once (default 50)")
    parser.add_argument("--size", type=int, default=50_000_000, help="bytes of each (default 50,000,000)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mesyx-large-") as folder, cluster(Path(folder)) as pair:
        pair.client.stop()
        figures = measure(pair, options.connections, options.size)
    if options.json:
        print(json.dumps(figures))
    else:
        print(
            f"{options.connections} mails of {options.size / 1e6:.0f} MB at once: "
            f"{figures['mb_per_second']} MB/s, {figures['rss'] / 1e6:.0f} MB resident "
            f"({figures['rss_before'] / 1e6:.0f} MB before; at most {figures['limit'] / 1e6:.0f} MB are allowed)"
        )


if __name__ == "__main__":
    main()
