"""A plugin's commands stand under its own first word, checked by its own model."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field

from mesyx_core.api import Command, Control, Refused
from mesyx_core.cli import exits, foreign
from mesyx_core.cli.app import run


class Join(BaseModel):
    model_config = ConfigDict(extra="forbid")
    channel: list[str] = Field(description="What to join.", max_length=2)
    mode: Literal["loud", "quiet"] = "loud"
    really: bool = False


async def join(arguments: Join, control: Control) -> int:
    async for value in control.call("net", "join", arguments.model_dump(mode="json")):
        print(value)
    return 7


class OnePlugin:
    def commands(self, name: str) -> tuple[Command, ...]:
        if name == "broken":
            raise Refused("the plugin broken (mesyx-broken 1.0) does not work: no luck", "mend or upgrade it")
        return (
            (Command(words=("irc", "channel", "join"), help="Join channels.", arguments=Join, run=join),)
            if name == "irc"
            else ()
        )


@pytest.fixture(autouse=True)
def one_plugin(monkeypatch: pytest.MonkeyPatch) -> None:
    async def call(config: Path, verb: str, arguments: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
        yield {"value": verb}
        yield {"value": arguments}
        yield {"result": None}

    node = ModuleType("mesyx_core.node")
    node.__dict__["call"] = call
    monkeypatch.setitem(sys.modules, "mesyx_core.node", node)
    monkeypatch.setattr(foreign, "Registry", OnePlugin)


def test_a_plugin_s_command_reaches_its_running_instance(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["irc", "channel", "join", "--channel", "#a", "--channel", "#b", "--mode", "quiet"]) == 7
    value = {"channel": ["#a", "#b"], "mode": "quiet", "really": False}
    assert capsys.readouterr().out == f"plugin.call\n{ {'instance': 'net', 'verb': 'join', 'value': value} }\n"


def test_its_model_refuses_what_makes_no_sense(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["irc", "channel", "join", *("--channel", "#a") * 3]) == exits.USAGE
    assert "--channel: List should have at most 2 items" in capsys.readouterr().err
    assert run(["irc", "channel", "join", "--channel", "#a", "--mode", "odd"]) == exits.USAGE
    assert run(["irc", "channel", "join"]) == exits.USAGE


def test_its_help_has_the_model_s_words(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["irc", "channel", "join", "--help"]) == exits.OK
    said = capsys.readouterr().out
    assert "What to join." in said
    assert "Example:\n  mesyx irc channel join" in said


def test_a_broken_plugin_is_named_and_an_unknown_word_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["broken", "x"]) == exits.FAILED
    assert "mesyx-broken 1.0" in capsys.readouterr().err
    assert run(["nothing"]) == exits.USAGE
    assert "no installed plugin has it either" in capsys.readouterr().err
