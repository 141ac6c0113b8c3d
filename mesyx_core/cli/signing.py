"""The options of commands that change a store's manifest: where the owner key is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import wraps
from pathlib import Path
from typing import Any

import click

from mesyx_core.cli.command import absolute
from mesyx_core.cli.run import OWNER_KEY, PASSPHRASE
from mesyx_core.cli.show import plain

PROPOSAL = click.option(
    "--proposal",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="The owner key is elsewhere: write what it is to sign there, and do nothing. See `mesyx store sign`.",
)


def proposed(result: Mapping[str, Any]) -> list[str]:
    """What is said of something that was only proposed; nothing of what was done."""
    file = result.get("proposal")
    if not file:
        return []
    name = plain(result.get("name"))
    return [
        f"nothing has changed: {plain(file)} waits for the owner key",
        f"there: mesyx store sign {plain(file)} --owner-key KEY",
        f"here, then: mesyx store govern {name} {plain(file)}.signed",
    ]


def signing(function: Callable[..., Any]) -> Callable[..., Any]:
    """Gives the command these options, and the function what they say as `by`, the control argument."""

    @OWNER_KEY
    @PROPOSAL
    @PASSPHRASE
    @wraps(function)
    def with_by(owner_key: Any, proposal: Any, passphrase_file: Any, **rest: Any) -> Any:
        by = {
            "owner_key": absolute(owner_key),
            "proposal": absolute(proposal),
            "passphrase_file": absolute(passphrase_file),
        }
        return function(by={key: value for key, value in by.items() if value is not None}, **rest)

    return with_by
