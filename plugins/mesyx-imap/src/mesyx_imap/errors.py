"""How a command fails: each of these is one tagged reply (RFC 3501, section 7.1)."""

from __future__ import annotations


class Failure(Exception):
    """Ends a command with `word`; `text` may begin with a response code in brackets. Never holds message text."""

    word = b"NO"

    def __init__(self, text: bytes) -> None:
        super().__init__(text.decode("ascii", "replace"))
        self.text = text


class No(Failure):
    """The command is well formed, and cannot be done."""


class Bad(Failure):
    """Not IMAP, or not in this state."""

    word = b"BAD"
