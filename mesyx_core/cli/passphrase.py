"""A passphrase comes from a file, or from a person at a terminal; nothing prompts without one."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from mesyx_core.cli.command import absolute


def given_passphrase(file: Path | None, *, new: bool = False) -> dict[str, str]:
    """The control argument that carries it: `passphrase_file`, or `passphrase` as typed."""
    if file is not None:
        return {"passphrase_file": absolute(file) or ""}
    if not sys.stdin.isatty():
        raise click.UsageError("no passphrase and no terminal to ask at; give --passphrase-file FILE")
    return {"passphrase": str(click.prompt("Passphrase", hide_input=True, confirmation_prompt=new, err=True))}
