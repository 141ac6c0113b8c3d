"""Help and completion are quick because they import nothing that they do not need."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time

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


def test_help_takes_less_than_150_ms_beyond_python_itself() -> None:
    def median(*command: str) -> float:
        taken = []
        for _ in range(5):
            before = time.perf_counter()
            subprocess.run([sys.executable, *command], capture_output=True, check=True)
            taken.append(time.perf_counter() - before)
        return statistics.median(taken)

    assert median("-m", "mesyx_core", "--help") - median("-c", "pass") < 0.150
