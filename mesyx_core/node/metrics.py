"""How the node does, in figures for Prometheus. They name no person, no address and no message; a store is called by
its fingerprint."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from mesyx_core.api import Misconfigured
from mesyx_core.node.faults import place
from mesyx_core.node.sockets import split

if TYPE_CHECKING:
    from mesyx_core.node.core import Node

log = logging.getLogger(__name__)

PATIENCE: Final = 5.0
"""Seconds for which a scrape waits for the event loop."""
MISSING: Final = "pip install 'mesyx[metrics]'"


class Figure(NamedTuple):
    """A metric with all its samples."""

    name: str
    kind: str
    """"gauge" or "counter"."""
    help: str
    samples: Sequence[tuple[Mapping[str, str], float]]


async def figures(node: Node) -> list[Figure]:
    """All of them, as they are now."""
    running = node.instances.running
    instance = [{"instance": each.path} for each in running]
    free = shutil.disk_usage(node.home.state).free
    found = [
        Figure("mesyx", "gauge", "The version that runs.", [({"version": version("mesyx")}, 1)]),
        Figure("mesyx_seconds", "gauge", "Since the start.", [({}, time.monotonic() - node.started)]),
        Figure("mesyx_memory_bytes", "gauge", "Resident memory.", [({}, _resident())]),
        Figure("mesyx_disk_free_bytes", "gauge", "Free disk under the state folder.", [({}, free)]),
        Figure("mesyx_connections", "gauge", "Open connections of all listeners.", [({}, node.doors.open)]),
        Figure("mesyx_connections_limit", "gauge", "node.connections.", [({}, node.doors.total)]),
        Figure(
            "mesyx_instance_up",
            "gauge",
            "1 while an instance is up.",
            [(labels, float(each.health == "up")) for labels, each in zip(instance, running, strict=True)],
        ),
        Figure(
            "mesyx_instance_restarts",
            "counter",
            "Restarts of an instance after failures.",
            [(labels, each.restarts) for labels, each in zip(instance, running, strict=True)],
        ),
        Figure(
            "mesyx_recipients",
            "counter",
            "Recipients of messages that came in, by what became of them.",
            [({"verdict": word}, count) for word, count in sorted(node.intake.counts.items())],
        ),
    ]
    outbox = node.outgoing.status()
    if outbox is not None:
        found.append(Figure("mesyx_outbox_waiting", "gauge", "Messages not yet sent.", [({}, outbox["waiting"])]))
    return found + await _stores(node)


async def _stores(node: Node) -> list[Figure]:
    entries, octets, missing, connected, behind = [], [], [], [], []
    for store in node.stores:
        own = {"store": store.fingerprint}
        heads = {(head.node, head.incarnation): head.seq for head in await node.journal.heads(store.id)}
        entries.append((own, float(sum(heads.values()))))
        octets.append((own, float(await node.journal.usage(store.id))))
        missing.append((own, float(len(await node.journal.lacking(store.id)))))
        for peer in node.peers.status(store.id):
            labels = {**own, "node": peer["node"][:16]}
            acked = node.exchange.acked(store.id, bytes.fromhex(peer["node"]))
            connected.append((labels, float(peer["state"] == "connected")))
            behind.append((labels, float(sum(max(0, seq - acked.get(at, 0)) for at, seq in heads.items()))))
    return [
        Figure("mesyx_store_entries", "gauge", "Entries held.", entries),
        Figure("mesyx_store_bytes", "gauge", "Bytes of entries and bodies held.", octets),
        Figure("mesyx_store_missing_bodies", "gauge", "Bodies that have not come yet.", missing),
        Figure("mesyx_peer_connected", "gauge", "1 while there is a session with the node.", connected),
        Figure("mesyx_peer_behind_entries", "gauge", "Entries that the node is not known to hold.", behind),
    ]


def _resident() -> float:
    try:
        return float(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return 0.0


class Collector:
    """Asks the event loop for its figures, from the thread of a scrape."""

    def __init__(self, node: Node, loop: asyncio.AbstractEventLoop) -> None:
        self._node = node
        self._loop = loop

    def collect(self) -> Iterator[Any]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily

        kinds = {"gauge": GaugeMetricFamily, "counter": CounterMetricFamily}
        asked = asyncio.run_coroutine_threadsafe(figures(self._node), self._loop)
        try:
            found = asked.result(PATIENCE)
        finally:
            asked.cancel()  # harmless once it is there
        for figure in found:
            if figure.name == "mesyx":
                yield InfoMetricFamily(figure.name, figure.help, value=dict(figure.samples[0][0]))
                continue
            names = sorted({name for labels, _ in figure.samples for name in labels})
            family = kinds[figure.kind](figure.name, figure.help, labels=names)
            for labels, value in figure.samples:
                family.add_metric([labels[name] for name in names], value)
            yield family


def _quieten(server: Any) -> None:
    """No traceback on stderr, which is the log, and no patience with who connects and says nothing."""
    figures_of = server.get_app()

    def app(environ: Any, start: Any) -> Any:
        try:
            return figures_of(environ, start)
        except Exception as error:
            log.warning("figures could not be had: %s at %s", type(error).__name__, place(error))
            start("503 Service Unavailable", [("Content-Type", "text/plain")])
            return [b""]

    def lost(request: Any, address: Any) -> None:
        log.debug("whoever asked for figures went away")

    server.set_app(app)
    server.handle_error = lost
    server.RequestHandlerClass = type("Handler", (server.RequestHandlerClass,), {"timeout": PATIENCE})


@contextmanager
def served(node: Node) -> Iterator[None]:
    """Serve them where the config says so, while the block runs. Raises Misconfigured."""
    where = node.config.node.metrics
    if not where:
        yield
        return
    try:
        from prometheus_client import CollectorRegistry, start_http_server
    except ModuleNotFoundError as error:
        raise Misconfigured(f"{node.config.file}: [node] metrics needs prometheus-client", MISSING) from error
    registry = CollectorRegistry()
    registry.register(Collector(node, asyncio.get_running_loop()))
    host, port = split(where, "[node] metrics")
    try:
        server, thread = start_http_server(port, host, registry)
    except OSError as error:
        what = f"{node.config.file}: [node] metrics: cannot listen on {where}: {error.strerror}"
        raise Misconfigured(what, "choose another port of loopback") from error
    _quieten(server)
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join(PATIENCE)
