"""What can be wrong with an age file or key."""

from __future__ import annotations


class AgeError(Exception):
    """Not an age key, or an age file that cannot be read or written."""


class NoMatch(AgeError):
    """The file is sealed to none of these identities, or not with this passphrase."""


class HeaderError(AgeError):
    """The header is not in the one form the specification allows."""


class MacError(HeaderError):
    """The header was changed after it was written."""


class PayloadError(AgeError):
    """The payload was changed, cut short or continued."""


class ArmorError(AgeError):
    """The armor is not in the one form the specification allows."""
