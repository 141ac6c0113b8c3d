"""Whatever goes wrong, a person reads one line and a program reads an exit code; nobody sees a traceback."""

from __future__ import annotations

from pathlib import Path

import pytest

from mesyx_core.api import Busy, Locked, LoginFailed, Misconfigured, Permanent, Refused, Temporary
from mesyx_core.cli import exits
from mesyx_core.cli.app import run
from mesyx_core.cli.command import Settings
from mesyx_core.cli.failure import report


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Refused("the invitation was used already", "ask for another"), exits.FAILED),
        (Permanent("no"), exits.FAILED),
        (LoginFailed("no"), exits.FAILED),
        (Misconfigured("port 25 is in use", "choose another"), exits.CONFIG),
        (Locked("alice is locked", "mesyx store unlock alice"), exits.UNAVAILABLE),
        (Busy("another process holds the state", "stop it"), exits.UNAVAILABLE),
        (Temporary("mx1 does not answer", "try again"), exits.TEMPORARY),
    ],
)
def test_each_of_our_errors_has_its_exit_code(error: Exception, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    grouped = ExceptionGroup("tasks", [ExceptionGroup("more tasks", [error])])
    assert report(error, Settings()) == report(grouped, Settings()) == code
    assert capsys.readouterr().err == f"mesyx: {error}\n" * 2


def test_a_fault_of_ours_shows_its_place_but_no_value(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "state").mkdir()

    def fails(message: str) -> None:
        raise KeyError(message)

    try:
        fails("dear Bob")
    except KeyError as error:
        code = report(error, Settings(config=tmp_path / "mesyx.toml"))
    line = fails.__code__.co_firstlineno + 1
    said, log = capsys.readouterr().err, tmp_path / "state" / "faults.log"
    assert code == exits.INTERNAL
    assert (
        said == f"mesyx: a fault of Mesyx itself (KeyError at test_errors.py:{line}); where it happened is in {log}\n"
    )
    assert "KeyError" in log.read_text()
    assert "Bob" not in said + log.read_text()
    assert log.stat().st_mode & 0o077 == 0


def test_an_unknown_command_is_a_usage_error_with_the_one_that_was_meant(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["stats"]) == exits.USAGE
    assert "no command 'stats'; did you mean 'status'?" in capsys.readouterr().err


def test_a_command_without_a_config_says_how_to_make_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["config", "check", "-c", str(tmp_path / "mesyx.toml")]) == exits.CONFIG
    assert "there is no such file; run `mesyx init DIR`" in capsys.readouterr().err


def test_nothing_prompts_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["store", "create", "alice"]) == exits.USAGE
    assert "give --passphrase-file FILE" in capsys.readouterr().err
