"""How fast mail is accepted, durable: a Mesyx gateway, Postfix (to its queue, in clear), Dovecot LMTP (mail_crypt).

All three in one run, taking turns, each with the same load: smtp-source with mails of one size, and real mails
where the corpus is at hand. Needs root on Debian 12 with `scripts/peers`.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from mesyx_smtp import testing  # noqa: E402

from bench._load import CORPUS  # noqa: E402  # the checkout is no installed package
from tests.scenario import cluster, peers  # noqa: E402

COUNT = {"mesyx": 6_000, "postfix": 1_500, "dovecot": 400}
"""Messages per round: each some seconds."""


class Target(NamedTuple):
    """A server under load."""

    name: str
    port: int
    lmtp: bool = False
    node: cluster.Node | None = None


class Figure(NamedTuple):
    """One round of one server."""

    server: str
    load: str
    connections: int
    messages: int
    seconds: float
    rss: int = 0
    """Largest resident size seen, bytes; Mesyx only."""

    @property
    def rate(self) -> float:
        return self.messages / self.seconds


@contextmanager
def mesyx() -> Iterator[Target]:
    """A gateway started by the commands of the README, for a store whose client has joined and is off."""
    with tempfile.TemporaryDirectory(prefix="mesyx-bench-") as name, cluster.cluster(Path(name)) as pair:
        pair.client.stop()
        yield Target("mesyx", pair.smtp, node=pair.gateway)


@contextmanager
def postfix() -> Iterator[Target]:
    with testing.postfix({"127.0.0.1": {}}) as server:
        yield Target("postfix", server.port)


@contextmanager
def dovecot() -> Iterator[Target]:
    with peers.dovecot(crypt=True) as server:
        yield Target("dovecot", server.lmtp, lmtp=True)


SERVERS = {"mesyx": mesyx, "postfix": postfix, "dovecot": dovecot}


def source(target: Target, connections: int, messages: int, size: int) -> float:
    """Seconds of smtp-source."""
    command = ["smtp-source", "-d", "-s", str(connections), "-m", str(messages), "-l", str(size)]
    command += ["-f", "bob@example.net", "-t", "alice@example.org", *(["-L"] if target.lmtp else [])]
    begun = time.monotonic()
    subprocess.run([*command, f"inet:127.0.0.1:{target.port}"], check=True)
    return time.monotonic() - begun


def real(target: Target, connections: int, messages: int, corpus: Path) -> float:
    """Seconds for real mails."""
    command = [sys.executable, str(ROOT / "bench" / "_load.py"), "--port", str(target.port), "--corpus", str(corpus)]
    command += ["--connections", str(connections), "--messages", str(messages), *(["--lmtp"] if target.lmtp else [])]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(json.loads(done.stdout)["seconds"])


class Watch(threading.Thread):
    """Notes a node's largest resident size."""

    def __init__(self, node: cluster.Node | None) -> None:
        super().__init__(daemon=True)
        self.largest = 0
        self._node = node
        self._over = threading.Event()

    def run(self) -> None:
        while self._node is not None and not self._over.wait(0.05):
            self.largest = max(self.largest, self._node.rss())

    def stop(self) -> int:
        self._over.set()
        self.join()
        return self.largest


def send(target: Target, load: str, connections: int, messages: int, options: argparse.Namespace) -> Figure:
    """One round on one server."""
    watch = Watch(target.node)
    watch.start()
    if load == "corpus":
        seconds = real(target, connections, messages, options.corpus)
    else:
        seconds = source(target, connections, messages, options.size)
    return Figure(target.name, load, connections, messages, seconds, watch.stop())


def measure(options: argparse.Namespace) -> list[Figure]:
    """All servers stand side by side and take turns, so that other work hits all alike; the median round counts."""
    loads = ("one size", "corpus") if options.corpus.exists() else ("one size",)
    figures = []
    with ExitStack() as servers:
        targets = [servers.enter_context(SERVERS[name]()) for name in options.servers]
        for target in targets:
            source(target, 1, 20, options.size)  # what a server does only once is done
        for connections, load in product(options.connections, loads):
            rounds = [
                [send(t, load, connections, max(100, int(COUNT[t.name] * options.scale)), options) for t in targets]
                for _ in range(options.rounds)
            ]
            figures += [median(turns) for turns in zip(*rounds, strict=True)]
    return figures


def median(turns: Sequence[Figure]) -> Figure:
    """The round in the middle, by rate, with the largest resident size of all."""
    middle = sorted(turns, key=lambda figure: figure.rate)[len(turns) // 2]
    return middle._replace(rss=max(figure.rss for figure in turns))


def table(figures: list[Figure]) -> Iterator[str]:
    """For people: rates, and how many times Mesyx does what a peer does."""
    yield (
        f"{'load':>8} {'connections':>12}"
        + "".join(f"{name + '/s':>12}" for name in SERVERS)
        + "".join(f"{'x ' + name:>12}" for name in SERVERS if name != "mesyx")
    )
    for load, connections in dict.fromkeys((f.load, f.connections) for f in figures):
        rates = {f.server: f.rate for f in figures if (f.load, f.connections) == (load, connections)}
        ratios = {name: rates["mesyx"] / rate for name, rate in rates.items() if name != "mesyx" and "mesyx" in rates}
        yield (
            f"{load:>8} {connections:12}"
            + "".join(f"{rates[name]:12,.0f}" if name in rates else f"{'-':>12}" for name in SERVERS)
            + "".join(f"{ratios[name]:12.1f}" for name in SERVERS if name in ratios)
        )
    largest = max((f.rss for f in figures), default=0)
    if largest:
        yield f"largest resident size of the gateway: {largest / 1e6:.0f} MB"


def as_json(figures: list[Figure]) -> list[dict[str, Any]]:
    """For programs."""
    return [{**f._asdict(), "seconds": round(f.seconds, 3), "rate": round(f.rate, 1)} for f in figures]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--servers", nargs="*", choices=SERVERS, default=list(SERVERS))
    parser.add_argument("--connections", type=int, nargs="*", default=[10, 50])
    parser.add_argument("--size", type=int, default=4096, help="bytes of smtp-source's mails")
    parser.add_argument("--corpus", type=Path, default=CORPUS, help="tar file of real mails")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--scale", type=float, default=1.0, help="times the usual number of messages")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    figures = measure(options)
    print(json.dumps(as_json(figures)) if options.json else "\n".join(table(figures)))


if __name__ == "__main__":
    main()
