"""Instances of plugins: each opened once, run in a task of its own, started again after a backoff, with a state that
says why.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import anyio
from anyio.abc import TaskGroup

from mesyx_core.api import Health, MesyxError, Misconfigured, Permanent, Refused
from mesyx_core.node.context import InstanceContext
from mesyx_core.node.faults import place, single
from mesyx_core.plugins import Instance
from mesyx_core.plugins.shape import misfits

if TYPE_CHECKING:
    from mesyx_core.node.core import Node

log = logging.getLogger(__name__)

BACKOFF: Final = (0.5, 1, 2, 5, 15, 60)
STEADY: Final = 60.0
"""An instance that ran this many seconds starts again without delay."""
START_SECONDS: Final = 30.0
"""An instance that has not bound its listener by then is shown as starting; `ready` does not wait longer for it."""


@dataclass(slots=True)
class Running:
    """One configured use of a plugin, at work."""

    bound: Instance
    role: Any = None
    health: Health = "down"
    why: str = "not started"
    since: float = 0.0
    restarts: int = 0
    self_signed: bool = False
    scope: TaskGroup = field(init=False)
    life: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    ended: anyio.Event = field(default_factory=anyio.Event)
    closers: list[Callable[[], None]] = field(default_factory=list)
    settled: anyio.Event = field(default_factory=anyio.Event)
    clock: Callable[[], float] = field(default=lambda: 0.0)

    @property
    def kind(self) -> str:
        return self.bound.section.kind

    @property
    def name(self) -> str:
        return self.bound.section.name

    @property
    def path(self) -> str:
        return self.bound.section.path

    def report(self, health: Health, why: str = "") -> None:
        if (health, why) != (self.health, self.why):
            log.log(
                logging.INFO if health == "up" else logging.WARNING,
                "%s is %s%s",
                self.path,
                health,
                f": {why}" if why else "",
            )
        self.health, self.why, self.since = health, why, self.clock()
        if health != "down":
            self.settled.set()


class Instances:
    """All instances of a node."""

    def __init__(self, node: Node, bound: Sequence[Instance]) -> None:
        self._node = node
        self._tasks: TaskGroup | None = None
        self.running = [self._new(each) for each in bound]

    def of(self, kind: str) -> list[Running]:
        """In the config's order."""
        return [each for each in self.running if each.kind == kind]

    async def start(self, tasks: TaskGroup) -> None:
        """Start all. Raises what a fault in the config made the first start of one fail with."""
        self._tasks = tasks
        faults = await self._begin(self.running)
        if faults:
            raise faults[0]

    async def replace(self, bound: Sequence[Instance]) -> dict[str, list[str]]:
        """Go over to another config: stop what is gone, start what is new, start again what changed, leave the rest
        alone.
        """
        kept = [each for each in self.running if each.bound in bound]
        gone = [each for each in self.running if each not in kept]
        fresh = [self._new(each) for each in bound if all(old.bound != each for old in kept)]
        for each in gone:
            each.life.cancel()
        for each in gone:
            await each.ended.wait()
        order = [each.section.path for each in bound]
        self.running = sorted(kept + fresh, key=lambda each: order.index(each.path))
        faults = await self._begin(fresh)
        before, after = {each.path for each in gone}, {each.path for each in fresh}
        return {
            "stopped": sorted(before - after),
            "started": sorted(after - before),
            "restarted": sorted(before & after),
            "failed": [str(fault) for fault in faults],
        }

    def _new(self, bound: Instance) -> Running:
        return Running(bound, clock=self._node.monotonic)

    async def _begin(self, fresh: Sequence[Running]) -> list[Misconfigured]:
        assert self._tasks is not None
        faults: list[Misconfigured] = []
        for each in fresh:
            self._tasks.start_soon(_supervise, self._node, each, faults.append)
        with anyio.move_on_after(START_SECONDS):
            for each in fresh:
                await each.settled.wait()
        return faults


async def _supervise(node: Node, instance: Running, failed: Callable[[Misconfigured], None]) -> None:
    """Run an instance for ever. A fault in the config at its first start also goes to `failed`."""
    try:
        with instance.life:
            await _forever(node, instance, failed)
    finally:
        instance.ended.set()


async def _forever(node: Node, instance: Running, failed: Callable[[Misconfigured], None]) -> None:
    attempt = 0
    while True:
        began = node.monotonic()
        try:
            await _once(node, instance)
            instance.report("retry", "it ended by itself")
        except Misconfigured as error:
            if not instance.settled.is_set():
                failed(error)
            instance.report("retry", str(error))
        except MesyxError as error:
            instance.report("retry", str(error))
        except Exception as error:
            log.error("%s failed: %s at %s", instance.path, type(error).__name__, place(error))
            instance.report("retry", f"{type(error).__name__} inside the plugin")
        if node.monotonic() - began > STEADY:
            attempt = 0
        await anyio.sleep(BACKOFF[min(attempt, len(BACKOFF) - 1)])
        attempt += 1
        instance.restarts += 1


async def _once(node: Node, instance: Running) -> None:
    context = InstanceContext(node, instance)
    async with AsyncExitStack() as stack:
        try:
            async with anyio.create_task_group() as scope:
                instance.scope = scope
                try:
                    opening = instance.bound.provider.open(instance.bound.config, context)
                    instance.role = await stack.enter_async_context(opening)
                    if wrong := misfits(instance.bound.section.kind, instance.role):
                        raise Refused(f"the plugin does not work: {wrong[0]}", "mend or upgrade it")
                    await _run(instance)
                except SystemExit:  # it would end the whole process
                    raise Permanent("the plugin called sys.exit", "mend or upgrade it") from None
                finally:
                    scope.cancel_scope.cancel()
        except BaseExceptionGroup as group:
            raise single(group) from group
        finally:
            instance.role = None  # what is closed serves nobody until it is open again
            while instance.closers:
                instance.closers.pop()()


@asynccontextmanager
async def transports(node: Node) -> AsyncIterator[None]:
    """Open a node's transports so that a command can dial by them; nothing listens."""
    async with AsyncExitStack() as stack:
        for each in node.of("transport"):
            context = InstanceContext(node, each)
            each.role = await stack.enter_async_context(each.bound.provider.open(each.bound.config, context))
        yield


async def _run(instance: Running) -> None:
    run = getattr(instance.role, "run", None)
    if run is None:
        instance.report("up")
        await anyio.sleep_forever()
    else:
        await run()
