"""How a plugin declares what it has: hooks return frozen providers, and opening one gives the object that works."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Protocol

import pluggy
from pydantic import BaseModel, JsonValue

PROJECT = "mesyx"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """One thing a plugin can be. `use` in the config names it: the entry point, or ENTRYPOINT.NAME when it has
    several."""

    name: str
    config: type[BaseModel]
    """Checks the instance's section; forbid extra keys."""
    open: Callable[[Any, Any], AbstractAsyncContextManager[Any]]
    """(config, Context) to the role object. Must not block or dial; that is for `run`."""
    account: type[BaseModel] | None = None
    open_account: Callable[[Any, Any, Any], AbstractAsyncContextManager[Any]] | None = None
    """(role object, account, Context)."""
    summary: str = ""
    network: str = "mail"
    """Of an egress: which messages are its, by `Message.network`."""


class Control(Protocol):
    """How a plugin's command reaches the running instance."""

    def call(self, instance: str, verb: str, value: JsonValue) -> AsyncIterator[JsonValue]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A command of a plugin's own: `mesyx WORDS…`; its first word must be the entry point's name."""

    words: tuple[str, ...]
    help: str
    arguments: type[BaseModel]
    run: Callable[[Any, Control], Awaitable[int]]


class Hooks:
    """All seven hooks. Synchronous, without arguments, called once."""

    @hookspec
    def mesyx_ingresses(self) -> list[Provider]:
        """Ways in from a network."""
        return []

    @hookspec
    def mesyx_egresses(self) -> list[Provider]:
        """Ways out to a network."""
        return []

    @hookspec
    def mesyx_transports(self) -> list[Provider]:
        """Ways to another node."""
        return []

    @hookspec
    def mesyx_cryptos(self) -> list[Provider]:
        """End-to-end protections."""
        return []

    @hookspec
    def mesyx_filters(self) -> list[Provider]:
        """Judges of messages."""
        return []

    @hookspec
    def mesyx_accesses(self) -> list[Provider]:
        """Protocols for people's programs."""
        return []

    @hookspec
    def mesyx_commands(self) -> list[Command]:
        """Commands under the plugin's own first word."""
        return []
