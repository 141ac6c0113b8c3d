"""What a plugin's own commands ask of its instance (`api.Controlled`)."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, cast

from pydantic import JsonValue

from mesyx_core.api import Busy, Controlled, Refused, Temporary
from mesyx_core.config import KINDS

if TYPE_CHECKING:
    from mesyx_core.node.core import Node


async def call(node: Node, instance: str, verb: str, value: JsonValue = None) -> AsyncGenerator[JsonValue, None]:
    """What the instance answers, as it comes. `instance` is its name, or like `transport.usb` where several have it."""
    if not node.live:
        raise Busy("no node is running here", "start it with `mesyx run`")
    found = [each for kind in KINDS for each in node.of(kind) if instance in (each.name, each.path)]
    if not found:
        known = ", ".join(each.path for each in node.instances.running) or "none"
        raise Refused(f"this node has no instance {instance}", f"it has {known}; see mesyx.toml")
    if len(found) > 1:
        raise Refused(f"several instances are called {instance}", f"name one: {', '.join(e.path for e in found)}")
    role: Any = found[0].role
    if role is None:
        raise Temporary(f"{found[0].path} is not up ({found[0].why})", "see `mesyx doctor`")
    if not isinstance(role, Controlled):
        raise Refused(f"{found[0].path} takes no commands", "see its plugin's documentation")
    async with aclosing(cast("AsyncGenerator[JsonValue, None]", role.control(verb, value))) as values:
        async for each in values:
            yield each
