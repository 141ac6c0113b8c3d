"""Commands say what they promise on the line they promise it."""

from __future__ import annotations

import io
import json
import re
import stat
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import click
import pytest

from mesyx_core.cli import exits
from mesyx_core.cli.app import root, run
from mesyx_core.cli.show import harmless, nested, plain, table
from mesyx_core.exchange.invitation import make

Calls = list[tuple[str, dict[str, Any]]]
Node = Callable[[Any], Calls]


@pytest.fixture
def node(monkeypatch: pytest.MonkeyPatch) -> Node:
    """A node that answers every verb with one value, and the calls that it got."""

    def answering(value: Any) -> Calls:
        calls: Calls = []

        async def call(config: Path, verb: str, arguments: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
            calls.append((verb, arguments))
            yield {"progress": {"what": "working", "done": 1, "of": 2}}
            yield {"result": value}

        stand_in = ModuleType("mesyx_core.node")
        stand_in.__dict__["call"] = call
        monkeypatch.setitem(sys.modules, "mesyx_core.node", stand_in)
        return calls

    return answering


def leaves(command: click.Command, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            assert found is not None
            yield from leaves(found, (*words, name))
    else:
        yield words, command


def test_every_command_takes_a_config_and_shows_an_example_of_itself() -> None:
    for words, command in leaves(root):
        text = command.get_help(click.Context(command, info_name=" ".join(words)))
        assert "-c, --config FILE" in text
        assert f"Example:\n  mesyx {' '.join(words)}" in text


def test_init_makes_a_private_node_and_never_replaces_a_key(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "node"
    assert run(["init", str(folder), "--name", "mx1", "--role", "accept", "--role", "exchange"]) == exits.OK
    key = folder / "state" / "node.key"
    assert re.fullmatch(r"mesyx-node-key-1:[0-9a-f]{64}\n", key.read_text())
    assert [stat.S_IMODE(p.stat().st_mode) for p in (key, folder / "state", folder / "mesyx.toml")] == [
        0o600,
        0o700,
        0o600,
    ]
    before = key.read_text()
    assert run(["init", str(folder), "--name", "mx1", "--role", "accept"]) == exits.FAILED
    (folder / "mesyx.toml").unlink()
    assert run(["init", str(folder), "--name", "mx1", "--role", "accept"]) == exits.OK
    assert key.read_text() == before
    assert run(["config", "check", "-c", str(folder / "mesyx.toml")]) == exits.OK
    assert capsys.readouterr().out.endswith("mx1 can be run with 0 instances\n")


def test_the_config_may_be_named_before_or_after_the_command_or_in_the_environment(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run(["init", str(tmp_path), "--name", "mx1", "--role", "accept"])
    file = str(tmp_path / "mesyx.toml")
    assert run(["-c", file, "config", "check"]) == exits.OK
    assert run(["config", "check", "-c", file]) == exits.OK
    monkeypatch.setenv("MESYX_CONFIG", file)
    assert run(["config", "check"]) == exits.OK
    assert run(["config", "check", "-c", "/none"]) == exits.CONFIG


def test_the_last_line_of_an_invite_is_the_invitation(node: Node, capsys: pytest.CaptureFixture[str]) -> None:
    calls = node({"invitation": "mesyx1abc", "expires": "2026-12-01"})
    assert (
        run(["node", "invite", "--role", "accept", "--address", "a@example.org", "--expires", "12h", "--qr"])
        == exits.OK
    )
    assert capsys.readouterr().out.splitlines()[-1] == "mesyx1abc"
    assert calls == [("node.invite", {"roles": ["accept"], "addresses": ["a@example.org"], "expires": 43200})]


def test_an_invitation_to_be_a_client_comes_with_a_passphrase_and_no_other_does(
    node: Node, capsys: pytest.CaptureFixture[str]
) -> None:
    calls = node({"invitation": "mesyx1abc", "expires": "2026-12-01"})
    invite = ["node", "invite", "--role", "client", "--role", "exchange"]
    assert run(invite) == exits.USAGE
    assert "--passphrase-file" in capsys.readouterr().err
    assert run([*invite, "--passphrase-file", "p"]) == exits.OK
    assert run(["node", "invite", "--role", "exchange", "--passphrase-file", "p"]) == exits.USAGE
    [(verb, arguments)] = calls
    assert verb == "node.invite"
    assert arguments["passphrase_file"] == str(Path.cwd() / "p")


@pytest.mark.parametrize(("answer", "asked"), [("y\n", True), ("n\n", False)])
def test_who_is_at_a_terminal_sees_that_an_invitation_asks_for_private_keys(
    node: Node, monkeypatch: pytest.MonkeyPatch, answer: str, asked: bool
) -> None:
    calls = node({"keys": "short", "welcome": "it is in"})
    made = {role: make(bytes(32), (), frozenset({role}), (), 0, bytes).encode() for role in ("client", "accept")}
    terminal = io.StringIO(answer)
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stdin", terminal)
    assert (run(["store", "add-node", "alice", made["client"]]) == exits.OK) is asked
    assert bool(calls) is asked
    calls.clear()
    assert run(["store", "add-node", "alice", made["client"], "--keys", "short"]) == exits.OK
    assert run(["store", "add-node", "alice", made["accept"]]) == exits.OK
    assert len(calls) == 2


def test_a_script_gives_no_keys_to_a_gateway_that_would_be_a_client_unless_it_says_which(
    node: Node, capsys: pytest.CaptureFixture[str]
) -> None:
    calls = node({"welcome": "it is in"})

    def add(*roles: str, keys: str = "") -> int:
        line = make(bytes(32), (), frozenset(roles), (), 0, bytes).encode()
        return run(["store", "add-node", "alice", line, *(["--keys", keys] if keys else [])])

    assert add("accept", "exchange", "client") == exits.FAILED
    said = capsys.readouterr().err
    assert "could read all" in said
    assert "--keys short" in said
    assert calls == []
    for keys in ("short", "all", "none"):
        assert add("accept", "client", keys=keys) == exits.OK
    assert add("client", "exchange") == add("accept", "exchange") == exits.OK
    assert len(calls) == 5


def test_the_last_word_of_a_new_login_is_the_password(node: Node, capsys: pytest.CaptureFixture[str]) -> None:
    calls = node({"user": "alice", "password": "abcd-efgh"})
    assert run(["login", "add", "alice", "--label", "mutt"]) == exits.OK
    assert capsys.readouterr().out.splitlines()[-1].split()[-1] == "abcd-efgh"
    assert calls == [("login.add", {"store": "alice", "label": "mutt"})]


def test_a_new_store_ends_with_its_recovery_kit(node: Node, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kit = "-----BEGIN AGE ENCRYPTED FILE-----\nAAAA\n-----END AGE ENCRYPTED FILE-----\n"
    calls = node({"name": "alice", "id": "ab12", "fingerprint": "x", "kit": kit})
    file = tmp_path / "kit.age"
    assert run(["store", "create", "alice", "--passphrase-file", "p", "--kit", str(file), "--qr"]) == exits.OK
    assert capsys.readouterr().out.endswith(kit)
    assert file.read_text() == kit
    assert calls == [
        ("store.create", {"name": "alice", "passphrase_file": str(Path.cwd() / "p")}),
        ("store.kit_taken", {"name": "alice"}),
    ]


def test_add_node_prints_the_welcome_line_last(node: Node, capsys: pytest.CaptureFixture[str]) -> None:
    calls = node({"welcome": "mesyxw1abc", "addresses": ["a@example.org"]})
    assert run(["store", "add-node", "alice", "mesyx1abc", "--keys", "none"]) == exits.OK
    assert capsys.readouterr().out.splitlines() == ["it accepts mail for a@example.org", "mesyxw1abc"]
    assert calls == [("store.add_node", {"name": "alice", "invitation": "mesyx1abc", "keys": "none"})]


def test_json_is_what_the_node_answered(node: Node, capsys: pytest.CaptureFixture[str]) -> None:
    answer = {"name": "mx1", "instances": [{"name": "mx", "state": "up"}], "größe": 3}
    node(answer)
    assert run(["status", "--json"]) == exits.OK
    shown = capsys.readouterr()
    assert json.loads(shown.out) == answer
    assert shown.err == ""  # a bar is for a terminal


def test_doctor_fails_when_something_is_wrong(node: Node, capsys: pytest.CaptureFixture[str]) -> None:
    node([{"level": "error", "what": "port 25 is blocked", "remedy": "ask your provider"}])
    assert run(["doctor"]) == exits.FAILED
    assert capsys.readouterr().out == "error: port 25 is blocked\n  ask your provider\n"
    node([])
    assert run(["doctor"]) == exits.OK


@pytest.mark.parametrize("value", ["1", "7 d", "0d", "-1d", "99999999w", "d"])
def test_a_duration_needs_a_unit_and_sense(value: str, node: Node) -> None:
    assert node({}) == []
    assert run(["node", "invite", "--role", "accept", "--expires", value]) == exits.USAGE


def test_what_comes_from_the_network_cannot_steer_the_terminal() -> None:
    assert harmless("a\x1b]0;x\x07b\u202ec\nd") == "a\ufffd]0;x\ufffdb\ufffdc\nd"
    assert plain("a\nb") == "a b"


def test_nested_values_read_as_a_tree_with_tables() -> None:
    value = {
        "name": "mx1",
        "stores": [{"id": 1, "waiting_for": []}, {"id": 2, "waiting_for": ["a"]}],
        "up": True,
        "more": {"x": None},
    }
    assert nested(value) == "name: mx1\nstores:\n  ID  WAITING FOR\n  1   -\n  2   a\nup: yes\nmore:\n  x: -"
    assert table([], none="none") == "none"


def test_deeper_records_are_blocks_and_numbers_are_shown_for_people() -> None:
    stores = [
        {
            "name": "alice",
            "bytes": 4154,
            "peers": [{"node": "mx1", "since": 1795275785}, {"node": "mx2", "since": None}],
        }
    ]
    assert nested({"seconds": 93784, "stores": stores}).splitlines() == [
        "seconds: 1d 2h",
        "stores:",
        "  - name: alice",
        "    bytes: 4.06 KiB",
        "    peers:",
        "      NODE  SINCE",
        "      mx1   2026-11-21 15:43:05Z",
        "      mx2   -",
    ]
    assert nested({"seconds": 0, "size": 1023}) == "seconds: 0s\nsize: 1023 B"


def test_config_show_has_every_value_and_no_secret(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "mesyx.toml"
    file.write_text(
        '[node]\nname = "a"\nroles = ["accept"]\ndatabase = "postgresql://u:sesame@h/d"\n'
        '[filter.rules]\n[[filter.rules.rule]]\nsender = "*@x"\naction = "drop"\n'
    )
    assert run(["config", "show", "-c", str(file)]) == exits.OK
    shown = capsys.readouterr().out
    assert "sesame" not in shown
    assert "peer_connections = 100" in shown
    assert '[filter.rules]\nuse = "rules"\nstages = ["receive"]' in shown
    assert 'action = "drop"' in shown


def test_config_schema_is_json_with_every_plugin(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["config", "schema"]) == exits.OK
    assert "rules" in json.loads(capsys.readouterr().out)["properties"]["filter"]["properties"]


def test_plugin_list_names_dist_version_and_state(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["plugin", "list", "--json"]) == exits.OK
    builtin = next(row for row in json.loads(capsys.readouterr().out) if row["name"] == "builtin")
    assert (builtin["dist"], builtin["state"]) == ("mesyx", "loaded")
    assert "filter" in builtin["roles"]


def test_the_queue_shows_a_line_for_each_recipient_and_a_gateways_without_addresses(
    node: Node, capsys: pytest.CaptureFixture[str]
) -> None:
    fate = {"reason": "", "remote": "", "attempts": 1, "next": None, "may_have_been_sent": False}
    own = {"id": "ab" * 16, "store": "alice", "state": "later", "seconds": 90, "gateway": "cd" * 32, "waits_for": "x"}
    to = [
        {**fate, "address": "bob@example.com", "state": "sent"},
        {**fate, "address": "c\x1b[31m@example.com", "state": "later", "next": 0, "may_have_been_sent": True},
    ]
    calls = node([{**own, "recipients": to}, {"id": "ef" * 16, "store": "alice", "waiting": 2}])
    assert run(["queue", "list", "--all"]) == exits.OK
    lines = capsys.readouterr().out.splitlines()
    assert calls == [("queue.list", {"all": True})]
    assert "\x1b" not in "".join(lines)
    assert ["abababababab" in line for line in lines] == [False, True, True, False, False, False]
    assert "later, may have been sent" in lines[2]
    assert "1970-01-01 00:00:00Z" in lines[2]
    assert "ef" * 16 in lines[5]


def test_the_queue_is_asked_for_one_thing_or_for_all_of_a_gateway(node: Node) -> None:
    calls = node([])
    assert run(["queue", "move", "--to", "mx2"]) == exits.USAGE
    assert run(["queue", "move", "abcd", "--from", "mx1", "--to", "mx2"]) == exits.USAGE
    assert run(["queue", "move", "--from", "mx1", "--to", "mx2"]) == exits.OK
    assert calls == [("queue.move", {"source": "mx1", "to": "mx2"})]


def test_a_login_is_limited_to_the_identities_given(node: Node) -> None:
    calls = node({"user": "alice", "label": "phone", "password": "secret"})
    assert run(["login", "add", "alice", "--label", "phone", "--identity", "alice@example.org"]) == exits.OK
    assert run(["login", "add", "alice"]) == exits.OK
    assert [arguments.get("identities") for _, arguments in calls] == [["alice@example.org"], None]
