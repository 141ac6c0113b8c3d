"""A plugin that goes wrong where its config says; the tests install it beside the others."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Literal

import anyio
from pydantic import BaseModel, ConfigDict, JsonValue

from mesyx_core.api import ACCEPT, Context, Message, Provider, Stage, Verdict, hookimpl


class Settings(BaseModel):
    """`[ingress.faulty]` or `[filter.faulty]`"""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    at: Literal["open", "run", "close", "block", "judge", "exit", "nowhere"]
    """Where it goes wrong."""


class Faulty:
    """An ingress that takes nothing, and a filter."""

    def __init__(self, config: Settings, context: Context) -> None:
        self._at = config.at
        self._context = context

    async def run(self) -> None:
        if self._at == "run":
            raise RuntimeError("the flux capacitor is empty: alice@example.org")
        if self._at == "exit":
            sys.exit(3)
        self._context.report("up")
        if self._at == "block":
            await anyio.sleep(1)
            asyncio.get_running_loop().call_soon(time.sleep, 4)
        await anyio.sleep_forever()

    async def judge(self, message: Message, stage: Stage, script: JsonValue = None) -> Verdict:
        if self._at == "judge":
            raise RuntimeError(f"the flux capacitor is empty: {message.recipients}")
        return ACCEPT


class Judge:
    """A filter alone: one without `run` is up at once."""

    def __init__(self, faulty: Faulty) -> None:
        self.judge = faulty.judge


@asynccontextmanager
async def opened(config: Settings, context: Context) -> AsyncIterator[Faulty]:
    if config.at == "open":
        raise RuntimeError("the flux capacitor is empty: alice@example.org")
    try:
        yield Faulty(config, context)
    finally:
        if config.at == "close":
            raise RuntimeError("the flux capacitor is empty: alice@example.org")


@asynccontextmanager
async def judging(config: Settings, context: Context) -> AsyncIterator[Judge]:
    async with opened(config, context) as faulty:
        yield Judge(faulty)


@hookimpl
def mesyx_ingresses() -> list[Provider]:
    return [Provider(name="faulty", config=Settings, open=opened)]


@hookimpl
def mesyx_filters() -> list[Provider]:
    return [Provider(name="faulty", config=Settings, open=judging)]
