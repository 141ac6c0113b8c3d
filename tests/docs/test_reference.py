"""The reference is written from the code and has not drifted from it; nothing in it is without a word of explanation."""

from __future__ import annotations

import importlib.util
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from pydantic import BaseModel

from mesyx_core.api.provider import Hooks
from mesyx_core.config import NodeConfig
from mesyx_core.config.refusal import nested
from mesyx_core.plugins import Registry

ROOT = Path(__file__).resolve().parents[2]


def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("reference", ROOT / "scripts" / "reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("page", ["config.md", "cli.md", "api.md", "contracts.md", "faults.md", "mesyx.1"])
def test_the_reference_is_what_the_code_says(page: str) -> None:
    shown = (ROOT / "docs" / "reference" / page).read_text()
    assert shown == script().pages()[page], "run python scripts/reference.py"


def models() -> Iterator[tuple[str, type[BaseModel]]]:
    yield "node", NodeConfig
    for kind, uses in Registry().models().items():
        for use, model in uses.items():
            yield f"{kind}.{use}", model


def undescribed(model: type[BaseModel], path: str) -> Iterator[str]:
    for name, field in model.model_fields.items():
        inner = nested(field)
        if inner is not None:
            yield from undescribed(inner, f"{path}.{name}")
        elif not field.description:
            yield f"{path}.{name}"


@pytest.mark.parametrize(("path", "model"), list(models()))
def test_every_config_key_is_explained(path: str, model: type[BaseModel]) -> None:
    assert list(undescribed(model, path)) == []


def test_every_hook_is_explained() -> None:
    page = (ROOT / "docs" / "reference" / "api.md").read_text()
    for name, hook in vars(Hooks).items():
        if name.startswith("mesyx_"):
            assert hook.__doc__
            assert f"`{name}()`" in page


def test_the_man_page_is_set_without_a_warning() -> None:
    page = ROOT / "docs" / "reference" / "mesyx.1"
    done = subprocess.run(["groff", "-man", "-ww", "-Tutf8", "-Kutf8", str(page)], capture_output=True, text=True)
    assert done.returncode == 0
    assert done.stderr == ""
    plain = re.sub(r"\x1b\[[0-9;]*m|.\x08", "", done.stdout)
    assert "mesyx store create [OPTIONS] NAME" in plain
