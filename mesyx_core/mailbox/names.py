"""Ids and names of mailboxes: those that every store has, those that messages name, those that people make."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

from mesyx_core.api import Refused
from mesyx_core.record.ops import MAX_FLAG, MAX_NAME, Dot
from mesyx_core.vault import labels
from mesyx_core.vault.encoding import digest

INBOX: Final = "INBOX"
SPECIAL: Final = {
    INBOX: "",
    "Sent": "Sent",
    "Drafts": "Drafts",
    "Trash": "Trash",
    "Junk": "Junk",
    "Archive": "Archive",
    "Rejected": "",
    "Held": "",
}
"""Mailboxes that every store has, and their use (RFC 6154)."""
_ID: Final = "\x00"
_DEPTH: Final = 32


def named(name: str) -> bytes:
    """Id of a mailbox that a message names (or that every store has): the same on every node, no op needed."""
    return digest(labels.MAILBOX, canonical(name))[:16]


def made(dot: Dot) -> bytes:
    """Id of a mailbox that the op with this dot made."""
    return digest(labels.MAILBOX, *dot)[:16]


def email(node: bytes, incarnation: bytes, seq: int) -> bytes:
    """Stable id of a message, from its first entry (RFC 8474 EMAILID)."""
    return digest(labels.EMAIL, node, incarnation, seq)[:16]


def reference(mailbox: bytes) -> str:
    """What an appended message's `mailbox` says to name a mailbox by id: U+0000 and hex. No name can look like it."""
    return _ID + mailbox.hex()


def of_message(mailbox: str, kind: str, conversation: str, own: bool) -> tuple[bytes, str]:
    """(id, name it begins with) of the mailbox a message goes to first. An id by `reference` counts in a person's own
    messages only."""
    if mailbox.startswith(_ID):
        if own and len(mailbox) == 33:
            try:
                return bytes.fromhex(mailbox[1:]), ""
            except ValueError:
                pass
        mailbox = ""
    name = mailbox or (INBOX if kind == "mail" else conversation)
    try:
        name = checked(name)
    except Refused:
        name = INBOX
    return named(name), name


def canonical(name: str) -> str:
    """INBOX in any case is INBOX; anything else stands as it is in NFC."""
    name = unicodedata.normalize("NFC", name)
    return INBOX if name.upper() == INBOX else name


def checked(name: str) -> str:
    """The canonical form of a name a person gave. Raises Refused."""
    name = canonical(name)
    if not name or any(unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") for c in name):
        raise Refused("a mailbox name is empty or has control characters")
    parts = name.split("/")
    if not all(parts) or len(parts) > _DEPTH or len(name.encode()) > MAX_NAME // 2:
        raise Refused("a mailbox name has an empty part, too many levels or too many characters")
    return name


def is_flag(flag: str) -> bool:
    """Whether IMAP could show it: printable ASCII without the characters that end an atom."""
    return 0 < len(flag) <= MAX_FLAG and _FLAG.fullmatch(flag) is not None


def flag(name: str) -> str:
    """A flag as it is kept: system flags in their one spelling (RFC 9051, section 2.3.2). Raises Refused."""
    if not is_flag(name):
        raise Refused("a flag has characters that it cannot have")
    return _SYSTEM.get(name.lower(), name)


_FLAG: Final = re.compile(r"\\?[!#$&'+,\-./0-9:;<=>?@A-Z^_`a-z|~\[\]}]+")
_SYSTEM: Final = {f"\\{name.lower()}": f"\\{name}" for name in ("Seen", "Answered", "Flagged", "Deleted", "Draft")}
