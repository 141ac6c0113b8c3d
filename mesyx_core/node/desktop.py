"""The desktop's keyring (Secret Service and its like), by the `keyring` library: `mesyx[keyring]`.

An age identity lies there, made for the purpose; what it opens is a file in the state folder. Neither half is worth
anything alone.
"""

from __future__ import annotations

import importlib
from typing import Any, Final

from mesyx_core.api.errors import Refused
from mesyx_core.vault import age

SERVICE: Final = "mesyx"


def keep(store: str) -> str:
    """Put a new identity for a store, named by its id, into the desktop's keyring; its recipient. Raises Refused."""
    identity = age.generate()
    library = _library()
    try:
        library.set_password(SERVICE, store, identity.text)
    except Exception as error:  # of whichever keyring it found
        raise _failed(error) from error
    return identity.recipient


def identity(store: str) -> str:
    """The identity that was put there, as text. Raises Refused."""
    library = _library()
    try:
        found = library.get_password(SERVICE, store)
        return age.parse_identity(found).text if found else ""
    except Exception as error:  # as above
        raise _failed(error) from error


def forget(store: str) -> None:
    """Take it away; harmless where there is none. Raises Refused."""
    library = _library()
    try:
        if library.get_password(SERVICE, store) is not None:
            library.delete_password(SERVICE, store)
    except Exception as error:  # as above
        raise _failed(error) from error


def _library() -> Any:
    try:
        return importlib.import_module("keyring")
    except ImportError as error:
        raise Refused("the desktop's keyring cannot be reached", "install mesyx[keyring]") from error


def _failed(error: Exception) -> Refused:
    return Refused(
        f"the desktop's keyring does not do its part ({type(error).__name__})",
        "unlock it, or use this command in a desktop session; else give --passphrase-file or --identity FILE",
    )
