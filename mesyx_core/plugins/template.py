"""A new plugin's project, from the template: declared, certified by its tests, and ready to be installed."""

from __future__ import annotations

import importlib.resources
import re
from collections.abc import Iterator, Sequence
from importlib.resources.abc import Traversable
from pathlib import Path, PurePosixPath
from typing import Final

from mesyx_core.api.errors import Refused
from mesyx_core.config import SectionKind
from mesyx_core.plugins.plugin import HOOKS

NAME: Final = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
LONGEST: Final = 30
TAKEN: Final = frozenset({"builtin", "core"})
WORDS: Final = re.compile(r"@(name|module|Class|scheme|roles|usage)@")


def new(name: str, roles: Sequence[SectionKind], folder: Path) -> Path:
    """Write the project `mesyx-NAME` into `folder`. Raises Refused for a name that cannot be, or when it is there."""
    if not NAME.fullmatch(name) or len(name) > LONGEST or name in TAKEN:
        raise Refused(f"{name!r} cannot be a plugin's name", "lower case letters, digits and single - between them")
    project = folder / f"mesyx-{name}"
    if project.exists():
        raise Refused(f"{project} is there already", "choose another name, or another --dir")
    for path, text in sorted(render(name, roles)):
        file = project / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    return project


def render(name: str, roles: Sequence[SectionKind]) -> Iterator[tuple[PurePosixPath, str]]:
    """Path in the project, and text, of every file."""
    chosen = [kind for kind in HOOKS.values() if kind in roles]
    module = "mesyx_" + name.replace("-", "_")
    words = {
        "name": name,
        "module": module,
        "Class": "".join(part.capitalize() for part in name.split("-")),
        "scheme": name.replace("-", ""),
        "roles": ", ".join(chosen),
    }
    template = importlib.resources.files("mesyx_core") / "templates" / "plugin"

    def filled(path: str) -> str:
        return _fill(_within(template, path).read_text(encoding="utf-8"), words)

    words["usage"] = "".join(filled(f"{kind}/usage.md.in") for kind in chosen)
    yield PurePosixPath("pyproject.toml"), filled("pyproject.toml.in")
    yield PurePosixPath("README.md"), filled("README.md.in")
    yield PurePosixPath(".github/workflows/tests.yml"), filled("ci.yml.in")
    yield PurePosixPath(f"src/{module}/__init__.py"), _fill(_declares(chosen), words)
    yield PurePosixPath(f"src/{module}/py.typed"), ""
    for kind in chosen:
        yield PurePosixPath(f"src/{module}/{kind}.py"), filled(f"{kind}/module.py.in")
        yield PurePosixPath(f"tests/test_{kind}.py"), filled(f"{kind}/test.py.in")


def _within(folder: Traversable, path: str) -> Traversable:
    for part in path.split("/"):
        folder = folder / part
    return folder


def _fill(text: str, words: dict[str, str]) -> str:
    return WORDS.sub(lambda found: words[found[1]], text)


def _declares(kinds: Sequence[SectionKind]) -> str:
    """The module that the entry point names: one hook for each role."""
    hooks = {kind: hook for hook, kind in HOOKS.items()}
    lines = ['"""Mesyx plugin @name@: @roles@."""\n\nfrom mesyx_core.api import Provider, hookimpl\n']
    lines += [f"from @module@.{kind} import {kind.upper()}" for kind in sorted(kinds)]
    for kind in kinds:
        lines.append(
            f"\n\n@hookimpl\ndef {hooks[kind]}() -> list[Provider]:\n"
            f'    """`use = "@name@"` in a section [{kind}.NAME]."""\n'
            f"    return [{kind.upper()}]"
        )
    return "\n".join(lines) + "\n"
