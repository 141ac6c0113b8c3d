"""The plugin of docs/how-to/write-a-plugin.md works as shown there."""

from __future__ import annotations

# [plugin]
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from pydantic import BaseModel, ConfigDict, JsonValue

from mesyx_core.api import ACCEPT, Context, Message, Provider, Stage, Verdict, hookimpl


class Quiet(BaseModel):
    """`[filter.quiet]`"""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    lists: list[str] = []
    """Senders whose mail is of low importance."""


class QuietFilter:
    """Judges by the sender alone."""

    def __init__(self, config: Quiet) -> None:
        self.lists = frozenset(config.lists)

    async def judge(self, message: Message, stage: Stage, script: JsonValue = None) -> Verdict:
        return Verdict(importance="low") if message.sender in self.lists else ACCEPT


@asynccontextmanager
async def open_quiet(config: Quiet, context: Context) -> AsyncIterator[QuietFilter]:
    yield QuietFilter(config)


@hookimpl
def mesyx_filters() -> list[Provider]:
    return [Provider(name="quiet", config=Quiet, open=open_quiet)]


# [/plugin]

import sys  # noqa: E402  # what follows is the test, not the plugin
from datetime import UTC, datetime  # noqa: E402
from importlib.metadata import EntryPoint  # noqa: E402
from pathlib import Path  # noqa: E402

import anyio  # noqa: E402
import pytest  # noqa: E402

from mesyx_core.config import ConfigRefused, parse  # noqa: E402
from mesyx_core.plugins import Registry  # noqa: E402

CONFIG = '[node]\nname = "a"\nroles = ["accept"]\n[filter.quiet]\n'


def test_the_filter_judges_as_the_page_says() -> None:
    # [trial]
    message = Message(kind="mail", time=datetime.now(UTC), sender="announce@lists.example.org")
    quiet = QuietFilter(Quiet(lists=["announce@lists.example.org"]))
    assert anyio.run(quiet.judge, message, "receive").importance == "low"
    # [/trial]


def test_the_entry_point_is_all_that_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mesyx_quiet", sys.modules[__name__])
    registry = Registry([EntryPoint("quiet", "mesyx_quiet", "mesyx")])
    (instance,) = registry.bind_all(parse(CONFIG + 'lists = ["a@b"]', Path("mesyx.toml")))
    assert instance.config == Quiet(lists=["a@b"])
    with pytest.raises(ConfigRefused, match="did you mean lists"):
        registry.bind_all(parse(CONFIG + 'list = ["a@b"]', Path("mesyx.toml")))
