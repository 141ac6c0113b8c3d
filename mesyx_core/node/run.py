"""`mesyx run`: from the config to `ready`, and from SIGTERM to the last entry."""

from __future__ import annotations

import ctypes
import logging
import signal
import sys
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from pathlib import Path
from typing import Any, Final

import anyio
from anyio.abc import TaskGroup
from anyio.to_thread import run_sync

from mesyx_core import config as configuration
from mesyx_core import control
from mesyx_core.api import MesyxError, Temporary
from mesyx_core.node import secrets, verbs
from mesyx_core.node.core import Node
from mesyx_core.node.home import Busy
from mesyx_core.node.instances import single, transports

log = logging.getLogger(__name__)

PR_SET_DUMPABLE: Final = 4
WITH_PLUGINS: Final = frozenset({"node.invite", "store.add_node", "store.create", "doctor", "status"})
"""Verbs that look at the instances, or reach other nodes."""


def run(file: Path, passphrase_file: Path | None = None, owner_key: Path | None = None) -> None:
    """Run the node until SIGTERM or SIGINT. Raises MesyxError when it cannot start."""
    configure_logging()
    harden()
    try:
        anyio.run(serve, file, passphrase_file, backend_options={"use_uvloop": True})
    except BaseExceptionGroup as group:
        raise single(group) from group


async def serve(
    file: Path,
    passphrase_file: Path | None = None,
    *,
    ready: Callable[[Node], None] | None = None,
    stop: anyio.Event | None = None,
) -> None:
    """The same inside a running loop; `stop` ends it instead of a signal, `ready` is told when every listener is
    bound.
    """
    config = configuration.load(file)
    async with Node.opened(config) as node:
        node.live = True
        await _unlock(node, passphrase_file)
        await _serve(node, ready or _say_ready, stop)


def _say_ready(node: Node) -> None:
    print("ready", flush=True)


async def _unlock(node: Node, passphrase_file: Path | None) -> None:
    locked = [store for store in node.stores if node.keyring.has(store.id)]
    if passphrase_file is None or not locked:
        return
    phrase = await run_sync(secrets.passphrase, passphrase_file)
    for store in locked:
        await node.mailboxes.unlock(store, phrase)


async def _serve(node: Node, ready: Callable[[Node], None], stop: anyio.Event | None) -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_heed_signals, node, tasks, stop)
        await node.instances.start(tasks)
        async with control.listening(node.home.socket, lambda verb, arguments: verbs.perform(node, verb, arguments)):
            tasks.start_soon(node.peers.run)
            ready(node)
            log.info("ready")
            await anyio.sleep_forever()


async def _heed_signals(node: Node, tasks: TaskGroup, stop: anyio.Event | None) -> None:
    if stop is not None:
        await stop.wait()
    else:
        with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
            async for number in signals:
                if number != signal.SIGHUP:
                    log.info("stopping on %s", signal.Signals(number).name)
                    break
                await _reload(node)
    tasks.cancel_scope.cancel()


async def _reload(node: Node) -> None:
    try:
        done = await node.reload()
    except MesyxError as error:
        log.error("the new config is refused, the old one goes on: %s", error)
    else:
        log.info(
            "reloaded: %s",
            ", ".join(f"{what} {' '.join(names)}" for what, names in done.items() if names) or "nothing changed",
        )


async def call(file: Path, verb: str, arguments: Mapping[str, Any]) -> AsyncGenerator[dict[str, Any], None]:
    """What a command does: ask the running node, or without one take its state and do the work here.
    Yields {"progress": …}, at last {"result": …}. Raises MesyxError."""
    config = configuration.load(file)
    socket = config.state / "control.sock"
    for _ in range(20):
        try:
            async with aclosing(control.call(socket, verb, arguments)) as answers:
                async for answer in answers:
                    yield answer
            return
        except ConnectionError:
            pass
        try:
            async with Node.opened(config, plugins=verb in WITH_PLUGINS) as node, transports(node):
                async for answer in verbs.perform(node, verb, arguments):
                    yield answer
            return
        except Busy:
            await anyio.sleep(0.1)  # a node that starts or stops: soon it has its socket, or is gone
    raise Temporary(
        f"{config.state}: another mesyx process is using this state", "wait until it is done, then try again"
    )


def harden() -> None:
    """No core dumps, and on Linux no debugger of the same user: neither may put plaintext or a key on a disk."""
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
    except AttributeError:
        log.info("this system has no prctl: other programs of this user could read the node's memory")


def configure_logging(level: str = "INFO") -> None:
    """Structured enough to grep, never with content: our own messages name types and places only."""
    logging.basicConfig(stream=sys.stderr, level=level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
