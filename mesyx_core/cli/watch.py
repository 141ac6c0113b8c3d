"""`mesyx status`, `doctor` and `trace`: what runs, what is wrong, where a message is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from mesyx_core.cli import exits
from mesyx_core.cli.command import ask, command, emit
from mesyx_core.cli.show import nested, plain


@command("mesyx status --json", table=True)
def status() -> None:
    """Show what runs, since when, and what waits for whom."""
    emit(ask("status"), nested)


@command("mesyx doctor", table=True)
def doctor() -> int:
    """Say what is wrong and what to do about it. Exit code 1 when anything is."""
    findings = ask("doctor") or []
    emit(findings, _findings)
    return exits.FAILED if any(f.get("level") == "error" for f in findings) else exits.OK


def _findings(findings: list[Mapping[str, Any]]) -> str:
    lines = [f"{plain(f.get('level'))}: {plain(f.get('what'))}\n  {plain(f.get('remedy'))}" for f in findings]
    return "\n".join(lines) or "all is well"


@command("mesyx trace 3f9a1c0d2b47-1042", table=True)
@click.argument("id_", metavar="ID")
def trace(id_: str) -> None:
    """Show what became of the message whose ID the network was told (`250 2.0.0 sealed as ID`)."""
    emit(ask("trace", {"id": id_}), nested)
