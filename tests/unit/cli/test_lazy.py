"""Help and completion are quick because they import nothing that they do not need."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

HEAVY = {"anyio", "asyncio", "cryptography", "mesyx_core.api", "mesyx_core.config", "mesyx_core.plugins", "pluggy", "pydantic", "rich", "sqlalchemy", "sqlmodel"}  # fmt: skip
PROBE = """
import sys
from mesyx_core.cli.app import run
code = run(sys.argv[1:])
print("\\nimported", *(name for name in sys.modules))
sys.exit(code)
"""


@pytest.mark.parametrize(
    "arguments", [["--help"], ["store", "add-node", "--help"], ["demo", "--help"], ["completion", "zsh"]]
)
def test_help_imports_no_plugin_no_database_and_no_pydantic(arguments: list[str]) -> None:
    done = subprocess.run([sys.executable, "-c", PROBE, *arguments], capture_output=True, text=True, check=True)
    imported = set(done.stdout.rpartition("\nimported ")[2].split())
    assert imported & HEAVY == set()
    assert not [name for name in imported if name.startswith("mesyx_") and name.split(".")[0] != "mesyx_core"]


def test_completing_a_word_imports_nothing_either() -> None:
    environment = os.environ | {"_MESYX_COMPLETE": "bash_complete", "COMP_WORDS": "mesyx store a", "COMP_CWORD": "2"}
    probe = "import sys, atexit\natexit.register(lambda: print('imported', *sys.modules))\nfrom mesyx_core.__main__ import main\nmain()"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, env=environment, check=False)
    words, _, imported = done.stdout.partition("imported ")
    assert {line.partition(",")[2] for line in words.split()} == {"add-node", "address"}
    assert set(imported.split()) & HEAVY == set()


def test_help_takes_less_than_150_ms() -> None:
    def processor_seconds() -> float:
        child = subprocess.Popen([sys.executable, "-m", "mesyx_core", "--help"], stdout=subprocess.DEVNULL)
        _, status, used = os.wait4(child.pid, 0)
        assert status == 0
        return used.ru_utime + used.ru_stime

    assert any(processor_seconds() < 0.150 for _ in range(40))  # a busy machine slows each one, but not all
