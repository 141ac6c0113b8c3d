"""Whatever calls fail while a journal is opened, used and closed: what it acknowledged is there on a sound disk."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.marks import FULL, fault
from tests.faults.storage import library

pytestmark = [pytest.mark.scenario, pytest.mark.timeout(600)]
KEEPER = Path(__file__).with_name("keeper.py")


def kept(folder: Path, seed: int, count: int, longest: int) -> None:
    plan, root = folder / "plan", folder / "root"
    plan.write_bytes(bytes(32))
    root.mkdir()
    disk = {"LD_PRELOAD": str(library(folder)), "FAULT_PLAN": str(plan), "FAULT_ROOT": str(root)}
    command = [sys.executable, "-P", str(KEEPER), str(root), str(seed), str(count), str(longest)]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **disk})
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr


@fault("journal-opened-on-failing-disk")
def test_a_journal_that_was_not_merged_outlives_a_start_that_fails_at_any_call(tmp_path: Path) -> None:
    kept(tmp_path, 0, 60 if FULL else 24, 0)


@fault("journal-used-on-failing-disk")
def test_what_was_acknowledged_outlives_any_run_of_failing_starts_uses_and_kills(tmp_path: Path) -> None:
    kept(tmp_path, 5020, 120 if FULL else 8, 13)
