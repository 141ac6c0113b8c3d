"""The plugins that come with the core, declared through the same hooks as any other."""

from __future__ import annotations

from mesyx_core.api import Provider, hookimpl
from mesyx_core.builtin import memory, sink, tcp
from mesyx_core.builtin.filter import RulesConfig, open_rules


@hookimpl
def mesyx_filters() -> list[Provider]:
    """`rules`."""
    summary = "Accept, reject, drop, hold, mark and file by size, sender, recipient and importance"
    return [Provider(name="rules", config=RulesConfig, open=open_rules, summary=summary)]


@hookimpl
def mesyx_egresses() -> list[Provider]:
    """`memory`."""
    return [sink.Sink().provider()]


@hookimpl
def mesyx_transports() -> list[Provider]:
    """`memory` and `tcp`."""
    return [memory.Network().provider(), tcp.provider()]
