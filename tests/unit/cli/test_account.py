"""Secrets of an account come from a person's keyboard or a file, never from the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from mesyx_core.cli import account, exits
from mesyx_core.cli.command import Settings

ADD = ["add", "alice", "irc", "libera", "--on", "mx1.example.org"]
UP = {"name": "libera", "node": "ab" * 32, "state": "up", "why": ""}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the node was asked."""
    seen: list[Any] = []

    def ask(verb: str, arguments: Any = None) -> Any:
        seen.append((verb, arguments))
        return UP

    monkeypatch.setattr(account, "ask", ask)
    return seen


def run(*words: str, stdin: str | None = None) -> Any:
    return CliRunner().invoke(account.account, words, input=stdin, obj=Settings())


@pytest.mark.parametrize("word", ["password=geheim", "password=", "password= @file"])
def test_a_secret_in_the_command_line_is_refused_with_the_remedy_and_not_repeated(word: str, asked: list[Any]) -> None:
    result = run(*ADD, "--secret", word)
    assert result.exit_code == exits.USAGE
    assert "--secret password=@FILE" in result.output
    assert "geheim" not in result.output
    assert asked == []


def test_a_secret_comes_from_a_file_without_its_line_end(tmp_path: Path, asked: list[Any]) -> None:
    file = tmp_path / "secret"
    file.write_bytes(b"ge heim=\r\n")
    result = run(*ADD, "--set", "nick=alice", "--set", 'channels=["#a"]', "--secret", f"password=@{file}")
    assert result.exit_code == 0, result.output
    assert asked[0][1]["secrets"] == {"password": "ge heim="}
    assert asked[0][1]["settings"] == {"nick": "alice", "channels": ["#a"]}
    assert result.output == "libera on abababababababab is open\n"


def test_a_secret_is_asked_for_on_a_terminal_alone(asked: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    result = run(*ADD, "--secret", "password")
    assert result.exit_code == exits.USAGE
    assert "no terminal" in result.output
    monkeypatch.setattr(click, "prompt", lambda *words, **how: "typed" if how["hide_input"] else "shown")
    monkeypatch.setattr(account, "_asked", lambda key: str(click.prompt(key, hide_input=True)))
    assert run(*ADD, "--secret", "password").exit_code == 0
    assert asked[0][1]["secrets"] == {"password": "typed"}


@pytest.mark.parametrize("words", [["--set", "nick"], ["--set", "x=[1"], ["--secret", "=@x"], ["--secret", "a=@/none"]])
def test_what_makes_no_sense_is_refused(words: list[str], asked: list[Any]) -> None:
    assert run(*ADD, *words).exit_code == exits.USAGE
    assert asked == []


def test_one_that_cannot_be_opened_is_a_failure(asked: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(account, "ask", lambda verb, arguments: {**UP, "state": "down", "why": "no plugin\x1b[2J"})
    result = CliRunner().invoke(account.account, ADD, obj=Settings(), standalone_mode=False)
    assert result.return_value == exits.FAILED
    assert "is down: no plugin\ufffd[2J" in result.output
