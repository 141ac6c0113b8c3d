"""What a person at a terminal sees while a command takes long; nobody else sees any of it."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from collections.abc import Mapping

import pytest

CODE = """
import sys, time
from mesyx_core.cli import progress
progress.PATIENCE = 0.05
from mesyx_core.cli.progress import Bar
with Bar() as bar:
    time.sleep(0.5)
    if sys.argv[1] == "tell":
        bar.show({"what": "bodies", "done": 30, "of": 60})
        time.sleep(0.5)
print("done")
"""


def at_terminal(how: str, environment: Mapping[str, str] | None = None) -> str:
    """What is written to the terminal that is its stderr."""
    main, other = pty.openpty()
    variables = {"PATH": os.environ["PATH"], "TERM": "xterm-256color", "COLUMNS": "80", **(environment or {})}
    done = subprocess.Popen([sys.executable, "-c", CODE, how], stderr=other, stdout=subprocess.PIPE, env=variables)
    os.close(other)
    said = b""
    try:
        while chunk := os.read(main, 65536):
            said += chunk
    except OSError:  # the other end is closed
        pass
    os.close(main)
    assert done.communicate(timeout=30)[0] == b"done\n"
    assert done.returncode == 0
    return said.decode()


def test_what_is_told_is_drawn_and_gone_at_the_end() -> None:
    said = at_terminal("tell")
    assert "bodies" in said
    assert "30" in said
    assert said.rstrip().endswith(("\x1b[2K", "\x1b[?25h")) or "\x1b[2K" in said.rpartition("bodies")[2]


def test_silence_is_not_taken_for_a_halt() -> None:
    assert "working" in at_terminal("silent")


def test_no_color_is_heeded() -> None:
    assert "\x1b[38;5" in at_terminal("tell")
    assert "\x1b[38;5" not in at_terminal("tell", {"NO_COLOR": "1"})


@pytest.mark.parametrize("how", ["tell", "silent"])
def test_a_pipe_gets_none_of_it(how: str) -> None:
    done = subprocess.run([sys.executable, "-c", CODE, how], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("done\n", "")
