"""The control socket: a command's words in, progress and a result or the node's own error out."""

from __future__ import annotations

import json
import os
import socket
import stat
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import anyio
import pytest

from mesyx_core import control
from mesyx_core.api import Locked, MesyxError, Misconfigured, Refused


class Special(Misconfigured):
    """An error of a type that the other side does not know."""


async def node(verb: str, arguments: Mapping[str, Any]) -> AsyncIterator[dict[str, Any]]:
    match verb:
        case "echo":
            yield {"progress": "half"}
            yield {"result": dict(arguments)}
        case "refuse":
            raise Refused("no such thing", "name another")
        case "locked":
            raise Locked("closed")
        case "special":
            raise Special("wrong key", "write another")
        case "late":
            await anyio.sleep(0.1)
            raise Refused("no such thing", "name another")
        case "late fault":
            await anyio.sleep(0.1)
            raise ValueError("text of a message")
        case "fault":
            raise ValueError("text of a message")
        case "big":
            yield {"result": "x" * 1_000_000}


def ask(path: Path, verb: str, **arguments: Any) -> list[dict[str, Any]]:
    async def main() -> list[dict[str, Any]]:
        async with control.listening(path, node):
            return [answer async for answer in control.call(path, verb, arguments)]

    try:
        return anyio.run(main)
    except BaseExceptionGroup as group:
        raise group.exceptions[0] from None


def test_progress_comes_before_the_result(tmp_path: Path) -> None:
    assert ask(tmp_path / "s", "echo", a=1) == [{"progress": "half"}, {"result": {"a": 1}}]


@pytest.mark.parametrize(("verb", "kind"), [("refuse", Refused), ("locked", Locked), ("special", Misconfigured)])
def test_the_nodes_error_comes_back_as_what_it_was(tmp_path: Path, verb: str, kind: type[MesyxError]) -> None:
    with pytest.raises(kind) as caught:
        ask(tmp_path / "s", verb)
    assert caught.value.what


def test_a_fault_inside_names_its_type_and_no_value(tmp_path: Path) -> None:
    with pytest.raises(MesyxError, match="ValueError") as caught:
        ask(tmp_path / "s", "fault")
    assert "text" not in str(caught.value)


@pytest.mark.parametrize("verb", ["late", "late fault"])
def test_a_command_that_is_broken_off_and_then_fails_ends_itself_alone(tmp_path: Path, verb: str) -> None:
    path = tmp_path / "s"

    async def main() -> list[dict[str, Any]]:
        async with control.listening(path, node):
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(str(path))
                client.sendall(json.dumps({"verb": verb, "arguments": {}}).encode() + b"\n")
            await anyio.sleep(0.3)
            return [answer async for answer in control.call(path, "echo", {})]

    assert anyio.run(main)[-1] == {"result": {}}


def test_long_answers_and_deep_folders_pass(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 100) / ("e" * 100)
    deep.mkdir(parents=True)
    assert len(ask(deep / "control.sock", "big")[0]["result"]) == 1_000_000


def test_without_a_node_a_command_is_told_so(tmp_path: Path) -> None:
    async def main() -> None:
        async for _ in control.call(tmp_path / "s", "echo", {}):
            pass

    with pytest.raises(ConnectionError):
        anyio.run(main)


def test_a_stale_socket_is_replaced_and_none_is_left(tmp_path: Path) -> None:
    path = tmp_path / "s"
    path.write_text("left by a crash")
    assert ask(path, "echo")[-1] == {"result": {}}
    assert not path.exists()


def test_only_the_nodes_user_may_connect(tmp_path: Path) -> None:
    path = tmp_path / "s"

    async def main() -> int:
        async with control.listening(path, node):
            return stat.S_IMODE(os.stat(path).st_mode)

    assert anyio.run(main) == 0o600


@pytest.mark.parametrize(
    "line", [b"\n", b"{}\n", b"[]\n", b"not json\n", b'{"verb": 1, "arguments": []}\n', b"x" * 100]
)
def test_nonsense_is_answered_or_dropped_and_harms_nobody(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "s"

    async def main() -> list[dict[str, Any]]:
        async with control.listening(path, node):
            async with await anyio.connect_unix(path) as stream:
                await stream.send(line)
                await stream.send_eof()
                with anyio.move_on_after(5):
                    async for _ in stream:
                        pass
            return [answer async for answer in control.call(path, "echo", {})]

    assert anyio.run(main)[-1] == {"result": {}}
