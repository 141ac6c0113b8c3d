"""Recipients and identities of age plugins (C2SP age-plugin): text that names the program which understands it."""

from __future__ import annotations

import re
from typing import Final

from . import bech32
from .errors import AgeError

_NAME: Final = re.compile(r"[a-z0-9+_][a-z0-9+._-]{0,62}")
_RECIPIENT: Final = "age1"
_IDENTITY: Final = "age-plugin-"


def recipient_plugin(text: str) -> str:
    """The plugin that seals to a recipient age1NAME1…; AgeError if it is none of a plugin."""
    prefix, _ = bech32.decode(text)
    if text != text.lower() or not prefix.startswith(_RECIPIENT):
        raise AgeError("not a recipient of a plugin")
    return _checked(prefix.removeprefix(_RECIPIENT))


def identity_plugin(text: str) -> str:
    """The plugin that opens with an identity AGE-PLUGIN-NAME-1…; AgeError if it is none of a plugin."""
    prefix, _ = bech32.decode(text)
    if text != text.upper() or not prefix.startswith(_IDENTITY) or not prefix.endswith("-"):
        raise AgeError("not an identity of a plugin")
    return _checked(prefix.removeprefix(_IDENTITY)[:-1])


def _checked(name: str) -> str:
    # It becomes the name of a program that is run.
    if not _NAME.fullmatch(name):
        raise AgeError("not the name of a plugin")
    return name
