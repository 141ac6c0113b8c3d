"""One small tree of errors. Whether to try again is a type, decided where the error is raised."""

from __future__ import annotations


class MesyxError(Exception):
    """Something a person can read: what happened, to what, and what to do. Never holds message text or a key."""

    def __init__(self, what: str, remedy: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.what}: {self.remedy}" if self.remedy else self.what


class Temporary(MesyxError):
    """Try again later: disk full, peer away, limit reached for now."""


class Permanent(MesyxError):
    """Trying again unchanged cannot help."""


class Refused(Permanent):
    """Refused with a reason: no such right, address, mailbox or value."""


class Locked(Temporary):
    """The private key that this needs is not open on this node; `mesyx store unlock` opens it."""


class Busy(Temporary):
    """Another process holds what this needs, such as the node's state, or no running node answers."""


class LoginFailed(Permanent):
    """Wrong name or app password. Deliberately says no more."""


class Misconfigured(Permanent):
    """Config that cannot be run. `what` starts with file and TOML path; `remedy` says what to write instead."""
