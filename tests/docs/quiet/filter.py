"""src/mesyx_quiet/filter.py of docs/tutorial/write-a-plugin.md."""

from __future__ import annotations

# [plugin]
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from pydantic import BaseModel, ConfigDict, JsonValue

from mesyx_core.api import ACCEPT, Context, Message, Provider, Stage, Verdict


class Quiet(BaseModel):
    """`[filter.quiet]`"""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    lists: frozenset[str] = frozenset()
    """Senders whose mail is of low importance."""


class QuietFilter:
    """Judges by the sender alone."""

    def __init__(self, config: Quiet) -> None:
        self.lists = config.lists

    async def judge(self, message: Message, stage: Stage, script: JsonValue = None) -> Verdict:
        return Verdict(importance="low") if message.sender in self.lists else ACCEPT


@asynccontextmanager
async def open_quiet(config: Quiet, context: Context) -> AsyncIterator[QuietFilter]:
    yield QuietFilter(config)


FILTER = Provider(name="quiet", config=Quiet, open=open_quiet, summary="Marks what comes from lists")
# [/plugin]
