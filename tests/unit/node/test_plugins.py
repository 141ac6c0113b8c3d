"""Commands of plugins reach the instance they name."""

from __future__ import annotations

from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any, cast

import anyio
import pytest
from pydantic import JsonValue

from mesyx_core.api import Busy, MesyxError, Refused, Temporary
from mesyx_core.node import verbs
from mesyx_core.node.core import Node


class Stick:
    """Takes commands."""

    async def control(self, verb: str, value: JsonValue) -> AsyncIterator[JsonValue]:
        if verb != "count":
            raise Refused("no such command")
        for number in range(int(str(value))):
            yield number


def node(live: bool = True) -> Node:
    def running(kind: str, name: str, role: Any) -> Any:
        return SimpleNamespace(kind=kind, name=name, path=f"{kind}.{name}", role=role, why="no room")

    all_ = [
        running("transport", "usb", Stick()),
        running("transport", "deaf", object()),
        running("egress", "down", None),
        running("ingress", "same", Stick()),
        running("egress", "same", Stick()),
    ]
    made = SimpleNamespace(
        live=live, of=lambda kind: [e for e in all_ if e.kind == kind], instances=SimpleNamespace(running=all_)
    )
    return cast(Node, made)


def asked(instance: str, verb: str = "count", value: JsonValue = 2, live: bool = True) -> list[dict[str, Any]]:
    async def main() -> list[dict[str, Any]]:
        arguments = {"instance": instance, "verb": verb, "value": value}
        return [part async for part in verbs.perform(node(live), "plugin.call", arguments)]

    return anyio.run(main)


@pytest.mark.parametrize("name", ["usb", "transport.usb", "egress.same"])
def test_values_come_one_by_one(name: str) -> None:
    assert asked(name) == [{"value": 0}, {"value": 1}, {"result": None}]


@pytest.mark.parametrize(
    ("name", "error", "what"),
    [
        ("nothing", Refused, "no instance nothing"),
        ("same", Refused, "several instances"),
        ("deaf", Refused, "takes no commands"),
        ("down", Temporary, "egress.down is not up"),
    ],
)
def test_what_cannot_be_asked_is_refused_with_a_reason(name: str, error: type[MesyxError], what: str) -> None:
    with pytest.raises(error, match=what):
        asked(name)


def test_a_command_that_the_plugin_does_not_know_and_a_node_that_does_not_run() -> None:
    with pytest.raises(Refused, match="no such command"):
        asked("usb", "eject")
    with pytest.raises(Busy):
        asked("usb", live=False)
