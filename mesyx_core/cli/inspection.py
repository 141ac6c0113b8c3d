"""What `mesyx plugin check` looks at: how a plugin is declared and named, and whether it keeps its contracts."""

from __future__ import annotations

import importlib.metadata
import inspect as inspection
import re
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from mesyx_core.api.errors import Refused
from mesyx_core.plugins import Plugin, Registry
from mesyx_core.plugins.plugin import COMMANDS, GROUP, HOOKS
from mesyx_core.plugins.registry import BUILTIN
from mesyx_core.testing.certify import Finding, certifications, certify, certify_any

NAME: Final = re.compile(r"[a-z][a-z0-9_-]{0,30}")
HOW: Final = "pip install 'mesyx[testing]'"


def inspect(plugin: str) -> Iterator[Finding]:
    """An installed plugin by name, or a project by its folder. Raises Refused when there is neither."""
    folder = Path(plugin)
    if folder.is_dir() and (folder / "pyproject.toml").is_file():
        yield from _project(folder)
    elif plugin in Registry().names:
        yield from _installed(plugin)
    else:
        raise Refused(
            f"there is no plugin {plugin}, nor a project in such a folder", "`mesyx plugin list` shows those there are"
        )


def _installed(name: str) -> Iterator[Finding]:
    registry = Registry()
    yield from _declared(registry, name)
    loaded = registry.load(name)
    if loaded is not None:
        for kind, providers in loaded.providers.items():
            for provider in providers:
                yield from certify_any(kind, provider)


def _project(folder: Path) -> Iterator[Finding]:
    try:
        about: dict[str, Any] = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        yield Finding("pyproject.toml", f"cannot be read: {error}")
        return
    points = about.get("project", {}).get("entry-points", {}).get(GROUP, {})
    if not points:
        yield Finding("pyproject.toml", f'names no plugin: add [project.entry-points.{GROUP}] NAME = "MODULE"')
        return
    dist = str(about["project"].get("name", ""))
    registry = Registry([importlib.metadata.EntryPoint(name, value, GROUP) for name, value in points.items()])
    with _importable(folder):
        for name in points:
            right = dist.startswith("mesyx-") and name.replace("_", "-") in dist
            yield Finding("the distribution's name", "" if right else f"{dist}: mesyx-{name} says what it is")
            yield from _declared(registry, name)
        loaded = [each for each in registry.list(imported=True) if each.state == "loaded"]
        yield from _certified(folder, loaded)


@contextmanager
def _importable(folder: Path) -> Iterator[None]:
    """Let its modules be found, before any that are installed."""
    before = list(sys.path)
    sys.path[:0] = [str(folder / "src"), str(folder)]
    try:
        yield
    finally:
        sys.path[:] = before


def _declared(registry: Registry, name: str) -> Iterator[Finding]:
    """Its name, that it loads, and that its hooks are hooks."""
    plugin = registry.load(name)
    assert plugin is not None
    yield Finding("its name", "" if NAME.fullmatch(name) else f"{name}: lower case letters, digits, - and _")
    yield Finding("it loads, and declares what it should", plugin.reason)
    if plugin.state == "loaded":
        declares = [*plugin.roles, *("commands" for _ in plugin.commands[:1])]
        yield Finding("it declares something", "" if declares else "no hook of it returns anything")
        yield Finding("every hook is marked", _unmarked(registry.implementation(name)))


def _unmarked(implementation: object) -> str:
    """Functions that look like hooks and are none."""
    found = [
        name
        for name, member in inspection.getmembers(implementation, callable)
        if name in (*HOOKS, COMMANDS) and not hasattr(member, "mesyx_impl")
    ]
    return f"{', '.join(found)}: put @hookimpl above it" if found else ""


def _certified(folder: Path, plugins: list[Plugin]) -> Iterator[Finding]:
    """The contract classes of its tests; every provider must have one."""
    seen: list[Any] = []
    try:
        for certification in certifications(folder / "tests"):
            seen += [getattr(certification, name, None) for name in ("provider", "command")]
            yield from certify(certification)
    except ImportError as error:
        yield Finding("its tests", f"{error}: {HOW}, then pytest {folder}")
        return
    except Exception as error:
        yield Finding("its tests", f"{type(error).__name__}: {error}")
        return
    for plugin in plugins:
        for kind, providers in plugin.providers.items() if plugin.name != BUILTIN else ():
            for provider in providers:
                what = f"{kind} {provider.name} is certified"
                yield Finding(what, "" if provider in seen else f"no class in {folder / 'tests'} certifies it")
        for command in plugin.commands:
            what = f"the command {' '.join(command.words)} is certified"
            yield Finding(what, "" if command in seen else f"no class in {folder / 'tests'} certifies it")
