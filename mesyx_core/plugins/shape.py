"""Whether an opened object has the methods of its role: told by name, before something calls them."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final

from mesyx_core.api import roles
from mesyx_core.config import SectionKind

ROLES: Final[Mapping[SectionKind, tuple[type, ...]]] = MappingProxyType(
    {
        "ingress": (roles.Ingress,),
        "egress": (roles.Egress,),
        "transport": (roles.Duplex, roles.Dialer, roles.Simplex),
        "crypto": (roles.Crypto,),
        "filter": (roles.Filter,),
        "access": (roles.Access,),
    }
)
"""Which Protocols an instance of each kind of section may fulfil; any one of them will do."""


def members(role: type) -> list[str]:
    """What a role's Protocol asks for, in its order."""
    return [name for name, member in vars(role).items() if not name.startswith("_") and _asked(member)]


def _asked(member: object) -> bool:
    return isinstance(member, property) or inspect.isfunction(member)


def misfits(kind: SectionKind, made: object) -> list[str]:
    """What is wrong with an opened object, in words; nothing when it fulfils a role of its kind."""
    found = [list(_wrong(role, made)) for role in ROLES[kind]]
    return min(found, key=len)


def _wrong(role: type, made: object) -> Iterator[str]:
    for name in members(role):
        wanted = vars(role)[name]
        if not hasattr(type(made), name) and not hasattr(made, name):
            yield f"{type(made).__name__} has no {name}, which {role.__name__} asks for"
        elif not isinstance(wanted, property):
            yield from _differs(role, name, wanted, getattr(made, name))


def _differs(role: type, name: str, wanted: Any, given: Any) -> Iterator[str]:
    where = f"{role.__name__}.{name}"
    if not callable(given):
        yield f"{where} must be a method"
        return
    if inspect.iscoroutinefunction(wanted) and not inspect.iscoroutinefunction(given):
        yield f"{where} must be async def"
    if inspect.iscoroutinefunction(given) and not inspect.iscoroutinefunction(wanted):
        yield f"{where} must not be async def: its result is used without await"
    parameters = [p for p in inspect.signature(wanted).parameters.values() if p.name != "self"]
    least = sum(p.default is p.empty for p in parameters)
    for count in {least, len(parameters)}:
        try:
            inspect.signature(given).bind(*([None] * count))
        except TypeError:
            yield f"{where} must take ({', '.join(p.name for p in parameters)})"
            return
