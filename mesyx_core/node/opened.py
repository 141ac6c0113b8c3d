"""One account at work: opened by the instance of its plugin, run, and opened again after a backoff."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import anyio
from pydantic import BaseModel, JsonValue, ValidationError

from mesyx_core.api import Delivery, Health, Message, MesyxError, Misconfigured, Refused, Verdict
from mesyx_core.config.refusal import describe
from mesyx_core.node.context import InstanceContext, Rows
from mesyx_core.node.faults import place, single
from mesyx_core.node.instances import BACKOFF, STEADY, Running
from mesyx_core.node.remote import EVENT
from mesyx_core.pipeline import Intake, Sealer
from mesyx_core.record.outgoing import Account
from mesyx_core.vault import labels
from mesyx_core.vault.encoding import digest

if TYPE_CHECKING:
    from mesyx_core.node.core import Node

log = logging.getLogger(__name__)

WORDS: Final = 300
LOOK: Final = 1.0
"""Seconds between two looks at an instance that is not up."""
KINDS: Final = ("ingress", "egress")
"""What can hold accounts; an ingress first, which may serve both ways."""


class Opened:
    """Lives as long as the account is what it is."""

    def __init__(self, node: Node, store: bytes, account: Account) -> None:
        self.account = account
        self.life = anyio.CancelScope()
        self.ended = anyio.Event()
        self.again = anyio.Event()
        """The config was read again: look again at what cannot be opened."""
        self.role: Any = None
        """What the plugin has opened."""
        self.store = store
        self.id = digest(labels.ACCOUNT, store, account.name).hex()
        self._node = node
        self._health: Health = "down"
        self._why = "not opened yet"
        self._since = node.monotonic()
        self._restarts = 0

    @property
    def state(self) -> dict[str, Any]:
        """For the person who it is of."""
        return {
            "state": self._health,
            "why": self._why,
            "seconds": round(self._node.monotonic() - self._since),
            "restarts": self._restarts,
        }

    def report(self, health: Health, why: str = "") -> None:
        """What is the matter. Reasons may name people: they go to the person alone, never into the node's log."""
        if health != self._health:
            log.info("account %s is %s", self.id[:12], health)
            self._since = self._node.monotonic()
        for secret in self.account.secrets.values():
            why = why.replace(secret, "…") if secret else why
        self._health, self._why = health, why[:WORDS]

    async def run(self) -> None:
        """Until `life` is cancelled."""
        try:
            with self.life:
                await self._forever()
        finally:
            self.ended.set()

    async def _forever(self) -> None:
        attempt = 0
        while True:
            self.again = anyio.Event()
            began = self._node.monotonic()
            try:
                instance = self._instance()
                model = self._checked(instance)
            except MesyxError as error:
                self.report("down", str(error))
                await self.again.wait()  # only another config, or another account, can help
                continue
            if instance.role is None:
                self.report("retry", f"{instance.path} is not up on that node")
                await anyio.sleep(LOOK)
                continue
            await self._try(instance, model)
            attempt = 0 if self._node.monotonic() - began > STEADY else attempt + 1
            await anyio.sleep(BACKOFF[min(attempt, len(BACKOFF) - 1)])
            self._restarts += 1

    async def _try(self, instance: Running, model: BaseModel) -> None:
        try:
            await self._once(instance, model)
            self.report("retry", "it ended by itself")
        except MesyxError as error:
            self.report("retry", str(error))
        except Exception as error:
            log.error("account %s failed: %s at %s", self.id[:12], type(error).__name__, place(error))
            self.report("retry", f"{type(error).__name__} inside the plugin")

    def _instance(self) -> Running:
        """Which instance opens it. Raises Refused when there is none on this node."""
        use, via = self.account.use, self.account.via
        all_ = [each for kind in KINDS for each in self._node.of(kind)]
        if via:
            found = [each for each in all_ if via in (each.name, each.path)]
            if not found:
                raise Refused(f"that node has no instance {via}", "its operator adds it to mesyx.toml")
        else:
            found = [each for each in all_ if use == each.bound.section.use]
            if not found:
                raise Refused(f"that node has no instance of {use}", f"its operator adds [ingress.{use}] or the like")
        able = [each for each in found if each.bound.section.use == use and each.bound.provider.open_account]
        if not able:
            raise Refused(f"{use} holds no accounts on that node", "see the plugin's documentation")
        return able[0]

    def _checked(self, instance: Running) -> BaseModel:
        model = instance.bound.provider.account
        if model is None:
            raise Refused(f"{self.account.use} holds no accounts on that node")
        return checked(model, self.account.settings, self.account.secrets)

    async def _once(self, instance: Running, model: BaseModel) -> None:
        own = AccountRun(instance.bound, clock=self._node.monotonic)
        own.account = self
        context = AccountContext(self._node, own, self)
        opening = instance.bound.provider.open_account
        assert opening is not None
        async with AsyncExitStack() as stack:
            try:
                async with anyio.create_task_group() as scope:
                    own.scope = scope
                    closing = scope.cancel_scope.cancel
                    instance.closers.append(closing)  # an account lives no longer than its instance
                    try:
                        self.role = await stack.enter_async_context(opening(instance.role, model, context))
                        await self._work(self.role)
                    finally:
                        with suppress(ValueError):
                            instance.closers.remove(closing)
                        closing()
            except BaseExceptionGroup as group:
                raise single(group) from group
            finally:
                self.role = None
                while own.closers:
                    own.closers.pop()()

    async def _work(self, role: Any) -> None:
        run = getattr(role, "run", None)
        if run is None:
            self.report("up")
            await anyio.sleep_forever()
        else:
            await run()


