"""The short form of `run.py`: a few hundred inputs to each parser of the core in every test run."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

INPUTS = 300


def _runner() -> ModuleType:
    spec = importlib.util.spec_from_file_location("fuzz_runner", Path(__file__).with_name("run.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


RUNNER = _runner()
TARGETS = {name: file for name, file in RUNNER.targets().items() if file.parent == Path(__file__).parent}


@pytest.mark.parametrize("name", TARGETS)
def test_a_parser_neither_raises_nor_hangs_nor_grows(name: str) -> None:
    assert RUNNER.fuzz(name, TARGETS[name], INPUTS, seed=0) is None


def test_a_parser_that_raises_is_found_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RUNNER, "KEPT", tmp_path / "kept")
    file = tmp_path / "fuzz_bad.py"
    file.write_text("SEEDS = [b'abc']\ndef target(data):\n    if b'(' in data: raise KeyError\n")
    failure = RUNNER.fuzz("bad", file, 10_000, seed=0)
    assert failure is not None
    assert "KeyError" in failure
    assert len(list((tmp_path / "kept").iterdir())) == 1


def test_a_parser_that_hangs_is_found_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RUNNER, "KEPT", tmp_path / "kept")
    monkeypatch.setattr(RUNNER, "SECONDS", 0.05)
    file = tmp_path / "fuzz_slow.py"
    file.write_text("SEEDS = [b'abc']\ndef target(data):\n    while True: pass\n")
    assert "took longer" in (RUNNER.fuzz("slow", file, 10, seed=0) or "")
