"""`mesyx run`: from the config to `ready`, and from SIGTERM to the last entry."""

from __future__ import annotations

import ctypes
import gc
import logging
import signal
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

import anyio
from anyio.abc import TaskGroup
from anyio.to_thread import run_sync

from mesyx_core import config as configuration
from mesyx_core import control
from mesyx_core.api import MesyxError, Refused, Temporary
from mesyx_core.node import faults, logs, metrics, reach, secrets, verbs
from mesyx_core.node.core import Node
from mesyx_core.node.faults import single
from mesyx_core.node.systemd import HandedOver, Notifier, inherited
from mesyx_core.plugins import Registry

log = logging.getLogger(__name__)

SWITCH_SECONDS: Final = 0.0005
"""How long the commit thread may keep the event loop from going on. [Measured: at the interpreter's own 5 ms a gateway
with ten busy connections takes in half as much.]"""
COLLECT_AFTER: Final = 10_000
"""Objects made and not freed before the garbage collector looks for cycles."""
PR_SET_DUMPABLE: Final = 4
STATUS: Final = "at work; `mesyx status` says more"
M_ARENA_MAX: Final = -8
MANY: Final = 65536
"""Descriptors that no node needs more of."""


def run(file: Path, passphrase_file: Path | None = None, owner_key: Path | None = None) -> None:
    """Run the node until SIGTERM or SIGINT. Raises MesyxError when it cannot start."""
    logs.configure()
    harden()
    raise_limits()
    share_heap()
    sys.setswitchinterval(SWITCH_SECONDS)
    try:
        anyio.run(serve, file, passphrase_file, owner_key, backend_options={"use_uvloop": True})
    except BaseExceptionGroup as group:
        raise single(group) from group


async def serve(
    file: Path,
    passphrase_file: Path | None = None,
    owner_key: Path | None = None,
    *,
    ready: Callable[[Node], None] | None = None,
    stop: anyio.Event | None = None,
    registry: Registry | None = None,
) -> None:
    """The same inside a running loop; `stop` ends it instead of a signal, `ready` is told when every listener is
    bound, and plugins come from `registry` instead of from all that is installed.
    """
    config = configuration.load(file)
    handed = HandedOver()
    if stop is None:  # the process is this node's own
        faults.install()
        logs.configure(config.node.log)
        handed = HandedOver(inherited())
    async with Node.opened(config, registry=registry) as node:
        node.live = True
        node.handed = handed
        node.owner_key = owner_key
        node.passphrase_file = passphrase_file
        named = [path for path in (owner_key, passphrase_file) if path is not None]
        await run_sync(reach.refuse, node, named)
        await _unlock(node, passphrase_file)
        await _serve(node, ready or _say_ready, stop)


def _say_ready(node: Node) -> None:
    for address in node.handed.idle:
        log.warning("the socket at %s was handed over, and no section listens there", address)
    print("ready", flush=True)


async def _unlock(node: Node, passphrase_file: Path | None) -> None:
    locked = [store for store in node.stores if node.keyring.has(store.id)]
    if passphrase_file is None or not locked:
        return
    phrase = await run_sync(secrets.passphrase, passphrase_file)
    refusals: list[Refused | Temporary] = []
    for store in locked:
        try:
            await node.mailboxes.unlock(store, phrase)
        except (Refused, Temporary) as refused:
            refusals.append(refused)
    if len(refusals) == len(locked):
        raise refusals[0]
    for each in refusals:  # stores may be under different passphrases
        log.warning("a store stays locked: %s", each.what)


async def _serve(node: Node, ready: Callable[[Node], None], stop: anyio.Event | None) -> None:
    notifier = Notifier() if stop is None else Notifier({})
    async with AsyncExitStack() as stack, anyio.create_task_group() as tasks:
        tasks.start_soon(_heed_signals, node, tasks, stop, notifier)
        await node.instances.start(tasks)
        async with control.listening(node.home.socket, lambda verb, arguments: verbs.perform(node, verb, arguments)):
            stack.enter_context(metrics.served(node))
            tasks.start_soon(node.peers.run)
            tasks.start_soon(node.outgoing.run)
            tasks.start_soon(node.exchange.run)
            tasks.start_soon(node.accounts.run)
            tasks.start_soon(node.purgings.run)
            tasks.start_soon(node.reencrypting.run)
            tasks.start_soon(node.shredding.run)
            tasks.start_soon(node.upkeep.run)
            tasks.start_soon(node.sharing.run)
            if stop is None:
                settle()
            ready(node)
            notifier.ready(STATUS)
            log.info("ready")
            await notifier.live()
            await anyio.sleep_forever()


async def _heed_signals(node: Node, tasks: TaskGroup, stop: anyio.Event | None, notifier: Notifier) -> None:
    if stop is not None:
        await stop.wait()
    else:
        with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
            async for number in signals:
                if number != signal.SIGHUP:
                    log.info("stopping on %s", signal.Signals(number).name)
                    break
                notifier.reloading()
                await _reload(node)
                notifier.ready(STATUS)
    notifier.stopping()
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


def harden() -> None:
    """No core dumps, and on Linux no debugger of the same user: neither may put plaintext or a key on a disk."""
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
    except AttributeError:
        log.info("this system has no prctl: other programs of this user could read the node's memory")


def raise_limits() -> None:
    """As many descriptors as this user may have: the usual soft limit, 1024, is below our own limit on connections."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MANY if hard == resource.RLIM_INFINITY else min(hard, MANY)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def share_heap() -> None:
    """One heap for all threads. glibc would give each its own, up to eight a core, where what one has freed serves no
    other. [A client after a week of mixed traffic: 53 of its 173 MiB were such free memory.]"""
    try:
        ctypes.CDLL(None).mallopt(M_ARENA_MAX, 1)
    except AttributeError:
        log.debug("this system has no mallopt")


def settle() -> None:
    """What a node is made of stays as long as it runs: the garbage collector need not look at it again and again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER)