class AccountRun(Running):
    """The same for an account as for an instance: what it has bound, and what it reports."""

    account: Opened

    def report(self, health: Health, why: str = "") -> None:
        self.account.report(health, why)


class AccountContext(InstanceContext):
    """A context of one store's account: all that it takes in goes to that store."""

    def __init__(self, node: Node, own: AccountRun, opened: Opened) -> None:
        super().__init__(node, own)
        self._opened = opened
        self._space = f"account/{opened.id}"
        self.state = Rows(node, self._space)
        shared = node.intake
        self._intake = Intake(
            route=self._route,
            filters=shared.filters,
            blobs=shared.blobs,
            room=shared.room,
            commit=shared.commit,
            limit=shared.limit,
            counts=shared.counts,
        )

    @property
    def instance(self) -> str:
        return self._opened.account.name

    def _route(self, address: str) -> Sealer | None:
        held = self._node.stores.get(self._opened.store)
        if held is None or not held.authority.may(self._node.key.public, "accept"):
            return None
        return held.sealer

    def deliver(self, draft: Message) -> AbstractAsyncContextManager[Delivery]:
        return self._intake.deliver(self._own(draft))

    async def accept(self, messages: Sequence[Message], state: Mapping[str, bytes] | None = None) -> Sequence[Verdict]:
        own = [self._own(message) for message in messages]
        return await self._intake.accept(own, self._node.rows.sealed(self._space, dict(state or {})))

    def _own(self, message: Message) -> Message:
        """A message of this account's; one without recipients is for its person."""
        name = self._opened.account.name
        return replace(message, account=name, recipients=message.recipients or (name,))

    async def signal(self, name: str, value: JsonValue) -> None:
        exchange, store = self._node.exchange, self._opened.store
        for node in exchange.leases(store):
            if node == self._node.key.public:
                await self._node.events.hear(store, node, [self._opened.account.name, name, value])
            else:
                with suppress(MesyxError):
                    exchange.tell(store, node, EVENT, [self._opened.account.name, name, value])


def checked(model: type[BaseModel], settings: Mapping[str, Any], secrets: Mapping[str, str]) -> BaseModel:
    """Settings and secrets as the plugin's account model. Raises Misconfigured with all that is wrong; values are never
    repeated."""
    table = {**settings, **secrets}
    try:
        return model.model_validate(table)
    except ValidationError as error:
        problems = describe(error, model, table, Path("account"), "account")
        raise Misconfigured("; ".join(f"{p.path.removeprefix('[account] ')} {p.what}" for p in problems)) from None
    except Exception as error:
        raise Misconfigured(f"the plugin failed to check it: {type(error).__name__}") from None
