"""The options of commands that change a store's manifest: where the owner key is."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from mesyx_core.cli.command import absolute
from mesyx_core.cli.run import OWNER_KEY, PASSPHRASE


def signing(function: Callable[..., Any]) -> Callable[..., Any]:
    """Gives the command these options, and the function what they say as `by`, the control argument."""

    @OWNER_KEY
    @PASSPHRASE
    @wraps(function)
    def with_by(owner_key: Any, passphrase_file: Any, **rest: Any) -> Any:
        by = {"owner_key": absolute(owner_key), "passphrase_file": absolute(passphrase_file)}
        return function(by={key: value for key, value in by.items() if value is not None}, **rest)

    return with_by
