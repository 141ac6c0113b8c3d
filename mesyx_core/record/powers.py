"""Power is what the manifest says: which role lets a node write what into a store's log.

What a node can see, it judges by the kind of the entry; what is inside, only those judge who can open it. An entry
that its writer may not write is kept and passed on, for others may judge by a newer manifest; it has no effect, and is
shown.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from mesyx_core.record.entry import Kind

_ANY: Final = frozenset(("accept", "exchange", "client", "reencrypt"))
_WRITERS: Final = frozenset(("accept", "client"))
_CLIENT: Final = frozenset(("client",))
_ACCEPT: Final = frozenset(("accept",))
_RESEALERS: Final = frozenset(("client", "reencrypt"))

WRITTEN: Final[Mapping[int, frozenset[str]]] = MappingProxyType(
    {
        Kind.START: _ANY,
        Kind.EPOCH: _WRITERS,
        Kind.SEALED: _WRITERS,
        Kind.CLOSE: _WRITERS,
        Kind.RESEAL: _RESEALERS,
        Kind.PURGE: _RESEALERS,
        Kind.VETO: _CLIENT,
        Kind.END: _ANY,
    }
)
"""Roles of which a node needs one to write entries of a kind. A purge needs a right as well."""

SEALED: Final[Mapping[str, frozenset[str]]] = MappingProxyType(
    {
        "mail": _WRITERS,
        "line": _WRITERS,
        "event": _WRITERS,
        "post": _WRITERS,
        "receipt": _ACCEPT,
        "intent": _ACCEPT,
        "recipients": _ACCEPT,
        "op": _CLIENT,
        "snapshot": _CLIENT,
        "submission": _CLIENT,
        "request": _CLIENT,
        "account": _CLIENT,
    }
)
"""Roles of which a node needs one to seal content of a kind."""


def may_write(kind: int, roles: frozenset[str]) -> bool:
    """Whether a node with these roles may write entries of this kind. Of a kind that this version does not know, which
    has no effect, every member may.
    """
    return bool(roles & WRITTEN.get(kind, _ANY))


def may_seal(kind: str, roles: frozenset[str]) -> bool:
    """Whether a node with these roles may seal content of this kind; nobody may, of one that is not known."""
    return bool(roles & SEALED.get(kind, frozenset()))


def overstepped(kind: str) -> str:
    """What is said of an entry, or of content, that its writer may not write."""
    word = "sealed entry" if kind == "sealed" else kind
    return f"{'an' if word[0] in 'aeio' else 'a'} {word} from a node that may not write one"
