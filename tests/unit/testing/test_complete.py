"""Every hook and every method that a plugin can have is explained, and some contract calls it."""

from __future__ import annotations

import importlib.util
import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from mesyx_core import testing
from mesyx_core.api import Provider, roles
from mesyx_core.api.provider import Hooks
from mesyx_core.plugins.plugin import COMMANDS, HOOKS
from mesyx_core.plugins.shape import ROLES, members
from mesyx_core.testing import Contract

ROOT = Path(__file__).resolve().parents[3]
PROTOCOLS = [
    kind for kind in vars(roles).values() if getattr(kind, "_is_protocol", False) and "roles" in kind.__module__
]
METHODS = [(kind, name) for kind in PROTOCOLS for name in members(kind)]


def certifications(*files: str) -> Iterator[type[Contract]]:
    """Those of the providers in memory."""
    for file in files:
        for kind in vars(load(ROOT / "tests" / "unit" / file)).values():
            if isinstance(kind, type) and issubclass(kind, Contract) and "tests" not in vars(kind):
                yield kind


def load(file: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"certified_{file.stem}", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


CERTIFIED = list(certifications("testing/test_memory.py", "builtin/test_transports.py"))


@pytest.mark.parametrize(("kind", "name"), METHODS, ids=lambda each: getattr(each, "__name__", each))
def test_every_method_is_explained(kind: type, name: str) -> None:
    member = vars(kind)[name]
    assert inspect.getdoc(member.fget if isinstance(member, property) else member), "write a docstring"
    page = (ROOT / "docs" / "reference" / "api.md").read_text()
    part = page.partition(f"### {kind.__name__}\n")[2].partition("\n## ")[0].partition("\n### ")[0]
    assert f"`{name}" in part or f"await {name}(" in part, "run python scripts/reference.py"


def test_every_hook_has_contracts_for_its_roles() -> None:
    hooks = {name for name in vars(Hooks) if name.startswith("mesyx_")}
    assert hooks == {*HOOKS, COMMANDS}
    assert issubclass(testing.CommandContract, Contract)  # of mesyx_commands
    kinds = {kind: [c for c in vars(testing).values() if getattr(c, "kind", None) == kind] for kind in HOOKS.values()}
    for kind, contracts in kinds.items():
        assert len(contracts) >= len(ROLES[kind]), f"there is no contract for every role of {kind}"


def owners(kind: type) -> Iterator[type[Contract]]:
    """Certifications whose provider, or what it gives, has all of a Protocol's methods."""
    for each in CERTIFIED:
        contract = each.__mro__[1].__name__
        volume = kind is roles.Volume and contract == "SimplexContract"
        if not hasattr(each, "provider"):
            continue
        if contract == f"{kind.__name__}Contract" or kind.__name__.lower() in each.capabilities or volume:
            yield each


@pytest.mark.parametrize(("kind", "name"), METHODS, ids=lambda each: getattr(each, "__name__", each))
def test_every_method_is_called_by_a_contract(kind: type, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    found = list(owners(kind))
    assert found, f"no provider in memory is certified as {kind.__name__}"
    for owner in {one for each in found for one in classes(each.provider, kind)}:
        watch(owner, name, calls, monkeypatch)
    for certification in found:
        for test in certification.tests:
            made: Callable[[], None] | None = getattr(certification(), test)
            if made is not None and "two_nodes" not in test and "does_not_read" not in test:
                made()
            if calls:
                return
    raise AssertionError(f"no contract calls {kind.__name__}.{name}")


def classes(provider: Provider, kind: type) -> Iterator[type]:
    """Classes beside the provider's opener that have a Protocol's methods."""
    module = inspect.getmodule(inspect.unwrap(provider.open))
    assert module is not None
    for found in vars(module).values():
        if isinstance(found, type) and found.__module__ == module.__name__ and set(members(kind)) <= set(dir(found)):
            yield found


def watch(owner: type, name: str, calls: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Note each use of a method or property."""
    member: Any = inspect.getattr_static(owner, name)

    if isinstance(member, property):

        def get(self: Any) -> Any:
            calls.append(name)
            assert member.fget is not None
            return member.fget(self)

        monkeypatch.setattr(owner, name, property(get))
    elif not callable(member):
        constant = member

        def read(self: Any) -> Any:
            calls.append(name)
            return constant

        monkeypatch.setattr(owner, name, property(read))
    elif inspect.iscoroutinefunction(member):

        async def awaited(*arguments: Any, **named: Any) -> Any:
            calls.append(name)
            return await member(*arguments, **named)

        monkeypatch.setattr(owner, name, awaited)
    else:

        def called(*arguments: Any, **named: Any) -> Any:
            calls.append(name)
            return member(*arguments, **named)

        monkeypatch.setattr(owner, name, called)
